#include "tuner/advise/advise.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/clock.h"
#include "base/error.h"
#include "db/pool.h"
#include "tuner/advise/candidates.h"
#include "tuner/advise/drops.h"
#include "tuner/advise/rewrite_advice.h"
#include "tuner/advise/settings_advice.h"
#include "tuner/advise/statistics_advice.h"
#include "tuner/advise/view_advice.h"
#include "tuner/advise/what_if.h"
#include "tuner/catalog/index_size.h"
#include "tuner/catalog/writes.h"
#include "tuner/sql/constants_text.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

// Milliseconds that a unit of the planner's cost takes, about, on a machine that has its data in memory: for statements
// whose time nobody measured.
constexpr double kMsPerCost = 0.01;
// And what writing a row takes at least.
constexpr double kWrittenRowMs = 0.02;
constexpr size_t kNamedRefusals = 3;
constexpr double kNoticeableCost = 100;  // of the planner: a statement below it needs no index that nobody can estimate

constexpr int64_t kMetaPage = 8192;  // of every B-tree; hypopg forgets it

// hypopg's answers, with sizes as PostgreSQL makes them.
class Model : public CostModel {
 public:
  Model(WhatIf& what_if, const Catalog& catalog) : what_if_(what_if), catalog_(catalog) {}

  Estimate estimate(size_t statement, const std::vector<IndexDefinition>& indexes) override {
    return what_if_.estimate(statement, indexes);
  }
  std::optional<int64_t> bytes(const IndexDefinition& index) override {
    const auto bytes = what_if_.bytes(index);
    const Table* table = catalog_.find(index.table.schema, index.table.name);
    if (!bytes || table == nullptr) return bytes;
    return static_cast<int64_t>(static_cast<double>(*bytes) * deduplicated_share(index, *table)) + kMetaPage;
  }

 private:
  WhatIf& what_if_;
  const Catalog& catalog_;
};

// Every name, keyword and constant in the tree.
void add_strings(simdjson::dom::element node, std::set<std::string>& strings) {
  if (node.is_array()) {
    for (const auto item : simdjson::dom::array(node)) add_strings(item, strings);
  } else if (node.is_object()) {
    for (const auto field : simdjson::dom::object(node)) add_strings(field.value, strings);
  } else if (node.is_string()) {
    strings.insert(std::string(std::string_view(node)));
  }
}

// The names that a statement mentions: an index whose first column is not among them is of no use to it. Nothing where
// names are hidden: behind a view or a function, or in a NATURAL JOIN.
std::optional<std::set<std::string>> mentioned_names(const std::string& text, const std::set<TableName>& tables,
                                                     const Catalog& catalog) {
  const auto tree = ParseTree::parse(text);
  if (!tree) return std::nullopt;
  std::set<std::string> names;
  for (const auto statement : tree->statements()) add_strings(statement, names);
  bool partitioned = false, hidden = false;
  for (const TableName& table : tables) {
    const Table* known = catalog.find(table.schema, table.name);
    partitioned |= known != nullptr && known->kind == 'p' && names.contains(table.name);
    hidden |= !names.contains(table.name);
  }
  std::string lower = text;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if ((hidden && !partitioned) || lower.find("natural") != std::string::npos) return std::nullopt;
  return names;
}

class Adviser {
 public:
  Adviser(Reactor& reactor, const std::string& connection_string, const AdviceLimits& limits)
      : reactor_(reactor),
        pool_(pool_options(connection_string)),
        limits_(limits),
        what_if_(reactor, what_if_options(connection_string, limits)) {
    catalog_ = reactor.block_on(read_catalog(pool_));
    hot_shares_ = reactor.block_on(read_hot_shares(pool_));
    advice_.database = reactor.block_on(pool_.query(kDatabase)).text(0, 0);
    advice_.notes = catalog_.missing;
    if (!what_if_.missing().empty()) advice_.notes.push_back(what_if_.missing());
  }

