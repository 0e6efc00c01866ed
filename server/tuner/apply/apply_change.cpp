// One change: carried out, taken back, looked at.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/table.h"
#include "tuner/apply/apply.h"
#include "tuner/apply/index_build.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

bool is_about_index(const JournalEntry& entry) {
  return entry.kind == ChangeKind::kIndex || entry.kind == ChangeKind::kDropIndex;
}

bool says(const std::string& sql, std::string_view word) { return sql.find(word) != std::string::npos; }

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text + "\n";
  return all;
}

// Of a thing that is not there: what takes it back has nothing to do.
bool is_absent(const db::DbError& error) { return error.sqlstate() == "42704" || error.sqlstate() == "42P01"; }

std::string shown_name(const JournalEntry& entry) {
  return on_one_line(entry.table.schema.empty() ? entry.name : entry.table.schema + "." + entry.name);
}

}  // namespace

constexpr Statement kStatistics{"tune_state_statistics", R"(/* cairn tune */
SELECT concat_ws(E'\n',
  (SELECT pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s WHERE s.stxrelid = t.oid AND s.stxname = $3),
  (SELECT 'targets: ' || string_agg(format('%I=%s', a.attname, a.attstattarget), ', ' ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0))
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = $1 AND t.relname = $2)"};

constexpr Statement kView{"tune_state_view", R"(/* cairn tune */
SELECT pg_get_viewdef(c.oid) || coalesce(E'\n' ||
  (SELECT string_agg(pg_get_indexdef(i.indexrelid), E'\n' ORDER BY i.indexrelid::regclass::text)
   FROM pg_index i WHERE i.indrelid = c.oid), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relname = $2 AND (n.nspname = $1 OR $1 = '') ORDER BY n.nspname LIMIT 1)"};

// Of settings only those that the statements mention.
constexpr Statement kSetting{"tune_state_setting", R"(/* cairn tune */
SELECT concat_ws(E'\n',
  (SELECT 'database: ' || string_agg(c, ', ' ORDER BY c) FROM pg_db_role_setting s, unnest(s.setconfig) c
   WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
     AND position(split_part(c, '=', 1) IN $3) > 0),
  (SELECT 'table: ' || string_agg(o, ', ' ORDER BY o)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(c.reloptions) o
   WHERE n.nspname = $1 AND c.relname = $2 AND position(split_part(o, '=', 1) IN $3) > 0),
  (SELECT 'columns: ' || string_agg(format('%I=%s', a.attname, a.attstattarget), ', ' ORDER BY a.attnum)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
   WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0)),
  has_function_privilege('pg_show_all_file_settings()', 'EXECUTE'))"};

// The file itself: a session hears of a reload a little later.
constexpr Statement kServerSetting{"tune_state_server_setting", R"(/* cairn tune */
SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_file_settings
WHERE sourcefile LIKE '%postgresql.auto.conf' AND position(name IN $1) > 0)"};

task<std::string> Changer::state_of(const JournalEntry& entry) {
  if (is_about_index(entry)) {
    const auto found = co_await find_index(session_, entry.parts.front());
    if (!found) co_return "";
    co_return found->definition.empty() ? "something that is no index" : found->definition;
  }
  if (entry.kind == ChangeKind::kSetting) {
    const std::string mentioned = joined(entry.statements);
    Params params = Params::of(entry.table.schema, entry.table.name, mentioned);
    const Rows rows = co_await session_.look(kSetting, std::move(params));
    std::string state = rows.optional_text(0, 0).value_or("");
    if (!rows.boolean(0, 1)) co_return state;
    Params server_params = Params::of(mentioned);
    const Rows server = co_await session_.look(kServerSetting, std::move(server_params));
    if (const auto value = server.optional_text(0, 0)) state += (state.empty() ? "server: " : "\nserver: ") + *value;
    co_return state;
  }
  const bool view = entry.kind == ChangeKind::kMaterializedView;
  Params params =
      view ? Params::of(entry.table.schema, entry.name) : Params::of(entry.table.schema, entry.table.name, entry.name);
  const Rows rows = co_await session_.look(view ? kView : kStatistics, std::move(params));
  co_return rows.empty() ? "" : rows.optional_text(0, 0).value_or("");
}

task<> Changer::prepare(JournalEntry& entry) {
  if (entry.kind == ChangeKind::kDropIndex) {
    entry.parts = {
        {.table = entry.table, .name = entry.name, .statement = entry.inverse.empty() ? "" : entry.inverse[0]}};
    const auto found = co_await find_index(session_, entry.parts.front());
    if (found && (!found->is_index || found->table != entry.table))
      throw Error(ErrorCode::kResourceConflict, shown_name(entry) + " is no index of the table any more");
    if (found && found->attached)
      throw invalid(shown_name(entry) +
                    " is a part of a partitioned table's index, which PostgreSQL does not drop alone");
    if (found && found->partitioned)
      throw invalid(shown_name(entry) + " is the index of a partitioned table: drop it by hand, when nobody writes");
  }
  entry.before = co_await state_of(entry);
}

task<> Changer::run_statements(const std::vector<std::string>& statements) {
  for (const std::string& sql : statements) {
    if (says(sql, " CONCURRENTLY ")) {
      co_await session_.wait_for_transactions(0);
      co_await session_.run_long(sql);
    } else {
      co_await session_.run_brief(sql);
    }
  }
}

// Of what was not made, or not wholly.
task<> Changer::run_inverse_anyhow(const JournalEntry& entry) {
  for (const std::string& sql : entry.inverse) {
    try {
      const std::vector<std::string> one{sql};
      co_await run_statements(one);
    } catch (const db::DbError& error) {
      if (!is_absent(error)) throw;
    }
  }
}

task<> Changer::do_forward(JournalEntry& entry, bool ours) {
  if (entry.kind == ChangeKind::kIndex) {
    co_await make_index(session_, entry.parts, ours, begun_);
  } else if (entry.kind == ChangeKind::kDropIndex) {
    co_await drop_index(session_, entry.parts);
  } else {
    if (ours) {
      // How far a killed one came is not known.
      const std::string now = co_await state_of(entry);
      if (now != entry.before) co_await run_inverse_anyhow(entry);
    }
    co_await run_statements(entry.statements);
  }
}

task<> Changer::do_backward(JournalEntry& entry, bool ours) {
  if (entry.kind == ChangeKind::kIndex)
    co_await drop_index(session_, entry.parts);
  else if (entry.kind == ChangeKind::kDropIndex)
    co_await make_index(session_, entry.parts, ours, begun_);
  else if (ours)
    co_await run_inverse_anyhow(entry);
  else
    co_await run_statements(entry.inverse);
}

// After a failure: nothing is left of the change, or its state stays `applying`, for status to find.
task<> Changer::tidy_up(JournalEntry& entry, std::string reason) {
  co_await session_.begin_tidying();
  try {
    if (is_about_index(entry)) {
      co_await drop_index(session_, begun_);
    } else {
      const std::string now = co_await state_of(entry);
      if (now != entry.before) co_await run_inverse_anyhow(entry);
    }
    co_await journal_.set_state(entry, ChangeState::kFailed, reason);
  } catch (const std::exception& error) {
    session_.say(fmt::format("what is left of change {} could not be removed ({}): cairn tune status --remove",
                             entry.id, error.what()));
  }
  session_.end_tidying();
}

task<> Changer::carry_out(JournalEntry& entry, bool ours) {
  co_await journal_.set_state(entry, ChangeState::kApplying);
  begun_.clear();
  std::exception_ptr failure;
  std::string reason;
  try {
    co_await do_forward(entry, ours);
    entry.after = co_await state_of(entry);
  } catch (const std::exception& error) {
    failure = std::current_exception();
    reason = error.what();
  }
  if (failure) {
    co_await tidy_up(entry, reason);
    std::rethrow_exception(failure);
  }
  co_await journal_.set_state(entry, ChangeState::kApplied);
}

task<> Changer::check_unchanged(const JournalEntry& entry, const std::string& now) {
  if (now == entry.after) co_return;
  throw Error(
      ErrorCode::kResourceConflict,
      fmt::format("change {} ({}) was changed by somebody else since, and stays: it is now\n  {}\nand was\n  {}",
                  entry.id, shown_name(entry), now.empty() ? "(not there)" : now,
                  entry.after.empty() ? "(not there)" : entry.after));
}

task<std::string> Changer::take_back(JournalEntry& entry, ChangeState end) {
  const std::string now = co_await state_of(entry);
  const bool drop = entry.kind == ChangeKind::kDropIndex;
  const bool settled = drop ? now == entry.before : now.empty() && entry.kind != ChangeKind::kSetting;
  if (settled) {
    const std::string word = drop ? "was made again" : "was dropped or renamed";
    co_await journal_.set_state(entry, end, word + " by somebody else");
    co_return shown_name(entry) + " " + word + " by somebody else: nothing to do";
  }
  co_await check_unchanged(entry, now);
  co_await journal_.set_state(entry, ChangeState::kUndoing);
  std::exception_ptr failure;
  try {
    co_await do_backward(entry, false);
  } catch (const std::exception&) {
    failure = std::current_exception();
  }
  if (failure) {
    co_await session_.begin_tidying();
    try {
      // As it was before, if nothing was done yet; else it stays `undoing`, for status to find.
      const auto found = co_await state_of(entry);
      if (found == now) co_await journal_.set_state(entry, ChangeState::kApplied);
    } catch (const std::exception& error) {
      session_.say(std::string("the journal could not be written: ") + error.what());
    }
    session_.end_tidying();
    std::rethrow_exception(failure);
  }
  co_await journal_.set_state(entry, end);
  co_return "";
}

task<std::string> Changer::describe(const JournalEntry& entry) {
  if (entry.state == ChangeState::kPlanned) co_return "not begun";
  if (!is_about_index(entry)) {
    const std::string now = co_await state_of(entry);
    co_return now == entry.before ? "as before" : "begun: it is now " + on_one_line(now.empty() ? "not there" : now);
  }
  size_t valid = 0, invalid = 0, attached = 0;
  for (const IndexPart& part : entry.parts) {
    const auto found = co_await find_index(session_, part);
    if (!found) continue;
    (found->valid ? valid : invalid) += 1;
    attached += found->attached;
  }
  const size_t all = entry.parts.size();
  if (all > 1)
    co_return fmt::format("of {} indexes {} are valid, {} are not, {} are attached, {} are missing", all, valid,
                          invalid, attached, all - valid - invalid);
  co_return valid ? "the index is there and valid" : invalid ? "the index is there and not valid" : "no index is there";
}

task<> Changer::remove(JournalEntry& entry) {
  if (entry.state == ChangeState::kUndoing) {
    co_await do_backward(entry, true);
    co_await journal_.set_state(entry, ChangeState::kUndone);
    co_return;
  }
  if (entry.state == ChangeState::kApplying) {
    const std::string now = co_await state_of(entry);
    if (entry.kind == ChangeKind::kIndex || now != entry.before) co_await do_backward(entry, true);
  }
  co_await journal_.set_state(entry, ChangeState::kFailed, "killed, and removed");
}

}  // namespace cairn::tuner
