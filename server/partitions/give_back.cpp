#include "partitions/give_back.h"

#include <fmt/format.h>

#include "base/error.h"
#include "partitions/convert.h"
#include "partitions/plan.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using Steps = std::vector<Session::Step>;

void add(Steps& steps, std::string sql) { steps.push_back({std::move(sql), {}}); }

}  // namespace

task<> GiveBack::run() {
  if (!kept_.returned) co_await exchange();
  co_await validate();
  co_await drop_new();
}

constexpr Statement kOid{"partitions_oid", "SELECT coalesce(to_regclass($1)::oid::int8, 0)"};

// All that a foreign key is dropped from or made to, and what refers to the new table or to its key tables.
constexpr Statement kAround{"partitions_around", R"(
SELECT coalesce(string_agg(DISTINCT format(', ONLY %s', c.oid::regclass), ''), '') FROM (
  SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
    AND confrelid IN (SELECT $1::int8::oid UNION SELECT to_regclass(k) FROM unnest($2::text[]) k)
  UNION SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid IN (SELECT relid FROM pg_partition_tree($1::int8::oid::regclass))
  UNION SELECT to_regclass(k) FROM unnest($2::text[]) k) t (oid) JOIN pg_class c ON c.oid = t.oid)"};

task<> GiveBack::read() {
  Params name = Params::of(conversion_.full_name());
  const Rows found = co_await session_.query(kOid, std::move(name));
  const int64_t oid = found.integer(0, 0);
  old_ = co_await read_facts(session_, conversion_.table_oid);
  new_ = co_await read_facts(session_, oid);
  Params params = Params::of(oid, conversion_.key_tables);
  const Rows around = co_await session_.query(kAround, std::move(params));
  around_ = new_.full_name() + ", ONLY " + old_.full_name() + around.text(0, 0);
}

// Of these the new table's rows would not fit into the old one, or lose something in it.
void GiveBack::check_columns() const {
  const auto text = [](const TableFacts& facts) {
    std::string all;
    for (const Column& c : facts.columns) all += fmt::format("{} {} {} {}\n", c.name, c.type, c.not_null, c.generated);
    return all;
  };
  if (text(old_) != text(new_))
    throw Error(ErrorCode::kInvalidState,
                conversion_.shown_name() +
                    " was altered since it was partitioned, and its old table has other columns: it cannot be taken "
                    "back any more; cairn partitions finish drops the old table");
}

task<> GiveBack::check_unaltered() {
  check_columns();
  for (const View& view : new_.views)
    if (view.kind != "v")
      throw Error(ErrorCode::kInvalidState, "the materialized view " + view.name + " reads " +
                                                conversion_.shown_name() +
                                                ", and cannot be made to read another table: drop it first");
  if (kept_.signature.empty()) co_return;
  const std::string now = co_await signature_of(session_, conversion_);
  if (now != kept_.signature)
    throw Error(ErrorCode::kInvalidState,
                conversion_.shown_name() +
                    " was altered since it was partitioned (its keys, indexes, triggers, defaults or privileges), and "
                    "taking it back would take that back too: put it as it was, or cairn partitions finish");
}

Follower GiveBack::follower() const {
  Follower::Tables tables{.from = new_.full_name(),
                          .to = old_.full_name(),
                          .log = conversion_.log(),
                          .shown = new_.shown_name(),
                          .key = row_key(old_)};
  for (const Column& column : old_.columns) {
    tables.compared.push_back(column.name);
    if (!column.generated) tables.written.push_back(column.name);
  }
  return Follower(session_, std::move(tables));
}

task<> GiveBack::follow() {
  co_await read();
  check_columns();
  Follower following = follower();
  co_await following.catch_up();
}

task<> GiveBack::exchange() {
  co_await read();
  co_await check_unaltered();
  Follower following = follower();
  co_await following.catch_up();
  co_await following.compare(
      "partitions were detached, attached, dropped or truncated by themselves since, which no trigger tells: it cannot "
      "be taken back; cairn partitions finish drops the old table");
  const Session::Body follow = [&]() -> task<> { co_await following.catch_up(); };
  const Session::Body body = [&]() -> task<> {
    co_await session_.hold_off_others(around_);
    co_await read();
    co_await check_unaltered();
    const Steps steps = co_await exchange_steps(following);
    co_await session_.at_once(steps);
  };
  co_await session_.brief("exchanging " + conversion_.shown_name() + " back", body, &follow);
  conversion_.state = "undoing";
  kept_.returned = true;
  session_.say(conversion_.shown_name() + " is the old table again");
}

