#include "tuner/apply/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "db/pool.h"
#include "tuner/profile/profile.h"
#include "tuner/profile/snapshots.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The tables that a text names; without a schema where it gives none.
void add_tables(simdjson::dom::element node, std::set<TableName>& tables) {
  if (node.is_array()) {
    for (const auto item : simdjson::dom::array(node)) add_tables(item, tables);
    return;
  }
  if (!node.is_object()) return;
  std::string_view name, schema;
  if (node["relname"].get(name) == simdjson::SUCCESS) {
    if (node["schemaname"].get(schema) != simdjson::SUCCESS) schema = "";
    tables.insert({std::string(schema), std::string(name)});
  }
  for (const auto field : simdjson::dom::object(node)) add_tables(field.value, tables);
}

std::set<TableName> tables_in(const std::string& text) {
  std::set<TableName> tables;
  if (const auto tree = ParseTree::parse(text))
    for (const auto statement : tree->statements()) add_tables(statement, tables);
  return tables;
}

class Verifier {
 public:
  Verifier(Reactor& reactor, const VerifyOptions& options, std::ostream& progress)
      : options_(options),
        reactor_(reactor),
        all_(reactor, {options.connection_string, "cairn tune verify", std::max(options.wait_s, 60.0)}, progress) {}

  VerifyReport run() {
    if (!reactor_.block_on(all_.journal().exists()))
      throw not_found("nothing was applied to this database: it has no journal cairn_tune.journal");
    find_apply();
    if (entries_.empty()) {
      report_.notes.emplace_back("no change is in force");
      return std::move(report_);
    }
    const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
    for (;;) {
      measure();
      if (!waits() || Clock::now() >= deadline) break;
      reactor_.block_on(pause());
    }
    act();
    return std::move(report_);
  }

 private:
  static task<> pause() { co_await sleep_for(500ms); }

  // The last apply of which anything is in force; after an older one others came, and its times are theirs too.
  void find_apply() {
    std::vector<JournalEntry> entries = all_.entries();
    for (const JournalEntry& entry : entries) {
      if (entry.is_in_force()) report_.apply_id = std::max(report_.apply_id, entry.apply_id);
    }
    for (JournalEntry& entry : entries) {
      if (entry.is_in_force() && entry.apply_id == report_.apply_id) entries_.push_back(std::move(entry));
    }
    const ApplyRecord* previous = nullptr;
    const std::vector<ApplyRecord> applies = reactor_.block_on(all_.journal().applies());
    for (const ApplyRecord& apply : applies) {
      if (apply.id == report_.apply_id) take(apply, previous);
      if (!apply.reading_after.empty()) previous = &apply;
    }
  }

  // The window before: all that was counted until the apply, or since the one before it.
  void take(const ApplyRecord& apply, const ApplyRecord* previous) {
    if (apply.reading_before.empty() || apply.reading_after.empty())
      throw Error(
          ErrorCode::kInvalidState,
          "what statements took before the apply is not known: pg_stat_statements could not be read then (`cairn "
          "tune setup` says what is missing)");
    const Reading before = reading_from_json(apply.reading_before);
    after_ = reading_from_json(apply.reading_after);
    const Profile profile = previous != nullptr
                                ? make_profile(reading_from_json(previous->reading_after), before, Order::kTotal)
                                : make_profile(before, Order::kTotal);
    for (const StatementGroup& group : profile.groups) before_[group.id] = group;
  }

  void measure() {
    db::PoolOptions pool_options;
    pool_options.connection_string = options_.connection_string;
    pool_options.size = 1;
    db::Pool pool(pool_options);
    const Reading now = reactor_.block_on(read_statements(pool));
    report_.notes.clear();
    for (const Note& note : now.notes)
      report_.notes.push_back(note.remedy.empty() ? note.what : note.what + ": " + note.remedy);
    const Profile profile = make_profile(after_, now, Order::kTotal);
    std::map<std::string, const StatementGroup*> groups;
    for (const StatementGroup& group : profile.groups) groups[group.id] = &group;
    for (const JournalEntry& entry : entries_) {
      for (const std::string& id : entry.serves) groups.try_emplace(id, nullptr);
    }
    report_.statements.clear();
    for (const auto& [id, group] : groups) add_statement(id, group);
    decide_effects(groups);
    std::stable_sort(report_.statements.begin(), report_.statements.end(),
                     [](const auto& a, const auto& b) { return !a.serves.empty() && b.serves.empty(); });
  }

