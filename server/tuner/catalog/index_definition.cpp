#include "tuner/catalog/index_definition.h"

#include <cstdint>

#include "db/statement.h"

namespace cairn::tuner {
namespace {

constexpr size_t kNameBytesMax = 63;

std::string key_sql(const IndexKey& key) {
  std::string sql = key.is_expression ? "(" + key.text + ")" : db::quote_identifier(key.text);
  if (!key.operator_class.empty()) sql += " " + db::quote_identifier(key.operator_class);
  if (key.descending) sql += " DESC";
  if (key.nulls_first != key.descending) sql += key.nulls_first ? " NULLS FIRST" : " NULLS LAST";
  return sql;
}

template <class Items, class F>
std::string joined(const Items& items, F&& text) {
  std::string all;
  for (const auto& item : items) all += (all.empty() ? "" : ", ") + text(item);
  return all;
}

// Letters, digits and underscores of an expression; a column's name as it is.
std::string name_part(const IndexKey& key) {
  if (!key.is_expression) return key.text;
  std::string part;
  for (const char c : key.text) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (word)
      part += c;
    else if (!part.empty() && part.back() != '_')
      part += '_';
  }
  while (!part.empty() && part.back() == '_') part.pop_back();
  return part.empty() ? "expr" : part;
}

}  // namespace

std::string create_statement(const IndexDefinition& index, const std::optional<std::string>& name, bool concurrently) {
  std::string sql = index.unique ? "CREATE UNIQUE INDEX " : "CREATE INDEX ";
  if (concurrently) sql += "CONCURRENTLY ";
  if (name) sql += db::quote_identifier(*name) + " ";
  const std::string& schema = index.table.schema;  // not known of a plan without VERBOSE
  sql += "ON " + (schema.empty() ? "" : db::quote_identifier(schema) + ".") + db::quote_identifier(index.table.name);
  sql += " USING " + db::quote_identifier(index.method) + " (" + joined(index.keys, key_sql) + ")";
  if (!index.include.empty()) sql += " INCLUDE (" + joined(index.include, db::quote_identifier) + ")";
  if (!index.options.empty()) sql += " WITH (" + index.options + ")";
  if (!index.predicate.empty()) sql += " WHERE " + index.predicate;
  return sql;
}

std::string index_name(const IndexDefinition& index) {
  std::string name = "idx_" + index.table.name;
  for (const IndexKey& key : index.keys) name += "_" + name_part(key);
  if (index.method != "btree") name += "_" + index.method;
  if (!index.predicate.empty()) name += "_partial";
  if (name.size() <= kNameBytesMax) return name;
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : create_statement(index, std::nullopt, false)) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string suffix = "_";
  for (int shift = 28; shift >= 0; shift -= 4) suffix += kDigits[hash >> shift & 15];
  size_t end = kNameBytesMax - suffix.size();
  while ((static_cast<uint8_t>(name[end]) & 0xc0) == 0x80) --end;
  return name.substr(0, end) + suffix;
}

}  // namespace cairn::tuner
