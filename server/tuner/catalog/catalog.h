// What is known of a database without looking into its tables: tables, columns with their statistics, indexes, foreign
// keys. Read in one snapshot by a role that may only read; what that role was not shown is said in `missing`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "tuner/catalog/index_definition.h"

namespace cairn::db {
class Pool;
}

namespace cairn::tuner {

struct CommonValue {
  std::string text = {};  // as the type prints it
  double frequency = 0;   // of all rows
};

struct Column {
  std::string name = {};
  std::string type = {};  // pg_type's name of the type, of a domain's base type: "timestamptz", "int4", "_text"
  char category = 'U';    // pg_type.typcategory: A array, B boolean, E enum, N number, R range, S text, …
  bool ordered = true;    // a B-tree may hold it
  int modifier = -1;      // pg_attribute.atttypmod: of a vector, its dimensions
  bool not_null = false;
  bool c_collation = false;  // text is compared byte by byte
  // From pg_stats; unset where there are none, or none that the role is shown.
  bool has_statistics = false;
  double distinct = 0;  // values other than NULL, estimated
  double null_fraction = 0;
  double correlation = 0;
  int width = 0;        // bytes, on average
  double elements = 0;  // of an array: different ones a row, on average; 0: not known
  std::vector<CommonValue> common = {};
};

struct Index {
  int64_t oid = 0;
  std::string name = {};  // in its table's schema
  IndexDefinition definition = {};
  std::string statement = {};  // as pg_get_indexdef gives it
  // Whether the definition says all of it: false with a collation of its own or operator classes with parameters.
  bool complete = true;
  bool primary = false;
  bool constraint = false;  // a constraint, also another table's foreign key, rests on it
  bool valid = true;
  bool immediate =
      true;  // unique at any time; false: a deferrable constraint, which may be broken inside a transaction
  bool replica_identity = false;
  bool nulls_not_distinct = false;
  int64_t parent = 0;  // the partitioned table's index that it is a part of
  int64_t bytes = 0;   // a partitioned table's index: with all its parts, as for scans
  int64_t scans = 0;
  std::optional<int64_t> last_scan_ms = {};  // since 1970; only PostgreSQL 16 and newer know
};

struct Table {
  int64_t oid = 0;
  TableName name = {};
  char kind = 'r';  // pg_class.relkind: r table, p partitioned, m materialised view, v view, f foreign
  bool readable = true;
  bool has_children = false;  // others inherit from it, and were perhaps given what its constraints would not allow
  double rows = 0;            // of a partitioned table: of all partitions, as for pages
  int64_t pages = 0;
  std::vector<Column> columns = {};
  std::vector<Index> indexes = {};

  bool indexable() const { return kind == 'r' || kind == 'p' || kind == 'm'; }
  const Column* column(std::string_view name) const;
  // How many of the rows, between 0 and 1, one value of the column has: of that value where the statistics know it,
  // else of an average one. 1 where nothing is known.
  double fraction(const Column& column, const std::optional<std::string>& value = {}) const;
};

struct ForeignKey {
  std::string name = {};
  int64_t table = 0;
  std::vector<std::string> columns = {};
  int64_t referenced = 0;
};

// All functions of one name together, or all operators.
struct Function {
  bool is_volatile = false;  // one of them
  bool aggregate = false;    // or a window function
  bool returns_set = false;
};

struct Catalog {
  int version = 0;  // server_version_num
  int64_t read_at_ms = 0;
  std::vector<std::string> search_path = {};
  std::vector<Table> tables = {};  // without PostgreSQL's own and temporary ones
  std::vector<ForeignKey> foreign_keys = {};
  std::map<std::string, Function, std::less<>> functions = {};  // PostgreSQL's own too
  bool has_trigrams = false;                                    // pg_trgm is there and in the search path
  bool has_neighbour_codes = false;                             // the extension vector is Cairn's: its hnsw is larger
  std::optional<int64_t> statistics_since = {};  // ms since 1970; unset: never reset, so as old as the server
  int64_t replicas = 0;                          // standbys that are connected or have a slot
  bool is_replica = false;
  std::vector<std::string> missing = {};  // sentences: what is not known, and how to allow it

  const Table* table(int64_t oid) const;
  // As PostgreSQL finds it: without a schema along the search path.
  const Table* find(std::string_view schema, std::string_view name) const;
};

task<Catalog> read_catalog(db::Pool& pool);

}  // namespace cairn::tuner