constexpr Statement kForeignKeys{"partitions_foreign_keys", R"(
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 AND conrelid IN (SELECT relid FROM pg_partition_tree($1::int8::oid::regclass)))"};
constexpr const char* kUnmanage = "DELETE FROM cairn_partitions.managed WHERE table_schema = $1 AND table_name = $2";
constexpr const char* kReturned = "UPDATE cairn_partitions.kept SET returned = true WHERE conversion = $1";
constexpr const char* kUndoing = "UPDATE cairn_partitions.conversions SET state = 'undoing' WHERE id = $1";

task<Steps> GiveBack::exchange_steps(const Follower& following) {
  Params of_new = Params::of(new_.oid);
  const Rows foreign_keys = co_await session_.query(kForeignKeys, std::move(of_new));
  std::vector<std::string> views;
  for (const View& view : new_.views) {
    std::string definition = co_await view_again(session_, view);
    views.push_back(std::move(definition));
  }
  Steps steps;
  add(steps, "LOCK TABLE " + around_ + " IN ACCESS EXCLUSIVE MODE");
  for (const std::string& statement : following.replay_statements(true)) add(steps, statement);
  drop_capture(steps, new_.full_name());
  add(steps, "CREATE SCHEMA " + conversion_.gone_schema());
  for (const std::string& statement : kept_.before) add(steps, statement);
  for (int i = 0; i < foreign_keys.size(); ++i) add(steps, foreign_keys.text(i, 0));
  add_move(steps);
  for (const std::string& statement : views) add(steps, statement);
  for (const std::string& statement : kept_.after) add(steps, statement);
  steps.push_back({kUnmanage, Params::of(conversion_.schema, conversion_.table)});
  steps.push_back({kReturned, Params::of(conversion_.id)});
  steps.push_back({kUndoing, Params::of(conversion_.id)});
  co_return steps;
}

// Indexes and sequences move with their table, so that all names are free again.
void GiveBack::add_move(Steps& steps) const {
  for (const Column& column : new_.columns)
    if (!column.sequence.empty() && !column.identity)
      add(steps, "ALTER SEQUENCE " + qualified(column.sequence_schema, column.sequence) + " OWNED BY NONE");
  add(steps, "ALTER TABLE " + new_.full_name() + " SET SCHEMA " + conversion_.gone_schema());
  add(steps, "ALTER TABLE " + old_.full_name() + " SET SCHEMA " + db::quote_identifier(conversion_.schema));
  for (const Column& column : new_.columns) {
    if (column.sequence.empty()) continue;
    if (column.identity)
      steps.push_back({"SELECT setval(pg_get_serial_sequence($1, $2)::regclass, last_value, is_called) FROM " +
                           qualified(conversion_.gone_schema(), column.sequence),
                       Params::of(conversion_.full_name(), column.name)});
    else
      add(steps, "ALTER SEQUENCE " + qualified(column.sequence_schema, column.sequence) + " OWNED BY " +
                     conversion_.full_name() + "." + db::quote_identifier(column.name));
  }
}

constexpr Statement kValidated{"partitions_kept_validated",
                               "UPDATE cairn_partitions.kept SET validated = $2 WHERE conversion = $1"};

task<> GiveBack::validate() {
  co_await run_one_by_one(session_, kept_.validations, kValidated, conversion_.id, kept_.validated);
}

constexpr Statement kForgetKept{"partitions_forget_returned",
                                "DELETE FROM cairn_partitions.kept WHERE conversion = $1"};

// Nobody uses these any more.
task<> GiveBack::drop_new() {
  const Session::Body body = [&]() -> task<> {
    co_await session_.run("DROP TABLE " + conversion_.gone());
    for (size_t i = 0; i < conversion_.key_tables.size(); ++i) {
      co_await session_.run("DROP TABLE " + conversion_.key_tables[i]);
      co_await session_.run(fmt::format("DROP FUNCTION cairn_partitions.keep_{}_{}()", conversion_.id, i));
    }
    co_await session_.run("DROP FUNCTION " + conversion_.capture() + "()");
    co_await session_.run("DROP TABLE " + conversion_.log());
    co_await session_.run("DROP SCHEMA " + conversion_.gone_schema());
    co_await session_.run("DROP SCHEMA " + conversion_.kept_schema());
    Params params = Params::of(conversion_.id);
    co_await session_.query(kForgetKept, std::move(params));
    co_await set_state(session_, conversion_, "undone");
  };
  co_await session_.transaction(body);
  conversion_.state = "undone";
}

}  // namespace cairn::partitions
