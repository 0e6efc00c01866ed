// A clone of some of the rows, for which it is enough to read: the schema by pg_dump on a server of its own, the rows
// by COPY; of a large table a sample (TABLESAMPLE, always the same rows of the same data), of a small one all.
//
// Left out: what a sample cannot hold (foreign keys), what would act (triggers, policies), and what leads elsewhere
// (foreign tables, publications, subscriptions). The planner is told the origin's numbers of rows and of distinct
// values; blocks, common values, histograms and the sizes of indexes are of the sample.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/log.h"
#include "base/table.h"
#include "tuner/prove/clone.h"
#include "tuner/prove/scratch_server.h"
#include "tuner/sql/expression.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;

constexpr double kSpareDisk = 2;            // indexes that are built, and the ones that a proof tries
constexpr int64_t kPagesReadWhole = 16384;  // 128 MB; of a larger table whole pages are taken, and the rest is not read
constexpr double kShareOfBound = 0.95;      // so that the bound seldom cuts off the last rows
constexpr size_t kNamedTables = 10;

Error refused(const std::string& what) { return Error(ErrorCode::kInvalidState, what); }

double number(const Value& value) { return value ? std::strtod(value->c_str(), nullptr) : 0; }

std::string qualified(const Value& schema, const Value& name) {
  return db::quote_identifier(schema.value_or("")) + "." + db::quote_identifier(name.value_or(""));
}

struct SampledTable {
  int64_t oid = 0;
  std::string name = {};  // qualified and quoted
  std::string columns = {};
  double rows = 0;
  double all_rows = 0;  // of the partitioned table that it is a part of
  double bytes = 0;
  double pages = 0;
  double share = 1;  // that is copied
  int64_t copied = 0;

  bool is_sampled() const { return share < 1; }
};

#define CAIRN_OWN                                                                                          \
  "c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (" \
  "SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
// Rows as the planner reckons them; a table that was never analysed has about 60 a page.
constexpr const char* kTables =
    "/* cairn tune */ SELECT c.oid, n.nspname, c.relname, t.rows, sum(t.rows) OVER (PARTITION BY "
    "coalesce(pg_partition_root(c.oid), c.oid)), pg_total_relation_size(c.oid), t.pages FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL ("
    "SELECT CASE WHEN c.relpages > 0 THEN c.reltuples / c.relpages ELSE 60 END * p.pages AS rows, p.pages "
    "FROM (SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8 AS pages) p) t "
    "WHERE c.relkind = 'r' AND " CAIRN_OWN
    " AND has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') ORDER BY c.oid";
constexpr const char* kColumns =
    "/* cairn tune */ SELECT a.attname FROM pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 "
    "AND NOT a.attisdropped AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = '' ORDER BY a.attnum";
constexpr const char* kUnreadable =
    "/* cairn tune */ SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p') AND " CAIRN_OWN
    " AND has_schema_privilege(n.oid, 'USAGE') AND NOT has_table_privilege(c.oid, 'SELECT')";
constexpr const char* kClosedSchemas =
    "/* cairn tune */ SELECT n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' "
    "AND n.nspname <> 'information_schema' AND NOT has_schema_privilege(n.oid, 'USAGE')";
constexpr const char* kDatabase =
    "/* cairn tune */ SELECT d.datname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, "
    "coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale', ''), "
    "coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') FROM pg_database d WHERE d.datname = current_database()";
// As pg_dump sets it, so that every value is read back as it was.
constexpr const char* kPlainText =
    "/* cairn tune */ SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; "
    "SET statement_timeout = 0; SET lock_timeout = '10s'";
constexpr const char* kOneSnapshot = "/* cairn tune */ BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
// Kinds of pg_restore's list.
constexpr std::string_view kLeftOut[] = {
    "FK CONSTRAINT", "TRIGGER",      "EVENT TRIGGER", "POLICY",   "ROW SECURITY", "PUBLICATION", "SUBSCRIPTION",
    "SERVER",        "USER MAPPING", "FOREIGN",       "DATABASE", "ACL",          "DEFAULT ACL", "COMMENT"};

class SampleClone : public Clone {
 public:
  explicit SampleClone(const CloneOptions& options)
      : options_(options), target_(options.target), server_(options_, target_.version() / 10000, kPrograms) {
    settings_ = session_settings_of(target_);
    target_.execute(kPlainText);
    target_.execute(kOneSnapshot);
    read_tables();
    server_.make_folders(bytes() * kSpareDisk, "a sample");
    const Values database = target_.query(kDatabase).at(0);
    make_cluster(database);
    server_.start(target_);
    make_database(*database[0]);
    Session clone(connection_string_);
    clone.execute(kPlainText);
    dump_schema();
    restore("pre-data");
    for (SampledTable& table : tables_) copy(table, clone);
    restore("post-data");
    settle(clone);
    describe();
    shares_server_ = false;
  }

