// The steps before the exchange.
#include "partitions/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr int64_t kFirstBatch = 2'000;
constexpr int64_t kFewest = 500, kMost = 20'000;
constexpr std::chrono::milliseconds kBatchTime{200};
constexpr std::chrono::seconds kBetweenReports{2};

// ARRAY[k::text, …]: a key as it is written down.
std::string key_texts(const std::vector<std::string>& key) {
  std::string text;
  for (const std::string& column : key) text += (text.empty() ? "" : ", ") + db::quote_identifier(column) + "::text";
  return "ARRAY[" + text + "]";
}

}  // namespace

std::string Converter::index_name(size_t number) const { return fmt::format("cairn_i{}_{}", conversion_.id, number); }

constexpr Statement kColumnStatistics{"partitions_column_statistics", R"(
SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $2::text, attname, attstattarget)
FROM pg_attribute WHERE attrelid = $1::int8 AND attnum > 0 AND NOT attisdropped AND attstattarget > 0)"};

// What ALTER DEFAULT PRIVILEGES gave, and the old table may not have.
constexpr Statement kDefaultGrants{"partitions_default_grants", R"(
SELECT DISTINCT format('REVOKE ALL ON TABLE %s FROM %s', c.oid::regclass,
                       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.oid IN (SELECT $1::text::regclass::oid UNION SELECT relid FROM pg_partition_tree($1::text::regclass)) AND a.grantee <> c.relowner)"};

task<> revoke_defaults(Session& session, std::string table) {
  Params params = Params::of(table);
  const Rows revokes = co_await session.query(kDefaultGrants, std::move(params));
  for (int i = 0; i < revokes.size(); ++i) co_await session.run(revokes.text(i, 0));
}

task<> Converter::create() {
  const Session::Body body = [&]() -> task<> {
    const std::string signature = co_await md5(session_, plan_.facts.signature());
    co_await add_conversion(session_, conversion_, signature);
    const std::string owner = " OWNER TO " + db::quote_identifier(plan_.facts.owner);
    co_await session_.run(fmt::format(
        "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING IDENTITY INCLUDING GENERATED INCLUDING CONSTRAINTS"
        " INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS) PARTITION BY {} ({})",
        plan_.shadow(), plan_.facts.full_name(), strategy(plan_.scheme.by), db::quote_identifier(plan_.scheme.column)));
    std::vector<Range> ranges = plan_.ranges;
    ranges.push_back({default_name(plan_.facts.name), "", "", ""});
    for (const Range& range : ranges) {
      const std::string name = qualified(plan_.facts.schema, range.name);
      const std::string bounds = range.bounds.empty() ? "DEFAULT" : "FOR VALUES " + range.bounds;
      co_await session_.run(
          fmt::format("CREATE TABLE {} PARTITION OF {} {}{}", name, plan_.shadow(), bounds, plan_.facts.storage));
      co_await session_.run("ALTER TABLE " + name + owner);
    }
    co_await session_.run("ALTER TABLE " + plan_.shadow() + owner);
    co_await revoke_defaults(session_, plan_.shadow());
    Params params = Params::of(plan_.facts.oid, plan_.shadow());
    const Rows statistics = co_await session_.query(kColumnStatistics, std::move(params));
    for (int i = 0; i < statistics.size(); ++i) co_await session_.run(statistics.text(i, 0));
    co_await session_.run(fmt::format("CREATE TABLE {} AS SELECT {} FROM ONLY {} WITH NO DATA", conversion_.log(),
                                      column_list(plan_.key), plan_.facts.full_name()));
  };
  co_await session_.transaction(body);
  session_.say(fmt::format("made {} with {} partitions", plan_.shadow_name(), plan_.ranges.size() + 1));
}

// Runs with the rights of who converts: writers need none on the log.
task<> Converter::capture() {
  const std::string old_key = column_list(plan_.key, "OLD."), new_key = column_list(plan_.key, "NEW.");
  const std::string function = fmt::format(
      R"(CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION 'this table is being partitioned, and cannot be truncated meanwhile'
      USING HINT = 'Run cairn partitions finish, when it is converted, or cairn partitions undo.';
  END IF;
  IF TG_OP <> 'INSERT' THEN INSERT INTO {1} VALUES ({2}); END IF;
  IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND ROW({2}) IS DISTINCT FROM ROW({3})) THEN INSERT INTO {1} VALUES ({3}); END IF;
  RETURN NULL;
END $f$)",
      conversion_.capture(), conversion_.log(), old_key, new_key);
  const std::string table = plan_.facts.full_name();
  const Session::Body body = [&]() -> task<> {
    co_await session_.hold_off_others("ONLY " + table);
    co_await session_.run(function);
    std::vector<Session::Step> steps;
    add_capture(steps, table, conversion_);
    for (const Session::Step& step : steps) co_await session_.run(step.sql);
    co_await set_state(session_, conversion_, "capturing");
  };
  co_await session_.brief("making the trigger that logs writes to " + plan_.facts.shown_name(), body);
  conversion_.state = "capturing";
}

