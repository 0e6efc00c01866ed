// `cairn partitions archive` and `restore`. One transaction a partition: files are whole and on the disk before it is
// committed that the rows are gone; and rows are back before it is committed that they are.
#include "partitions/archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "db/copy.h"
#include "partitions/api.h"

namespace cairn::partitions {
namespace {

namespace fs = std::filesystem;
using db::CopySession;
using db::Params;
using db::Rows;
using db::Statement;
using Texts = CopySession::Texts;

struct Detached {
  std::string schema = {};
  std::string table = {};
  std::string name = {};
  std::string bounds = {};
  std::string full_name() const { return qualified(schema, name); }
  std::string shown_name() const { return schema + "." + name; }
};

// What is written to one file, or restored from it.
struct Part {
  std::string schema = {};
  std::string table = {};
  std::vector<std::string> columns = {};
  std::string where = {};  // empty: all rows
  std::string full_name() const { return qualified(schema, table); }
};

struct Reference {  // a foreign key
  std::string name = {};
  std::string schema = {};
  std::string table = {};
  std::string target = {};  // qualified
  std::string action = {};  // confdeltype
  std::vector<std::string> columns = {};
  std::vector<std::string> references = {};
  std::string full_name() const { return qualified(schema, table); }
};

struct Archived {
  std::string partition = {};
  std::string directory = {};
  int64_t rows = 0;
  int64_t others = 0;  // rows of other tables
};

constexpr const char* kColumnsOf =
    "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = $1::text::regclass"
    " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";

task<std::vector<std::string>> columns_of(CopySession& copy, std::string table) {
  Texts texts{table};
  const Rows rows = co_await copy.query(kColumnsOf, std::move(texts));
  co_return rows.texts(0, 0);
}

constexpr const char* kReferencesTo = R"(
SELECT k.conname::text, n.nspname::text, c.relname::text, k.confdeltype::text,
       (SELECT array_agg(a.attname::text ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY u (n, o)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n),
       (SELECT array_agg(a.attname::text ORDER BY o) FROM unnest(k.confkey) WITH ORDINALITY u (n, o)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = $1::text::regclass ORDER BY 2, 3, 1)";

task<std::vector<Reference>> references_to(CopySession& copy, std::string table) {
  Texts texts{table};
  const Rows rows = co_await copy.query(kReferencesTo, std::move(texts));
  std::vector<Reference> all;
  for (int i = 0; i < rows.size(); ++i)
    all.push_back({rows.text(i, 0), rows.text(i, 1), rows.text(i, 2), table, rows.text(i, 3), rows.texts(i, 4),
                   rows.texts(i, 5)});
  co_return all;
}

// The rows of a table that refer to what goes.
std::string refers(const Reference& reference, const std::string& source, const std::string& where) {
  return fmt::format("({}) IN (SELECT {} FROM {}{})", column_list(reference.columns), column_list(reference.references),
                     source, where.empty() ? "" : " WHERE " + where);
}

// All tables of which rows are deleted with the partition's, each after those that it refers to.
class Closure {
 public:
  Closure(CopySession& copy, Detached partition, std::vector<ManagedKey> keys)
      : copy_(copy), partition_(std::move(partition)), keys_(std::move(keys)) {}

  task<std::vector<Part>> parts();

 private:
  task<> find_references();
  task<> refuse_if_used(const Reference& reference, std::string where);
  // The rows that a reference's target loses; the partition stands for its key tables.
  std::string source(const Reference& reference) const {
    return is_key(reference.target) ? partition_.full_name() : reference.target;
  }
  bool is_key(const std::string& table) const {
    return std::any_of(keys_.begin(), keys_.end(), [&](const ManagedKey& key) { return key.table == table; });
  }

  CopySession& copy_;
  Detached partition_;
  std::vector<ManagedKey> keys_;
  std::vector<Reference> cascades_, others_;
};

task<> Closure::find_references() {
  std::vector<std::string> open;
  std::set<std::string> seen;
  for (const ManagedKey& key : keys_) open.push_back(key.table);
  while (!open.empty()) {
    const std::string table = open.back();
    open.pop_back();
    if (!seen.insert(table).second) continue;
    const std::vector<Reference> found = co_await references_to(copy_, table);
    for (const Reference& reference : found) {
      (reference.action == "c" ? cascades_ : others_).push_back(reference);
      if (reference.action == "c") open.push_back(reference.full_name());
    }
  }
}

task<> Closure::refuse_if_used(const Reference& reference, std::string where) {
  const Rows rows =
      co_await copy_.query("SELECT EXISTS (SELECT FROM " + reference.full_name() + " WHERE " + where + ")");
  if (rows.boolean(0, 0))
    throw Error(
        ErrorCode::kInvalidState,
        fmt::format("{} is not archived: rows of {}.{} refer to it (foreign key {}) and would not be deleted with "
                    "it: delete or move them first",
                    partition_.shown_name(), reference.schema, reference.table, reference.name));
}

task<std::vector<Part>> Closure::parts() {
  co_await find_references();
  std::vector<Part> parts;
  Part first{partition_.schema, partition_.name, {}, ""};
  first.columns = co_await columns_of(copy_, first.full_name());
  parts.push_back(first);
  std::map<std::string, std::string> conditions;  // of tables that are done
  std::vector<Reference> left = cascades_;
  while (!left.empty()) {
    // A table to which nothing refers that is not done itself.
    const auto ready = std::find_if(left.begin(), left.end(), [&](const Reference& candidate) {
      return std::all_of(left.begin(), left.end(), [&](const Reference& other) {
        return other.full_name() != candidate.full_name() || is_key(other.target) || conditions.contains(other.target);
      });
    });
    if (ready == left.end())
      throw Error(ErrorCode::kInvalidState, partition_.shown_name() +
                                                " is not archived: the foreign keys that cascade "
                                                "from it go round in a circle, at " +
                                                left.front().schema + "." + left.front().table);
    Part part{ready->schema, ready->table, {}, ""};
    const std::string name = part.full_name();
    for (const Reference& reference : left) {
      if (reference.full_name() != name) continue;
      const std::string target = is_key(reference.target) ? "" : conditions[reference.target];
      part.where += (part.where.empty() ? "" : " OR ") + refers(reference, source(reference), target);
    }
    std::erase_if(left, [&](const Reference& reference) { return reference.full_name() == name; });
    conditions[name] = part.where;
    part.columns = co_await columns_of(copy_, name);
    parts.push_back(part);
  }
  for (const Reference& reference : others_) {
    const std::string target = is_key(reference.target) ? "" : conditions[reference.target];
    co_await refuse_if_used(reference, refers(reference, source(reference), target));
  }
  co_return parts;
}

// ---- archive ----

task<ArchivedFile> write_file(CopySession& copy, const Part& part, std::string directory, size_t number) {
  ArchivedFile file{number == 0 ? "rows.copy.gz" : fmt::format("{}-{}.{}.copy.gz", number, part.schema, part.table),
                    part.schema,
                    part.table,
                    part.columns,
                    0,
                    ""};
  std::replace(file.name.begin(), file.name.end(), '/', '_');
  const std::string path = directory + "/" + file.name;
  RowsFile out(path);
  const std::string where = part.where.empty() ? "" : " WHERE " + part.where;
  co_await copy.begin_reading(
      fmt::format("COPY (SELECT {} FROM {}{}) TO STDOUT", column_list(part.columns), part.full_name(), where));
  for (;;) {
    const std::optional<std::string> bytes = co_await copy.read();
    if (!bytes) break;
    out.write(*bytes);
  }
  out.finish();
  file.rows = copy.rows_read();
  const FileSums sums = read_sums(path);
  file.sha256 = sums.sha256;
  if (sums.rows != file.rows)
    throw Error(ErrorCode::kInternalError, fmt::format("{} holds {} rows where {} were written: nothing was dropped; "
                                                       "look at the disk",
                                                       path, sums.rows, file.rows));
  co_return file;
}

task<std::unique_ptr<CopySession>> open_copy(std::string connection_string) {
  auto copy = co_await CopySession::connect(std::move(connection_string));
  for (const char* setting : {"search_path = pg_catalog", "statement_timeout = 0", "extra_float_digits = 3",
                              "DateStyle = 'ISO'", "IntervalStyle = 'postgres'", "synchronous_commit = on"})
    co_await copy->query(std::string("SET ") + setting);
  co_return copy;
}

constexpr const char* kMarkArchived =
    "UPDATE cairn_partitions.detached SET archived_at = clock_timestamp(), archive = $3::text, rows = $4::text::bigint,"
    " sha256 = $5::text WHERE table_schema = $1::text AND partition = $2::text";

task<> drop_rows(CopySession& copy, const Detached& partition, const Managed& table,
                 const std::vector<ManagedKey>& keys) {
  for (const ManagedKey& key : keys) {
    std::vector<std::string> columns = key.columns;
    columns.push_back(table.scheme.column);
    co_await copy.query(fmt::format("DELETE FROM {} k USING {} d WHERE ({}) = ({})", key.table, partition.full_name(),
                                    column_list(columns, "k."), column_list(columns, "d.")));
  }
  co_await copy.query("DROP TABLE " + partition.full_name());
}

std::string now_text() {
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  return std::to_string(now);
}

task<Archived> archive_one(Session& session, const Managed& table, const Detached& partition, std::string root) {
  const std::vector<ManagedKey> keys = co_await keys_of(session, table);
  const fs::path directory = fs::absolute(fs::path(root) / (partition.schema + "." + partition.name));
  fs::create_directories(directory);
  const std::unique_ptr<CopySession> copy = co_await open_copy(session.connection_string());
  // The lock comes before the snapshot: nothing is written to the partition that the files would not have. What is
  // written to other tables that refer to it makes the deletion fail, and all is as it was.
  co_await copy->query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  co_await copy->query("SET LOCAL lock_timeout = '10s'");
  co_await copy->query("LOCK TABLE " + partition.full_name() + " IN SHARE ROW EXCLUSIVE MODE");
  Closure closure(*copy, partition, keys);
  const std::vector<Part> parts = co_await closure.parts();
  Manifest manifest{partition.schema, partition.table, partition.name, partition.bounds, now_text(), {}};
  Archived archived{partition.name, directory.string(), 0, 0};
  for (size_t i = 0; i < parts.size(); ++i) {
    ArchivedFile file = co_await write_file(*copy, parts[i], directory.string(), i);
    (i == 0 ? archived.rows : archived.others) += file.rows;
    manifest.files.push_back(std::move(file));
  }
  write_file_durably(directory / "manifest.json", to_json(manifest));
  sync_directory(directory);
  sync_directory(directory.parent_path());
  co_await drop_rows(*copy, partition, table, keys);
  Texts texts{partition.schema, partition.name, directory.string(), std::to_string(archived.rows),
              manifest.files.front().sha256};
  co_await copy->query(kMarkArchived, std::move(texts));
  co_await copy->query("COMMIT");
  co_return archived;
}

constexpr Statement kToArchive{"partitions_to_archive", R"(
SELECT table_schema, table_name, partition, bounds FROM cairn_partitions.detached
WHERE table_schema = $1 AND table_name = $2 AND archived_at IS NULL AND restored_at IS NULL ORDER BY lower_bound)"};

task<Managed> open_managed(Session& session, std::string table) {
  co_await session.open();
  std::optional<Managed> managed;
  const bool there = co_await journal_exists(session);
  if (there) managed = co_await managed_table(session, table);
  if (!managed) throw not_found(table + " was not partitioned by cairn partitions: see cairn partitions status");
  co_await session.lock();
  co_return *managed;
}

task<std::vector<Archived>> archive(const ArchiveOptions& options, std::ostream& progress) {
  const SessionOptions session_options{options.connection_string, "cairn partitions archive", options.wait_s};
  Session session(session_options, progress);
  const Managed table = co_await open_managed(session, options.table);
  Params params = Params::of(table.schema, table.table);
  const Rows rows = co_await session.query(kToArchive, std::move(params));
  std::vector<Archived> all;
  for (int i = 0; i < rows.size(); ++i) {
    const Detached partition{rows.text(i, 0), rows.text(i, 1), rows.text(i, 2), rows.text(i, 3)};
    if (options.dry_run) {
      const Rows count = co_await session.run("SELECT count(*) FROM " + partition.full_name());
      all.push_back({partition.name, "", count.integer(0, 0), 0});
      continue;
    }
    const Archived one = co_await archive_one(session, table, partition, options.directory);
    session.say(fmt::format("archived {} in {}", partition.shown_name(), one.directory));
    all.push_back(one);
  }
  co_return all;
}

// ---- restore ----

task<> read_file(CopySession& copy, const std::string& directory, const ArchivedFile& file, std::string table) {
  co_await copy.begin_writing(fmt::format("COPY {} ({}) FROM STDIN", table, column_list(file.columns)));
  RowsReader in(directory + "/" + file.name);
  for (std::string bytes = in.read(); !bytes.empty(); bytes = in.read()) co_await copy.write(bytes);
  const int64_t rows = co_await copy.end_writing();
  if (rows != file.rows)
    throw Error(ErrorCode::kInternalError,
                fmt::format("{} of {} rows of {} were taken: nothing was restored", rows, file.rows, file.name));
}

void check_sums(const Manifest& manifest, const std::string& directory) {
  for (const ArchivedFile& file : manifest.files) {
    const FileSums sums = read_sums(directory + "/" + file.name);
    if (sums.sha256 != file.sha256)
      throw Error(ErrorCode::kInvalidState, directory + "/" + file.name + " is not what was archived (SHA-256 " +
                                                sums.sha256 + ", not " + file.sha256 + "): nothing was restored");
  }
}

constexpr const char* kOwnerOf = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = $1::text::regclass";
constexpr const char* kMarkRestored = R"(
INSERT INTO cairn_partitions.detached (table_schema, table_name, partition, bounds, lower_bound, upper_bound, restored_at)
VALUES ($1::text, $2::text, $3::text, $4::text, '', '', clock_timestamp())
ON CONFLICT (table_schema, partition) DO UPDATE SET restored_at = clock_timestamp())";

task<> restore_rows(CopySession& copy, const Managed& table, const std::vector<ManagedKey>& keys,
                    const Manifest& manifest, const std::string& directory) {
  const std::string name = qualified(table.schema, manifest.partition);
  Texts parent{table.full_name()};
  const Rows owner = co_await copy.query(kOwnerOf, std::move(parent));
  co_await copy.query(fmt::format("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS){}",
                                  name, table.full_name(), table.storage));
  co_await copy.query("ALTER TABLE " + name + " OWNER TO " + db::quote_identifier(owner.text(0, 0)));
  co_await read_file(copy, directory, manifest.files.front(), name);
  for (const ManagedKey& key : keys) {
    std::vector<std::string> columns = key.columns;
    std::string never_null;
    for (const std::string& column : columns) never_null += " AND " + db::quote_identifier(column) + " IS NOT NULL";
    columns.push_back(table.scheme.column);
    co_await copy.query(fmt::format("INSERT INTO {0} ({1}) SELECT {1} FROM {2} WHERE true{3}", key.table,
                                    column_list(columns), name, never_null));
  }
  for (size_t i = 1; i < manifest.files.size(); ++i)
    co_await read_file(copy, directory, manifest.files[i],
                       qualified(manifest.files[i].schema, manifest.files[i].table));
  co_await copy.query("ANALYZE " + name);
  co_await copy.query("SET LOCAL lock_timeout = '1s'");
  co_await copy.query("ALTER TABLE " + table.full_name() + " ATTACH PARTITION " + name + " FOR VALUES " +
                      manifest.bounds);
}

task<Manifest> restore(const ArchiveOptions& options, std::ostream& progress) {
  std::string directory = options.directory;
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  Manifest manifest = read_manifest(directory);
  check_sums(manifest, directory);
  const SessionOptions session_options{options.connection_string, "cairn partitions restore", options.wait_s};
  Session session(session_options, progress);
  const Managed table = co_await open_managed(session, manifest.schema + "." + manifest.table);
  const std::vector<ManagedKey> keys = co_await keys_of(session, table);
  const std::unique_ptr<CopySession> copy = co_await open_copy(options.connection_string);
  co_await copy->query("BEGIN");
  co_await restore_rows(*copy, table, keys, manifest, directory);
  Texts texts{table.schema, table.table, manifest.partition, manifest.bounds};
  co_await copy->query(kMarkRestored, std::move(texts));
  co_await copy->query("COMMIT");
  co_return manifest;
}

}  // namespace

int run_archive(const ArchiveOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const std::vector<Archived> all = reactor.block_on(archive(options, progress));
  if (options.json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("dry_run", options.dry_run);
    writer.key("archived");
    writer.begin_array();
    for (const Archived& one : all) {
      writer.begin_object();
      writer.field("partition", one.partition);
      if (!one.directory.empty()) writer.field("directory", one.directory);
      writer.field("rows", one.rows);
      writer.field("rows_of_others", one.others);
      writer.end_object();
    }
    writer.end_array();
    writer.end_object();
    out << text << "\n";
    return 0;
  }
  for (const Archived& one : all)
    out << fmt::format("{}: {} rows{}{}\n", one.partition, one.rows,
                       one.others > 0 ? fmt::format(", and {} that refer to them", one.others) : "",
                       options.dry_run ? " would be archived" : " archived in " + one.directory);
  if (all.empty()) out << "nothing to archive: cairn partitions maintain detaches what is older than is kept\n";
  return 0;
}

int run_restore(const ArchiveOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Manifest manifest = reactor.block_on(restore(options, progress));
  int64_t rows = 0;
  for (const ArchivedFile& file : manifest.files) rows += file.rows;
  const std::string name = manifest.schema + "." + manifest.partition;
  if (options.json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("partition", name);
    writer.field("rows", rows);
    writer.end_object();
    out << text << "\n";
  } else {
    out << fmt::format("{}: restored, with {} rows; cairn partitions maintain leaves it attached\n", name, rows);
  }
  return 0;
}

}  // namespace cairn::partitions
