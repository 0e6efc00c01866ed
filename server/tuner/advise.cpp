#include "tuner/advise.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/clock.h"
#include "base/error.h"
#include "db/pool.h"
#include "tuner/candidates.h"
#include "tuner/index_size.h"
#include "tuner/parse_tree.h"
#include "tuner/what_if.h"
#include "tuner/writes.h"

namespace cairn::tuner {
namespace {

// Milliseconds that a unit of the planner's cost takes, about, on a machine that has its data in memory: for statements
// whose time nobody measured.
constexpr double kMsPerCost = 0.01;
// And what writing a row takes at least.
constexpr double kWrittenRowMs = 0.02;
constexpr size_t kNamedRefusals = 3;

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
      : limits_(limits), what_if_(reactor, {connection_string, limits.allow_extension}) {
    db::PoolOptions options;
    options.connection_string = connection_string;
    options.size = 1;
    db::Pool pool(options);
    catalog_ = reactor.block_on(read_catalog(pool));
    hot_shares_ = reactor.block_on(read_hot_shares(pool));
    advice_.database = reactor.block_on(pool.query(kDatabase)).text(0, 0);
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
        advice_.rejected.push_back({.statement = create_statement(candidate.index, index_name(candidate.index), true),
                                    .reason = "not tried: hypopg is missing. " + candidate.reason});
    }
    advice_.drops = propose_drops(catalog_);
    advice_.made_at_ms = now_ms();
    advice_.id = fmt::format("{:%Y%m%dT%H%M%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(advice_.made_at_ms / 1000)),
                             advice_.made_at_ms % 1000);
    advice_.calls = what_if_.calls();
    return std::move(advice_);
  }

 private:
  static constexpr db::Statement kDatabase{"tune_database", "/* cairn tune */ SELECT current_database()"};

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
      const auto number = what_if_.add(statement.text, refusal);
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
      workload.push_back({.text = statement.text, .weight = statement.ms_before});
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
        if (std::find(used.begin(), used.end(), advice_.changes[change].index) != used.end())
          statement.uses.push_back(change);
      }
    }
    for (const RejectedIndex& rejected : choice.rejected) {
      const std::string& refusal = what_if_.refusal(rejected.index);
      advice_.rejected.push_back({.statement = create_statement(rejected.index, index_name(rejected.index), true),
                                  .reason = refusal.empty() ? rejected.reason : rejected.reason + ": " + refusal,
                                  .bytes = rejected.bytes,
                                  .gain_ms = rejected.gain_ms});
    }
  }

  AdviceChange change_of(const ChosenIndex& chosen) {
    AdviceChange change{.index = chosen.index, .name = free_name(chosen.index)};
    const Table* table = catalog_.find(chosen.index.table.schema, chosen.index.table.name);
    // A partitioned table's index cannot be built concurrently as a whole.
    const bool whole = table == nullptr || table->kind != 'p';
    change.statement = create_statement(chosen.index, change.name, whole);
    change.inverse = std::string("DROP INDEX ") + (whole ? "CONCURRENTLY " : "") +
                     db::quote_identifier(chosen.index.table.schema) + "." + db::quote_identifier(change.name);
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
    const auto proposes_it = [&](const AdviceChange& change) {
      return change.index.table.schema == schema && change.name == name;
    };
    return std::any_of(catalog_.tables.begin(), catalog_.tables.end(), has_it) ||
           std::any_of(advice_.changes.begin(), advice_.changes.end(), proposes_it);
  }

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