  // Of those that any change was made for, or whose tables it is about.
  void add_statement(const std::string& id, const StatementGroup* group) {
    const auto before = before_.find(id);
    StatementEffect statement{.id = id};
    if (group != nullptr)
      statement.text = group->text;
    else if (before != before_.end())
      statement.text = before->second.text;
    const std::set<TableName> tables = tables_in(statement.text);
    for (const JournalEntry& entry : entries_) {
      if (std::find(entry.serves.begin(), entry.serves.end(), id) != entry.serves.end())
        statement.serves.push_back(entry.id);
      else if (tables.contains(entry.table) || tables.contains({"", entry.table.name}))
        statement.touches.push_back(entry.id);
    }
    if (!statement.serves.empty() || !statement.touches.empty()) report_.statements.push_back(std::move(statement));
  }

  void decide_effects(const std::map<std::string, const StatementGroup*>& groups) {
    const size_t comparisons = report_.statements.size();
    for (StatementEffect& statement : report_.statements) {
      const auto before = before_.find(statement.id);
      const StatementGroup* group = groups.at(statement.id);
      const Counters then = before != before_.end() ? before->second.counters : Counters{};
      const Counters now = group != nullptr ? group->counters : Counters{};
      statement.calls_before = then.calls;
      statement.calls_after = now.calls;
      statement.before_ms = then.mean_ms();
      statement.after_ms = now.mean_ms();
      statement.effect = effect_of(then, now, options_.calls_min, comparisons, statement.ratio);
    }
  }

  bool waits() const {
    return std::any_of(report_.statements.begin(), report_.statements.end(), [&](const StatementEffect& statement) {
      return !statement.serves.empty() && statement.effect == Effect::kTooFewCalls &&
             statement.calls_before >= options_.calls_min;
    });
  }

  void act() {
    bool locked = false;
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      VerifiedChange change = judge(*entry, report_.statements);
      const bool verified = change.verdict == ChangeVerdictKind::kVerified && entry->state != ChangeState::kVerified;
      const bool takes_back = change.verdict == ChangeVerdictKind::kSlower && !options_.keep;
      if ((verified || takes_back) && !locked) {
        reactor_.block_on(all_.session().lock());
        reactor_.block_on(all_.journal().check_owner());
        locked = true;
      }
      if (verified) reactor_.block_on(all_.journal().set_state(change.entry, ChangeState::kVerified));
      if (takes_back) take_back(change);
      report_.changes.insert(report_.changes.begin(), std::move(change));
    }
  }

  void take_back(VerifiedChange& change) {
    try {
      const std::string said = reactor_.block_on(all_.changer().take_back(change.entry, ChangeState::kReverted));
      change.taken_back = true;
      if (!said.empty()) change.reason += "; " + said;
    } catch (const Error& error) {
      if (all_.session().stopped()) throw;
      change.reason += std::string("; it could not be taken back: ") + error.what();
    }
  }

  const VerifyOptions& options_;
  Reactor& reactor_;
  ChangeSession all_;
  VerifyReport report_;
  std::vector<JournalEntry> entries_;
  std::map<std::string, StatementGroup> before_;
  Reading after_;
};

const char* verdict_name(const VerifiedChange& change) {
  switch (change.verdict) {
    case ChangeVerdictKind::kVerified:
      return "verified";
    case ChangeVerdictKind::kNoDifference:
      return "no difference";
    case ChangeVerdictKind::kSlower:
      return change.taken_back ? "taken back" : "slower";
    case ChangeVerdictKind::kWaiting:
      break;
  }
  return "waiting";
}

