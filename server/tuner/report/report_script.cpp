#include "tuner/report/report_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/table.h"
#include "db/statement.h"
#include "tuner/report/markdown.h"
#include "tuner/report/report.h"

namespace cairn::tuner {
namespace {

constexpr double kGoodHits = 0.9;
constexpr size_t kTables = 5;

// In a line that psql reads: \echo's argument, without what psql would expand in it.
std::string echo(const std::string& text) {
  std::string line = "\\echo '";
  for (const char c : on_one_line(text))
    line += c == '\'' ? std::string("''") : c == '\\' ? std::string("\\\\") : std::string(1, c);
  return line + "'\n";
}

std::string comment(const std::string& text) { return "-- " + on_one_line(text) + "\n"; }

// A second run finds the index and leaves it.
std::string if_not_exists(std::string statement) {
  constexpr std::string_view kConcurrently = "CREATE INDEX CONCURRENTLY ";
  constexpr std::string_view kPlain = "CREATE INDEX ";
  for (const std::string_view begin : {kConcurrently, kPlain}) {
    if (!statement.starts_with(begin)) continue;
    return statement.insert(begin.size(), "IF NOT EXISTS ");
  }
  return statement;
}

std::string table_sizes(const ReportFacts& facts) {
  std::vector<const Table*> tables;
  for (const Table& table : facts.catalog.tables)
    if (table.indexable() && table.name.schema != "cairn_tune") tables.push_back(&table);
  std::sort(tables.begin(), tables.end(), [](const Table* a, const Table* b) { return a->pages > b->pages; });
  std::vector<std::vector<std::string>> rows = {{"Largest tables", "Rows", "Size", "Indexes"}};
  for (size_t i = 0; i < tables.size() && i < kTables; ++i)
    rows.push_back({markdown_code(tables[i]->name.schema + "." + tables[i]->name.name),
                    fmt::format("{:.0f}", tables[i]->rows), in_megabytes(tables[i]->pages * 8192),
                    std::to_string(tables[i]->indexes.size())});
  return rows.size() == 1 ? "" : markdown_table(rows) + "\n";
}

constexpr const char* kQuickReference = R"(## Quick Reference

| Issue | Symptom | Action |
|---|---|---|
| Slow statements | P99 over 500 ms | Procedure 1 |
| Low cache hit ratio | under 90 % | Procedure 1 for the statements with the most blocks (`--order cache`), then `shared_buffers` |
| Something got slower after a change | `cairn tune verify` says so | where more is lost than gained, it takes the change back; by hand: `cairn tune undo` |
| Table bloat | dead rows over 20 % | Procedure 2 |
| Everything is slow | CPU over 90 %, time-outs | Procedure 3 |

)";

constexpr const char* kSlowStatement = R"(## Procedure 1: Investigate a Slow Statement

1. **Find it**:
   ```
   cairn tune profile --order mean --top 10
   ```
2. **Read its plan**; with `--analyze` it is run, in a transaction that is rolled back:
   ```
   cairn tune explain 'SELECT …' --analyze
   ```
3. **Ask for a change, and have it proved on a copy**:
   ```
   cairn tune advise
   cairn tune prove last
   ```
4. **Apply what was kept**, without blocking anybody who writes:
   ```
   cairn tune apply last
   ```
5. **Verify after a day of load**: what got worse is taken back:
   ```
   cairn tune verify
   cairn tune report --dir .
   ```

**Rollback**: `cairn tune undo`, any change, any time.

)";

constexpr const char* kBloat = R"(## Procedure 2: Handle Table Bloat

1. **Look for dead rows**:
   ```sql
   SELECT relname, n_live_tup, n_dead_tup, last_autovacuum,
          round(100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0), 1) AS dead_percent
   FROM pg_stat_user_tables ORDER BY n_dead_tup DESC LIMIT 10;
   ```
2. **Over 20 %**: `VACUUM (VERBOSE, ANALYZE) the_table;` It blocks nobody.
3. **If that frees nothing**, somebody's old snapshot holds the rows:
   ```sql
   SELECT pid, usename, state, now() - xact_start AS age FROM pg_stat_activity
   WHERE backend_xmin IS NOT NULL ORDER BY xact_start LIMIT 5;
   SELECT slot_name, active, xmin FROM pg_replication_slots WHERE xmin IS NOT NULL;
   ```
4. **So that it does not come back**: `cairn tune advise` proposes autovacuum's settings for tables that change much.

)";

constexpr const char* kTriage = R"(## Procedure 3: Everything Is Slow

1. **Who works, and what for do they wait**:
   ```sql
   SELECT pid, usename, state, wait_event_type, wait_event, now() - query_start AS runs, left(query, 60) AS query
   FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() ORDER BY query_start;
   ```
2. **Who blocks whom**:
   ```sql
   SELECT pid, pg_blocking_pids(pid) AS blocked_by, left(query, 60) AS query
   FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0;
   ```
