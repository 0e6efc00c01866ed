#include "tuner/catalog/writes.h"

#include <algorithm>
#include <functional>

#include "db/pool.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

using simdjson::dom::element;

// Milliseconds to put one row's entry into an index, its log and its share of later writing and vacuuming included.
// Taken from inserts into tables with several indexes that fit in memory.
constexpr double kEntryMs = 0.005;
constexpr double kGinEntryMs = 0.03;
constexpr double kBrinEntryMs = 0.0005;
// A deleted row's entry is found and removed later, page by page.
constexpr double kDeletedEntryMs = 0.001;

double entry_ms(const IndexDefinition& index) {
  if (index.method == "brin") return kBrinEntryMs;
  return index.method == "btree" || index.method == "hash" ? kEntryMs : kGinEntryMs;
}

std::string text_of(element node, const char* name) {
  std::string_view text;
  return node[name].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

std::set<std::string> set_columns(element node) {
  std::set<std::string> columns;
  simdjson::dom::array targets;
  if (node["targetList"].get(targets) != simdjson::SUCCESS) return columns;
  for (const element target : targets) {
    element result;
    if (target["ResTarget"].get(result) == simdjson::SUCCESS) columns.insert(text_of(result, "name"));
  }
  return columns;
}

// Calls visit(kind, node) for every statement that writes, however deep.
void for_each_write(element node, const std::function<void(std::string_view, element)>& visit) {
  if (node.is_array()) {
    for (const element item : simdjson::dom::array(node)) for_each_write(item, visit);
    return;
  }
  if (!node.is_object()) return;
  for (const auto field : simdjson::dom::object(node)) {
    if (field.key == "InsertStmt" || field.key == "UpdateStmt" || field.key == "DeleteStmt" ||
        field.key == "MergeStmt" || field.key == "CopyStmt")
      visit(field.key, field.value);
    for_each_write(field.value, visit);
  }
}

void count(std::string_view kind, element node, double rows, TableWrites& writes) {
  bool from_client = false;
  if (kind == "CopyStmt" && (node["is_from"].get(from_client) != simdjson::SUCCESS || !from_client)) return;
  if (kind == "DeleteStmt") {
    writes.deleted += rows;
  } else if (kind == "UpdateStmt") {
    writes.updates.push_back({set_columns(node), rows});
  } else {
    // What an upsert, or a MERGE, does with each row is not counted: an entry more is the dearer one.
    writes.inserted += rows;
  }
}

// Whether an update that sets these columns changes what the index holds.
bool depends_on(const IndexDefinition& index, const std::set<std::string>& columns) {
  const auto touches = [&](const std::string& column) {
    const auto named = [&](const IndexKey& key) {
      return key.is_expression ? key.text.find(column) != std::string::npos : key.text == column;
    };
    return std::any_of(index.keys.begin(), index.keys.end(), named) ||
           std::find(index.include.begin(), index.include.end(), column) != index.include.end() ||
           index.predicate.find(column) != std::string::npos;
  };
  return std::any_of(columns.begin(), columns.end(), touches);
}

}  // namespace

Writes writes_of(const Catalog& catalog, std::span<const StatementRuns> workload,
                 const std::map<TableName, double>& hot_shares) {
  Writes writes;
  for (const StatementRuns& runs : workload) {
    const auto tree = ParseTree::parse(runs.text);
    if (!tree) continue;
    for (const element statement : tree->statements()) {
      for_each_write(statement, [&](std::string_view kind, element node) {
        element relation;
        if (node["relation"].get(relation) != simdjson::SUCCESS) return;
        const Table* table = catalog.find(text_of(relation, "schemaname"), text_of(relation, "relname"));
        if (table == nullptr) return;
        TableWrites& of_table = writes[table->name];
        of_table.indexes = table->indexes.size();
        const auto share = hot_shares.find(table->name);
        of_table.hot_share = share == hot_shares.end() ? 0 : share->second;
        count(kind, node, runs.rows, of_table);
      });
    }
  }
  return writes;
}

constexpr db::Statement kHotShares{"tune_hot_shares",
                                   "/* cairn tune */ SELECT schemaname, relname, "
                                   "n_tup_hot_upd::float8 / n_tup_upd FROM pg_stat_user_tables WHERE n_tup_upd > 0"};

task<std::map<TableName, double>> read_hot_shares(db::Pool& pool) {
  const db::Rows rows = co_await pool.query(kHotShares);
  std::map<TableName, double> shares;
  for (int i = 0; i < rows.size(); ++i) shares[{rows.text(i, 0), rows.text(i, 1)}] = rows.number(i, 2);
  co_return shares;
}

double write_ms(const IndexDefinition& index, const Writes& writes) {
  const auto found = writes.find(index.table);
  if (found == writes.end()) return 0;
  const TableWrites& table = found->second;
  double ms = table.inserted * entry_ms(index) + table.deleted * std::min(entry_ms(index), kDeletedEntryMs);
  for (const TableWrites::Update& update : table.updates) {
    const double hot = update.rows * table.hot_share;
    ms += (update.rows - hot) * entry_ms(index);
    if (depends_on(index, update.columns))
      ms += hot * (entry_ms(index) + static_cast<double>(table.indexes) * kEntryMs);
  }
  return ms;
}

}  // namespace cairn::tuner