  Advice run(std::vector<AdviceStatement> workload) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<int64_t>(limits_.seconds_max * 1000));
    look_at_writes(workload);
    plan(std::move(workload));
    propose_indexes();
    if (what_if_.missing().empty()) {
      choose_indexes(deadline);
    } else {
      for (const Candidate& candidate : candidates_)
        if (!is_beyond_hypopg(candidate.index))
          reject(candidate.index, "not tried: hypopg is missing. " + candidate.reason);
    }
    propose_untried();
    propose_to_drop();
    reactor_.block_on(add_views(pool_, catalog_, advice_));
    reactor_.block_on(add_settings(pool_, advice_));
    for (Rewrite& rewrite : tried_rewrites(what_if_, catalog_, advice_)) advice_.rewrites.push_back(std::move(rewrite));
    reactor_.block_on(add_statistics(pool_, catalog_, advice_));
    advice_.made_at_ms = now_ms();
    advice_.id = fmt::format("{:%Y%m%dT%H%M%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(advice_.made_at_ms / 1000)),
                             advice_.made_at_ms % 1000);
    advice_.calls = what_if_.calls();
    advice_.planner_ms = what_if_.busy_ms();
    advice_.planner_percent = what_if_.busy_percent();
    advice_.planner_is_clone = !limits_.planner.empty();
    return std::move(advice_);
  }

 private:
  static constexpr db::Statement kDatabase{"tune_database", "/* cairn tune */ SELECT current_database()"};

  static db::PoolOptions pool_options(const std::string& connection_string) {
    db::PoolOptions options;
    options.connection_string = connection_string;
    options.size = 1;
    return options;
  }

  static WhatIfOptions what_if_options(const std::string& connection_string, const AdviceLimits& limits) {
    if (limits.planner.empty()) return {connection_string, limits.allow_extension, limits.cpu_percent_max};
    return {.connection_string = limits.planner, .allow_extension = true};
  }

  void look_at_writes(const std::vector<AdviceStatement>& workload) {
    std::vector<StatementRuns> runs;
    for (const AdviceStatement& statement : workload) {
      const double rows = std::max(statement.rows, statement.total_ms ? 0.0 : statement.calls);
      runs.push_back({statement.text, rows});
      if (!writes_of(catalog_, {&runs.back(), 1}, {}).empty())
        advice_.written_ms += std::max(statement.total_ms.value_or(0), rows * kWrittenRowMs);
    }
    writes_ = writes_of(catalog_, runs, hot_shares_);
  }

  // Keeps the statements that PostgreSQL plans.
  void plan(std::vector<AdviceStatement> workload) {
    size_t refused = 0;
    for (AdviceStatement& statement : workload) {
      std::string refusal;
      const auto text =
          statement.constants.empty() ? std::nullopt : with_constants(statement.text, statement.constants);
      auto number = text ? what_if_.add(*text, refusal) : std::nullopt;
      if (!number) number = what_if_.add(statement.text, refusal);
      if (!number) {
        if (++refused <= kNamedRefusals)
          advice_.notes.push_back("not looked at: " + statement.text.substr(0, 80) + ": " + refusal);
        continue;
      }
      statement.cost_before = statement.cost_after = what_if_.cost(*number);
      statement.ms_before = statement.total_ms.value_or(statement.cost_before * statement.calls * kMsPerCost);
      statement.ms_after = statement.ms_before;
      advice_.ms_before += statement.ms_before;
      advice_.statements.push_back(std::move(statement));
    }
    advice_.ms_after = advice_.ms_before;
    if (refused > kNamedRefusals)
      advice_.notes.push_back(
          fmt::format("not looked at: {} more statements that could not be planned", refused - kNamedRefusals));
  }

  void propose_indexes() {
    std::vector<WorkloadStatement> workload;
    for (const AdviceStatement& statement : advice_.statements)
      workload.push_back({.text = statement.fixed_text.empty() ? statement.text : statement.fixed_text,
                          .weight = statement.ms_before,
                          .calls = statement.calls});
    candidates_ = propose(catalog_, workload);
  }

  void choose_indexes(std::chrono::steady_clock::time_point deadline) {
    ChoiceProblem problem;
    for (size_t i = 0; i < advice_.statements.size(); ++i) {
      const AdviceStatement& statement = advice_.statements[i];
      const std::set<TableName>& tables = what_if_.tables(i);
      problem.statements.push_back({.ms_per_cost = statement.ms_before / std::max(statement.cost_before, 1e-9),
                                    .tables = tables,
                                    .columns = mentioned_names(statement.text, tables, catalog_)});
    }
    for (const Candidate& candidate : candidates_) problem.candidates.push_back(candidate.index);
    problem.write_ms = [this](const IndexDefinition& index) { return write_ms(index, writes_); };
    if (limits_.bytes_max) problem.bytes_max = *limits_.bytes_max;
    if (limits_.write_percent_max) problem.write_ms_max = *limits_.write_percent_max / 100 * advice_.written_ms;
    problem.calls_max = limits_.calls_max;
    problem.out_of_time = [deadline] { return std::chrono::steady_clock::now() >= deadline; };
    Model model(what_if_, catalog_);
    take_over(choose(problem, model));
  }

  // Which nobody can show to the planner.
  bool is_beyond_hypopg(const IndexDefinition& index) {
    constexpr std::string_view kMethods[] = {"gin", "gist", "hash", "hnsw", "ivfflat"};
    if (std::ranges::find(kMethods, index.method) == std::end(kMethods)) return false;
    return !what_if_.missing().empty() || what_if_.refusal(index).find("is not supported") != std::string::npos;
  }

  void reject(const IndexDefinition& index, std::string reason, int64_t bytes = 0) {
    advice_.rejected.push_back(
        {.statement = create_statement(index, index_name(index), true), .reason = std::move(reason), .bytes = bytes});
  }

  // What such indexes gain, a proof can tell alone. No part of the estimate; they get what the others leave of the
  // budget, those first that serve the most time.
  void propose_untried() {
    int64_t bytes = advice_.bytes;
    double write_cost_ms = advice_.write_ms;
    for (const Candidate& candidate : candidates_) {
      const IndexDefinition& index = candidate.index;
      if (!is_beyond_hypopg(index)) continue;
      const EstimatedSize size = estimated_size(index, *catalog_.find(index.table.schema, index.table.name), catalog_);
      const double cost_ms = write_ms(index, writes_);
      const auto is_slow = [&](size_t statement) {
        return advice_.statements[statement].cost_after >= kNoticeableCost;
      };
      if (std::ranges::none_of(candidate.statements, is_slow)) {
        reject(index, "what it would serve is fast without it", size.bytes);
      } else if (limits_.bytes_max && bytes + size.bytes > *limits_.bytes_max) {
        reject(index, "no room for it is left in the budget", size.bytes);
      } else if (limits_.write_percent_max &&
                 write_cost_ms + cost_ms > *limits_.write_percent_max / 100 * advice_.written_ms) {
        reject(index, "writes would take longer than they may", size.bytes);
      } else {
        bytes += size.bytes;
        write_cost_ms += cost_ms;
        for (const size_t statement : candidate.statements)
          advice_.statements[statement].uses.push_back(advice_.changes.size());
        advice_.changes.push_back(untried_change(candidate, size, cost_ms));
      }
    }
  }

  Change untried_change(const Candidate& candidate, const EstimatedSize& size, double cost_ms) {
    Change change = change_of({.index = candidate.index, .bytes = size.bytes, .write_ms = cost_ms, .gain_ms = 0});
    change.reason += "; its size is estimated from the statistics: " + size.how;
    change.only_proved = true;
    change.on_request = candidate.index.is_approximate();
    if (change.on_request)
      change.reason += "; it finds the nearest rows only about, so it is applied only when it is named";
    return change;
  }

  // No part of the estimate.
  void propose_to_drop() {
    for (Drop& drop : propose_drops(catalog_))
      advice_.changes.push_back({.kind = ChangeKind::kDropIndex,
                                 .table = drop.table,
                                 .name = drop.index,
                                 .statements = {drop.statement},
                                 .inverse = {drop.undo},
                                 .reason = drop.reason,
                                 .bytes = -drop.bytes,
                                 .on_request = drop.kind == DropKind::kUnused});
  }

  void take_over(const Choice& choice) {
    advice_.ms_after = choice.ms_after;
    advice_.write_ms = choice.write_ms;
    advice_.bytes = choice.bytes;
    advice_.complete = choice.complete;
    for (const ChosenIndex& chosen : choice.indexes) advice_.changes.push_back(change_of(chosen));
    for (size_t i = 0; i < advice_.statements.size(); ++i) {
      AdviceStatement& statement = advice_.statements[i];
      statement.cost_after = choice.cost_after[i];
      statement.ms_after = statement.ms_before * statement.cost_after / std::max(statement.cost_before, 1e-9);
      for (size_t change = 0; change < advice_.changes.size(); ++change) {
        const auto& used = choice.used[i];
        if (std::find(used.begin(), used.end(), *advice_.changes[change].index) != used.end())
          statement.uses.push_back(change);
      }
    }
    for (const RejectedIndex& rejected : choice.rejected) {
      if (is_beyond_hypopg(rejected.index)) continue;
      const std::string& refusal = what_if_.refusal(rejected.index);
      advice_.rejected.push_back({.statement = create_statement(rejected.index, index_name(rejected.index), true),
                                  .reason = refusal.empty() ? rejected.reason : rejected.reason + ": " + refusal,
                                  .bytes = rejected.bytes,
                                  .gain_ms = rejected.gain_ms});
    }
  }

  Change change_of(const ChosenIndex& chosen) {
    Change change{.table = chosen.index.table, .name = free_name(chosen.index), .index = chosen.index};
    const Table* table = catalog_.find(chosen.index.table.schema, chosen.index.table.name);
    // A partitioned table's index cannot be built concurrently as a whole.
    const bool whole = table == nullptr || table->kind != 'p';
    change.statements = {create_statement(chosen.index, change.name, whole)};
    change.inverse = {std::string("DROP INDEX ") + (whole ? "CONCURRENTLY " : "") +
                      db::quote_identifier(chosen.index.table.schema) + "." + db::quote_identifier(change.name)};
    const auto proposed = std::find_if(candidates_.begin(), candidates_.end(),
                                       [&](const Candidate& candidate) { return candidate.index == chosen.index; });
    change.reason =
        proposed != candidates_.end() ? proposed->reason : "in the place of several that begin with the same columns";
    change.bytes = chosen.bytes;
    change.gain_ms = chosen.gain_ms;
    change.write_ms = chosen.write_ms;
    return change;
  }

  // index_name(), or with a number where something of the schema has that name.
  std::string free_name(const IndexDefinition& index) {
    const std::string wanted = index_name(index);
    std::string name = wanted;
    for (int number = 2; is_taken(index.table.schema, name); ++number) {
      const std::string suffix = "_" + std::to_string(number);
      size_t end = std::min(wanted.size(), 63 - suffix.size());
      while (end < wanted.size() && (static_cast<unsigned char>(wanted[end]) & 0xc0) == 0x80) --end;
      name = wanted.substr(0, end) + suffix;
    }
    return name;
  }

  bool is_taken(const std::string& schema, const std::string& name) const {
    const auto has_it = [&](const Table& table) {
      const auto is_it = [&](const Index& index) { return index.name == name; };
      return table.name.schema == schema &&
             (table.name.name == name || std::any_of(table.indexes.begin(), table.indexes.end(), is_it));
    };
    const auto proposes_it = [&](const Change& change) { return change.table.schema == schema && change.name == name; };
    return std::any_of(catalog_.tables.begin(), catalog_.tables.end(), has_it) ||
           std::any_of(advice_.changes.begin(), advice_.changes.end(), proposes_it);
  }

  Reactor& reactor_;
  db::Pool pool_;
  const AdviceLimits& limits_;
  WhatIf what_if_;
  Catalog catalog_;
  std::map<TableName, double> hot_shares_;
  Writes writes_;
  std::vector<Candidate> candidates_;
  Advice advice_;
};

}  // namespace

Advice advise(Reactor& reactor, const std::string& connection_string, std::vector<AdviceStatement> workload,
              const AdviceLimits& limits) {
  return Adviser(reactor, connection_string, limits).run(std::move(workload));
}

}  // namespace cairn::tuner