std::string shown_name(const JournalEntry& entry) {
  return on_one_line(entry.table.schema.empty() ? entry.name : entry.table.schema + "." + entry.name);
}

std::string ratio_text(const StatementEffect& statement, int64_t calls_min) {
  if (statement.effect == Effect::kNotSeenBefore) return "not seen before";
  if (statement.effect == Effect::kTooFewCalls)
    return fmt::format("not enough calls yet: {} of {}", std::min(statement.calls_before, statement.calls_after),
                       calls_min);
  return fmt::format("{:.3f} ({:.3f} to {:.3f})", statement.ratio->value, statement.ratio->low, statement.ratio->high);
}

void print(const VerifyReport& report, int64_t calls_min, std::ostream& out) {
  std::vector<std::vector<std::string>> table{{"id", "before", "after", "calls", "ratio", "", "statement"}};
  for (const StatementEffect& statement : report.statements) {
    const bool told = statement.effect != Effect::kNotSeenBefore && statement.effect != Effect::kTooFewCalls;
    if (statement.serves.empty() && statement.effect != Effect::kSlower) continue;
    table.push_back(
        {statement.id, fmt::format("{:.3f} ms", statement.before_ms), fmt::format("{:.3f} ms", statement.after_ms),
         fmt::format("{}, {}", statement.calls_before, statement.calls_after), ratio_text(statement, calls_min),
         told ? std::string(effect_name(statement.effect)) : "", on_one_line(statement.text)});
  }
  if (table.size() > 1) print_table(out, table);
  for (const VerifiedChange& change : report.changes)
    out << fmt::format("change {} ({}): {}: {}\n", change.entry.id, shown_name(change.entry), verdict_name(change),
                       on_one_line(change.reason));
  for (const std::string& note : report.notes) out << "note: " << on_one_line(note) << "\n";
}

void write_statement(const StatementEffect& statement, json::Writer& writer) {
  writer.begin_object();
  writer.field("id", statement.id);
  writer.field("text", statement.text);
  for (const auto& [name, ids] : {std::pair("serves", &statement.serves), std::pair("touches", &statement.touches)}) {
    writer.key(name);
    writer.begin_array();
    for (const int64_t id : *ids) writer.integer(id);
    writer.end_array();
  }
  writer.field("calls_before", statement.calls_before);
  writer.field("calls_after", statement.calls_after);
  writer.field("before_ms", statement.before_ms);
  writer.field("after_ms", statement.after_ms);
  if (statement.ratio) {
    writer.field("ratio", statement.ratio->value);
    writer.field("ratio_low", statement.ratio->low);
    writer.field("ratio_high", statement.ratio->high);
  }
  writer.field("effect", effect_name(statement.effect));
  writer.end_object();
}

void print_json(const VerifyReport& report, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("apply", report.apply_id);
  writer.key("statements");
  writer.begin_array();
  for (const StatementEffect& statement : report.statements) write_statement(statement, writer);
  writer.end_array();
  writer.key("changes");
  writer.begin_array();
  for (const VerifiedChange& change : report.changes) {
    writer.begin_object();
    writer.field("id", change.entry.id);
    writer.field("name", shown_name(change.entry));
    writer.field("state", state_name(change.entry.state));
    writer.field("verdict", verdict_name(change));
    writer.field("reason", change.reason);
    writer.end_object();
  }
  writer.end_array();
  writer.key("notes");
  writer.begin_array();
  for (const std::string& note : report.notes) writer.string(note);
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

VerifyReport verify(Reactor& reactor, const VerifyOptions& options, std::ostream& progress) {
  return Verifier(reactor, options, progress).run();
}

int run_verify(const VerifyOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const VerifyReport report = verify(reactor, options, progress);
  if (options.json)
    print_json(report, out);
  else
    print(report, options.calls_min, out);
  const bool slower = std::any_of(report.changes.begin(), report.changes.end(), [](const VerifiedChange& change) {
    return change.verdict == ChangeVerdictKind::kSlower;
  });
  return slower ? 1 : 0;
}

}  // namespace cairn::tuner