 private:
  static constexpr std::initializer_list<const char*> kPrograms{"initdb", "pg_dump", "pg_restore"};

  void read_tables() {
    const auto bound = static_cast<double>(options_.sample_rows);
    for (const Values& row : target_.query(kTables)) {
      SampledTable table{.oid = static_cast<int64_t>(number(row[0])),
                         .name = qualified(row[1], row[2]),
                         .rows = number(row[3]),
                         .all_rows = number(row[4]),
                         .bytes = number(row[5]),
                         .pages = number(row[6])};
      if (table.all_rows > bound) table.share = bound / table.all_rows;
      for (const Values& column : target_.query(kColumns, {row[0]}))
        table.columns += (table.columns.empty() ? "" : ", ") + db::quote_identifier(*column[0]);
      if (!table.columns.empty()) tables_.push_back(std::move(table));
    }
    if (tables_.empty())
      throw refused("this role may read no table of the database: there is nothing to take a sample of");
  }

  double bytes() const {
    double sum = 0;
    for (const SampledTable& table : tables_) sum += table.bytes * table.share;
    return sum;
  }

  void make_cluster(const Values& database) {
    std::vector<std::string> arguments{
        "--pgdata=" + server_.data().string(), "--username=postgres", "--auth=trust", "--no-sync",
        "--encoding=" + *database[1],          "--no-locale"};
    std::vector<std::string> alike = arguments;
    alike.insert(alike.end(), {"--lc-collate=" + *database[2], "--lc-ctype=" + *database[3]});
    if (*database[5] == "i") alike.insert(alike.end(), {"--locale-provider=icu", "--icu-locale=" + *database[4]});
    if (server_.run("initdb", alike, server_.postgres_user()).exit_status == 0) return;
    const cluster::Finished made = server_.run("initdb", arguments, server_.postgres_user());
    if (made.exit_status != 0) throw refused("initdb failed: " + made.output);
    notes_.push_back("the database's locale " + *database[2] +
                     " is not on this machine: text has the order of its bytes");
  }

  void make_database(const std::string& name) {
    connection_string_ = server_.connection_string("postgres", "postgres");
    if (name == "postgres" || name == "template1") return;
    Session(connection_string_).execute("CREATE DATABASE " + db::quote_identifier(name) + " TEMPLATE template0");
    connection_string_ = server_.connection_string("postgres", name);
  }

  fs::path archive() const { return server_.folder() / "schema"; }

  void dump_schema() {
    std::vector<std::string> arguments{"--format=custom",
                                       "--schema-only",
                                       "--no-owner",
                                       "--no-privileges",
                                       "--no-tablespaces",
                                       "--no-publications",
                                       "--no-subscriptions",
                                       "--no-security-labels",
                                       "--no-password",
                                       "--lock-wait-timeout=10s",
                                       "--file=" + archive().string(),
                                       "--dbname=" + with_options(options_.target, {{"password", ""}})};
    size_t closed = 0;
    for (const Values& row : target_.query(kUnreadable)) {
      arguments.push_back("--exclude-table=" + qualified(row[0], row[1]));
      ++closed;
    }
    for (const Values& row : target_.query(kClosedSchemas)) {
      arguments.push_back("--exclude-schema=" + db::quote_identifier(*row[0]));
      ++closed;
    }
    if (closed > 0) notes_.push_back(fmt::format("left out: {} tables or schemas that this role may not read", closed));
    const cluster::Finished dumped = server_.run("pg_dump", arguments, cluster::current_os_user(), target_.password());
    if (dumped.exit_status != 0) throw refused("the schema could not be read: pg_dump: " + dumped.output);
  }

  static bool is_left_out(const std::string& line) {
    // "215; 1259 16385 TABLE public runs owner"
    size_t begin = 0;
    for (int word = 0; word < 3 && begin != std::string::npos; ++word)
      begin = line.find(' ', begin == 0 ? 0 : begin + 1);
    if (begin == std::string::npos) return false;
    const std::string_view kind = std::string_view(line).substr(begin + 1);
    return std::ranges::any_of(kLeftOut, [&](std::string_view one) {
      return kind.starts_with(one) && kind.substr(one.size()).starts_with(' ');
    });
  }

  // What cannot be made (an extension that is not on this machine) is a note.
  void restore(const std::string& section) {
    const fs::path list = server_.folder() / "list";
    const auto run = [&](std::vector<std::string> arguments) {
      arguments.push_back(archive().string());
      return server_.run("pg_restore", arguments, cluster::current_os_user());
    };
    std::istringstream lines(run({"--list", "--section=" + section}).output);
    std::ofstream chosen(list, std::ios::trunc);
    for (std::string line; std::getline(lines, line);)
      if (!is_left_out(line)) chosen << line << "\n";
    chosen.close();
    const cluster::Finished restored = run({"--section=" + section, "--use-list=" + list.string(), "--no-owner",
                                            "--no-password", "--dbname=" + connection_string_});
    if (restored.exit_status == 0) return;
    notes_.push_back("some of the schema could not be made: " + on_one_line(restored.output.substr(0, 500)));
  }