3. **Stop a statement, then, if it must be, its session**: `SELECT pg_cancel_backend(pid);`, `SELECT pg_terminate_backend(pid);`
4. **What runs in these minutes**: `cairn tune profile --interval 30 --samples 30`

)";

constexpr const char* kMonthly = R"(## Procedure 4: Monthly Maintenance

- [ ] `cairn tune profile --save`: a snapshot to compare with
- [ ] `cairn tune advise`: new statements, unused and duplicate indexes
- [ ] `cairn tune report --dir .`: these documents, anew
- [ ] Restore a backup into a scratch database, and `cairn tune prove last --clone-url …` on it
)";

// Those that other advices than this one brought, and that are still in force.
std::string made_before(const ReportFacts& facts, std::set<TableName>& tables) {
  std::string text;
  for (const JournalEntry& entry : facts.journal) {
    const bool of_this = facts.advice && entry.advice == facts.advice->id;
    if (entry.kind != ChangeKind::kIndex || !entry.is_in_force() || of_this) continue;
    text += comment(entry.reason) + echo(entry.name);
    for (const std::string& statement : entry.statements) text += if_not_exists(statement) + ";\n";
    text += "\n";
    tables.insert(entry.table);
  }
  return text;
}

}  // namespace

std::string index_script(const ReportFacts& facts) {
  std::string text =
      comment("Indexes for " + facts.database + ", proposed by `cairn tune advise`. For psql; it may be run again.") +
      comment("None of it blocks anybody who writes. Each may be dropped again: DROP INDEX CONCURRENTLY.") +
      "\\set ON_ERROR_STOP on\n\\timing on\n\n";
  std::set<TableName> tables;
  text += made_before(facts, tables);
  if (!facts.advice && tables.empty()) return text + comment("There is no advice yet.");
  std::vector<size_t> indexes;
  for (size_t i = 0; facts.advice && i < facts.advice->changes.size(); ++i)
    if (facts.advice->changes[i].kind == ChangeKind::kIndex) indexes.push_back(i);
  const auto why_not_made = [&](size_t change) -> std::string {
    const ChangeVerdict* verdict = facts.proof ? facts.proof->of_change(change) : nullptr;
    if (verdict != nullptr && verdict->verdict == Verdict::kRejected)
      return "Rejected by its proof: " + verdict->reason;
    if (facts.advice->changes[change].on_request) return "Only on request.";
    const bool is_kept = verdict != nullptr && verdict->verdict == Verdict::kKept;
    if (!facts.advice->changes[change].only_proved || is_kept) return {};
    return "Not tried by a proof, and what it gains is not estimated.";
  };
  const auto made = std::count_if(indexes.begin(), indexes.end(), [&](size_t i) { return why_not_made(i).empty(); });
  int number = 0;
  for (const size_t position : indexes) {
    const Change& change = facts.advice->changes[position];
    text += comment(change.reason);
    if (const std::string why = why_not_made(position); !why.empty()) {
      text += comment(why);
      for (const std::string& statement : change.statements) text += comment(statement + ";");
      text += "\n";
      continue;
    }
    text += echo(fmt::format("[{}/{}] {}", ++number, made, change.name));
    for (const std::string& statement : change.statements) text += if_not_exists(statement) + ";\n";
    text += "\n";
    tables.insert(change.table);
  }
  if (tables.empty()) return text + comment("No index is worth having.");
  text +=
      "SELECT schemaname, relname, indexrelname, pg_size_pretty(pg_relation_size(indexrelid)) AS size, idx_scan\n"
      "FROM pg_stat_user_indexes ORDER BY 1, 2, 3;\n\n";
  for (const TableName& table : tables)
    text += "ANALYZE " + db::quote_identifier(table.schema) + "." + db::quote_identifier(table.name) + ";\n";
  return text;
}

std::string runbook_text(const ReportFacts& facts) {
  std::string text = "## This Database\n\n";
  const auto& hits = facts.before.cache_hit_ratio;
  text +=
      "- Cache hit ratio: " + (hits ? in_percent(*hits) + (*hits < kGoodHits ? ", which is low" : "") : "not counted");
  text += "\n- `shared_buffers`: " + (facts.shared_buffers ? in_megabytes(*facts.shared_buffers) : "not known");
  text += fmt::format("\n- Replicas that are connected: {}\n\n", facts.catalog.replicas);
  text += table_sizes(facts);
  std::string missing;
  for (const std::string& note : facts.catalog.missing)
    if (note.find("cairn_tune") == std::string::npos) missing += "- not known: " + on_one_line(note) + "\n";
  return text + missing + (missing.empty() ? "" : "\n") + kQuickReference + kSlowStatement + kBloat + kTriage +
         kMonthly;
}

}  // namespace cairn::tuner