constexpr Statement kProgress{"partitions_progress", R"(
UPDATE cairn_partitions.conversions SET last_key = $2, copied = copied + $3 WHERE id = $1)"};

// In order of the key, so that no row is copied twice; each batch is written down with it.
task<int64_t> Converter::copy_batch(int64_t rows) {
  std::string row, from, to;
  for (size_t i = 0; i < plan_.key.size(); ++i) {
    const std::string comma = i == 0 ? "" : ", ", type = plan_.facts.find(plan_.key[i])->type;
    row += comma + "t." + db::quote_identifier(plan_.key[i]);
    from += comma + fmt::format("($1::text[])[{}]::{}", i + 1, type);
    to += comma + fmt::format("($2::text[])[{}]::{}", i + 1, type);
  }
  const std::string columns = column_list(plan_.written());
  std::string descending;
  for (const std::string& column : plan_.key)
    descending += (descending.empty() ? "" : ", ") + db::quote_identifier(column) + " DESC";
  const std::string sql = fmt::format(
      "WITH batch AS MATERIALIZED (SELECT {0} FROM ONLY {1} t WHERE ROW({2}) <= ROW({3}) AND $1::text[] IS NOT NULL"
      " AND {4} ORDER BY {2} LIMIT {5}), made AS (INSERT INTO {6} ({0}) OVERRIDING SYSTEM VALUE SELECT {0} FROM batch)"
      " SELECT (SELECT count(*) FROM batch), (SELECT {7} FROM batch ORDER BY {8} LIMIT 1)",
      columns, plan_.facts.full_name(), row, to,
      conversion_.last_key.empty() ? "true" : fmt::format("ROW({}) > ROW({})", row, from), rows, plan_.shadow(),
      key_texts(plan_.key), descending);
  int64_t count = 0;
  std::vector<std::string> last;
  const Session::Body body = [&]() -> task<> {
    Params params = Params::of(conversion_.last_key, conversion_.max_key);
    const Rows done = co_await session_.run(sql, std::move(params));
    count = done.integer(0, 0);
    if (count == 0) co_return;
    last = done.texts(0, 1);
    Params progress = Params::of(conversion_.id, last, count);
    co_await session_.query(kProgress, std::move(progress));
  };
  co_await session_.transaction(body);
  if (count > 0) conversion_.last_key = last;
  conversion_.copied += count;
  co_return count;
}

constexpr Statement kSetMax{"partitions_set_max", "UPDATE cairn_partitions.conversions SET max_key = $2 WHERE id = $1"};

// Rows with keys above the highest one at the beginning come by the log.
task<> Converter::copy() {
  if (conversion_.max_key.empty()) {
    std::string descending;
    for (const std::string& column : plan_.key)
      descending += (descending.empty() ? "" : ", ") + db::quote_identifier(column) + " DESC";
    const Rows max = co_await session_.run(fmt::format("SELECT {} FROM ONLY {} ORDER BY {} LIMIT 1",
                                                       key_texts(plan_.key), plan_.facts.full_name(), descending));
    if (!max.empty()) {
      conversion_.max_key = max.texts(0, 0);
      Params params = Params::of(conversion_.id, conversion_.max_key);
      co_await session_.query(kSetMax, std::move(params));
    }
  }
  using Clock = std::chrono::steady_clock;
  auto reported = Clock::now();
  for (int64_t rows = kFirstBatch; !conversion_.max_key.empty();) {
    const auto begun = Clock::now();
    const int64_t copied = co_await copy_batch(rows);
    if (copied == 0) break;
    const double share = std::chrono::duration<double>(kBatchTime) / (Clock::now() - begun);
    rows = std::clamp(static_cast<int64_t>(static_cast<double>(rows) * std::clamp(share, 0.5, 2.0)), kFewest, kMost);
    if (Clock::now() - reported < kBetweenReports) continue;
    reported = Clock::now();
    session_.say(fmt::format("copied {} of about {:.0f} rows", conversion_.copied, plan_.facts.rows));
  }
  co_await set_state(session_, conversion_, "copied");
  session_.say(fmt::format("copied {} rows", conversion_.copied));
}