  void copy(SampledTable& table, Session& clone) {
    std::string rows = "SELECT " + table.columns + " FROM ONLY " + table.name;
    if (table.is_sampled()) {
      const char* method = table.pages <= static_cast<double>(kPagesReadWhole) ? "BERNOULLI" : "SYSTEM";
      rows += fmt::format(" TABLESAMPLE {} ({:.6f}) REPEATABLE (1) LIMIT {:.0f}", method,
                          table.share * 100 * kShareOfBound, table.rows * table.share + 1);
    } else {
      rows += fmt::format(" LIMIT {}", options_.sample_rows);  // statistics may be old
    }
    target_.execute("SAVEPOINT one_table");
    try {
      table.copied = target_.copy_to("/* cairn tune */ COPY (" + rows + ") TO STDOUT", clone,
                                     "COPY " + table.name + " (" + table.columns + ") FROM STDIN");
    } catch (const db::DbError& error) {
      if (target_.broken() || clone.broken()) throw;
      target_.execute("ROLLBACK TO one_table");
      notes_.push_back("no rows of " + table.name + ": " + error.what());
    }
  }

  void settle(Session& clone);
  void describe();

  CloneOptions options_;
  Session target_;
  ScratchServer server_;
  std::vector<SampledTable> tables_ = {};
};

constexpr const char* kSequences =
    "/* cairn tune */ SELECT m.nspname, s.relname, n.nspname, c.relname, a.attname FROM pg_depend d "
    "JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace m ON m.oid = s.relnamespace "
    "JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid "
    "WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')";
constexpr const char* kFilledViews =
    "/* cairn tune */ SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid";
constexpr const char* kDistinct =
    "/* cairn tune */ SELECT s.attname, s.n_distinct FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename "
    "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname "
    "WHERE c.oid = $1::oid AND NOT s.inherited AND s.n_distinct <> 0";
constexpr const char* kSetSequence = "SELECT setval(to_regclass($1), max({})) FROM {}";

// Sequences go on where the rows end; views are filled; the planner is told what the origin's planner knows.
void SampleClone::settle(Session& clone) {
  for (const Values& row : clone.query(kSequences))
    clone.query(fmt::format(kSetSequence, db::quote_identifier(*row[4]), qualified(row[2], row[3])),
                {qualified(row[0], row[1])});
  std::string full_size;
  for (const SampledTable& table : tables_) {
    if (!table.is_sampled() || table.copied == 0) continue;
    for (const Values& row : target_.query(kDistinct, {std::to_string(table.oid)}))
      clone.execute("ALTER TABLE " + table.name + " ALTER COLUMN " + db::quote_identifier(*row[0]) +
                    " SET (n_distinct = " + *row[1] + ")");
    full_size += fmt::format("{}({}, {:.0f})", full_size.empty() ? "" : ", ", quote_literal(table.name), table.rows);
  }
  for (const Values& row : target_.query(kFilledViews)) {
    try {
      clone.execute("REFRESH MATERIALIZED VIEW " + qualified(row[0], row[1]));
    } catch (const db::DbError& error) {
      if (clone.broken()) throw;
      notes_.push_back("the materialized view " + qualified(row[0], row[1]) + " is empty: " + error.what());
    }
  }
  clone.execute("VACUUM (ANALYZE)");
  if (full_size.empty()) return;
  statistics_ =
      "/* cairn tune */ UPDATE pg_class c SET reltuples = v.rows, relpages = pg_relation_size(c.oid) / "
      "current_setting('block_size')::int8 FROM (VALUES " +
      full_size + ") v (name, rows) WHERE c.oid = to_regclass(v.name)";
  clone.execute(statistics_);
}

void SampleClone::describe() {
  double copied = 0, all = 0;
  std::string sampled;
  size_t count = 0;
  for (const SampledTable& table : tables_) {
    copied += static_cast<double>(table.copied);
    all += std::max(table.rows, static_cast<double>(table.copied));
    if (!table.is_sampled() || ++count > kNamedTables) continue;
    sampled += fmt::format("{}{} {:.2g} %", sampled.empty() ? "" : ", ", table.name,
                           100 * static_cast<double>(table.copied) / std::max(table.rows, 1.0));
  }
  description_ =
      fmt::format("a sample of {:.3g} % of the rows, on a server of its own", all > 0 ? 100 * copied / all : 100);
  if (count == 0) return;
  if (count > kNamedTables) sampled += fmt::format(" and {} more", count - kNamedTables);
  notes_.push_back(
      "only some of the rows are there (" + sampled +
      "): times, numbers of rows and sizes are of the sample, and joins of two sampled tables find few rows");
}

}  // namespace

std::unique_ptr<Clone> sample_clone(const CloneOptions& options) { return std::make_unique<SampleClone>(options); }

}  // namespace cairn::tuner