constexpr Statement kRelation{"partitions_relation", R"(
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = $2))"};

namespace {

std::string index_statement(const Plan& plan, const Index& index, const std::string& name) {
  std::vector<std::string> columns = index.columns;
  if (index.unique && std::find(columns.begin(), columns.end(), plan.scheme.column) == columns.end())
    columns.push_back(plan.scheme.column);
  const bool extended = columns.size() > index.columns.size();
  const std::string quoted = db::quote_identifier(name);
  if (index.constraint)
    return fmt::format("ALTER TABLE {} ADD CONSTRAINT {} {} ({}){}", plan.shadow(), quoted,
                       index.primary ? "PRIMARY KEY" : "UNIQUE", column_list(columns), index.deferrable);
  if (extended) return fmt::format("CREATE UNIQUE INDEX {} ON {} ({})", quoted, plan.shadow(), column_list(columns));
  return fmt::format("CREATE {}INDEX {} ON {} USING {}", index.unique ? "UNIQUE " : "", quoted, plan.shadow(),
                     index.body);
}

}  // namespace

// Nobody else knows the new table, so its indexes need not be built concurrently.
task<> Converter::build_indexes() {
  for (size_t i = 0; i < plan_.facts.indexes.size(); ++i) {
    const Index& index = plan_.facts.indexes[i];
    Params params = Params::of(plan_.facts.schema, index_name(i));
    const Rows there = co_await session_.query(kRelation, std::move(params));
    if (there.boolean(0, 0)) continue;
    co_await session_.run(index_statement(plan_, index, index_name(i)));
    session_.say("built " + index.name);
  }
  co_await set_state(session_, conversion_, "indexed");
}

namespace {

// $1 of the format: function; 2: key table; 3 to 6: columns.
constexpr const char* kKeep = R"(CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $f$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF {5} AND NOT EXISTS (SELECT FROM {1} k WHERE ({2}) = ({3}) AND k.{6} = NEW.{6}) THEN
      INSERT INTO {1} VALUES ({3}, NEW.{6});
    END IF;
    RETURN NULL;
  ELSIF TG_OP = 'DELETE' THEN
    DELETE FROM {1} k WHERE ({2}) = ({4}) AND k.{6} = OLD.{6};
    RETURN NULL;
  ELSIF TG_OP = 'TRUNCATE' THEN
    TRUNCATE {1};
    RETURN NULL;
  END IF;
  IF {5} THEN
    UPDATE {1} k SET ({7}) = ROW({3}, NEW.{6}) WHERE ({2}) = ({4}) AND k.{6} = OLD.{6};
    IF NOT FOUND THEN INSERT INTO {1} VALUES ({3}, NEW.{6}); END IF;
  ELSE
    DELETE FROM {1} k WHERE ({2}) = ({4}) AND k.{6} = OLD.{6};
  END IF;
  RETURN NEW;
END $f$)";

}  // namespace

task<> Converter::make_key_table(const KeyTable& key, size_t number) {
  const std::string table = qualified(plan_.facts.schema, key.name), column = db::quote_identifier(plan_.scheme.column);
  const std::string function = fmt::format("cairn_partitions.keep_{}_{}", conversion_.id, number);
  std::vector<std::string> all = key.columns;
  all.push_back(plan_.scheme.column);
  std::string never_null, changed;
  for (const std::string& name : key.columns)
    never_null += (never_null.empty() ? "" : " AND ") + ("NEW." + db::quote_identifier(name)) + " IS NOT NULL";
  std::string there = never_null;
  for (size_t at = 0; (at = there.find("NEW.", at)) != std::string::npos;) there.erase(at, 4);
  co_await session_.run(
      fmt::format("CREATE TABLE {} AS SELECT {} FROM {} WHERE {}", table, column_list(all), plan_.shadow(), there));
  co_await session_.run(fmt::format("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({}){}, ALTER COLUMN {} SET NOT NULL",
                                    table, db::quote_identifier(fitted(key.name, "_pkey")), column_list(key.columns),
                                    key.deferrable, column));
  co_await session_.run("ALTER TABLE " + table + " OWNER TO " + db::quote_identifier(plan_.facts.owner));
  co_await revoke_defaults(session_, table);
  const std::string comment = "keeps unique what " + key.key + " alone kept before " + plan_.facts.name +
                              " was partitioned; written by its triggers only (cairn partitions)";
  Params params = Params::of(comment);
  const Rows literal = co_await session_.run("SELECT quote_literal($1::text)", std::move(params));
  co_await session_.run("COMMENT ON TABLE " + table + " IS " + literal.text(0, 0));
  co_await session_.run(fmt::format(kKeep, function, table, column_list(key.columns, "k."),
                                    column_list(key.columns, "NEW."), column_list(key.columns, "OLD."), never_null,
                                    column, column_list(all)));
  const std::string first = fmt::format("\"00_cairn_keys_{}_", number);
  const std::string end = fmt::format(" EXECUTE FUNCTION {}()", function);
  // First of the row's AFTER triggers: others may insert what refers to the key.
  co_await session_.run(
      fmt::format("CREATE TRIGGER {}insert\" AFTER INSERT ON {} FOR EACH ROW{}", first, plan_.shadow(), end));
  co_await session_.run(
      fmt::format("CREATE TRIGGER {}delete\" AFTER DELETE ON {} FOR EACH ROW{}", first, plan_.shadow(), end));
  co_await session_.run(fmt::format("CREATE TRIGGER {}truncate\" BEFORE TRUNCATE ON {} FOR EACH STATEMENT{}", first,
                                    plan_.shadow(), end));
  // Last of its BEFORE triggers: it sees the row that will be written.
  co_await session_.run(
      fmt::format("CREATE TRIGGER zz_cairn_keys_{}_update BEFORE UPDATE ON {} FOR EACH ROW WHEN"
                  " (ROW({}) IS DISTINCT FROM ROW({})){}",
                  number, plan_.shadow(), column_list(all, "OLD."), column_list(all, "NEW."), end));
}

constexpr Statement kKeyTables{"partitions_key_tables",
                               "UPDATE cairn_partitions.conversions SET key_tables = $2 WHERE id = $1"};

task<> Converter::make_keys() {
  std::vector<std::string> names;
  for (const KeyTable& key : plan_.keys) names.push_back(qualified(plan_.facts.schema, key.name));
  const Session::Body body = [&]() -> task<> {
    for (size_t i = 0; i < plan_.keys.size(); ++i) co_await make_key_table(plan_.keys[i], i);
    Params params = Params::of(conversion_.id, names);
    co_await session_.query(kKeyTables, std::move(params));
    co_await set_state(session_, conversion_, "keyed");
  };
  co_await session_.transaction(body);
  conversion_.state = "keyed";
  conversion_.key_tables = names;
}

task<> Converter::go_on() {
  if (conversion_.state == "undoing") co_return co_await undo();
  if (conversion_.state == "created") co_await capture();
  if (conversion_.state == "capturing") co_await copy();
  if (conversion_.state == "copied") co_await build_indexes();
  if (conversion_.state == "indexed") co_await make_keys();
  if (conversion_.state == "keyed") co_await swap();
  if (conversion_.state == "swapped") co_await validate();
}

// First what writers meet, for a moment; then what only this conversion knows of.
task<> Converter::undo() {
  const std::string table = conversion_.full_name();
  const Session::Body writers = [&]() -> task<> {
    co_await session_.hold_off_others("ONLY " + table);
    std::vector<Session::Step> steps;
    drop_capture(steps, table);
    for (const Session::Step& step : steps) co_await session_.run(step.sql);
    co_await set_state(session_, conversion_, "undoing");
  };
  if (conversion_.state != "undoing") {
    co_await session_.brief("taking the trigger from " + conversion_.shown_name(), writers);
    conversion_.state = "undoing";
  }
  const Session::Body rest = [&]() -> task<> {
    co_await session_.run("DROP FUNCTION IF EXISTS " + conversion_.capture() + "()");
    co_await session_.run("DROP TABLE " + qualified(conversion_.schema, fitted(conversion_.table, "_partitioned")));
    for (size_t i = 0; i < conversion_.key_tables.size(); ++i) {
      co_await session_.run("DROP TABLE " + conversion_.key_tables[i]);
      co_await session_.run(fmt::format("DROP FUNCTION cairn_partitions.keep_{}_{}()", conversion_.id, i));
    }
    co_await session_.run("DROP TABLE " + conversion_.log());
    co_await set_state(session_, conversion_, "undone");
  };
  co_await session_.transaction(rest);
  conversion_.state = "undone";
}

}  // namespace cairn::partitions
