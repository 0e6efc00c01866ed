#include "tuner/sql/parse_tree.h"

#include <fmt/format.h>
#include <pg_query.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <set>
#include <unordered_map>

namespace cairn::tuner {
namespace {

// A level of SQL takes several of JSON. PostgreSQL's own limit, max_stack_depth, lets more through; such statements are
// nobody's work of a hand, and reading them would need as deep a recursion of whoever walks over the tree.
constexpr size_t kDepthMax = 1024;

std::optional<std::string> fingerprint_of_all(const std::string& sql) {
  const PgQueryFingerprintResult result = pg_query_fingerprint(sql.c_str());
  const std::unique_ptr<const PgQueryFingerprintResult, void (*)(const PgQueryFingerprintResult*)> owner(
      &result, [](const PgQueryFingerprintResult* owned) { pg_query_free_fingerprint_result(*owned); });
  if (result.error != nullptr || result.fingerprint_str == nullptr) return std::nullopt;
  return result.fingerprint_str;
}

// Tables whose names libpg_query's fingerprint does not tell apart: of two digits and more in a row it sees none, for
// it takes them for a partition's number.
std::set<std::string_view> numbered_tables(std::string_view json) {
  constexpr std::string_view kName = "\"relname\":\"";  // in no string: quotes are escaped there
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::set<std::string_view> names;
  for (size_t at = json.find(kName); at != json.npos; at = json.find(kName, at + 1)) {
    const size_t begin = at + kName.size();
    size_t end = begin;
    while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
    const std::string_view name = json.substr(begin, end - begin);
    const auto two = [&](char one, char next) { return is_digit(one) && is_digit(next); };
    if (std::adjacent_find(name.begin(), name.end(), two) != name.end()) names.insert(name);
  }
  return names;
}

// FNV-1a (Fowler, Noll, Vo), 64 bits.
void add_to_hash(uint64_t& hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
}

std::string with_numbered_tables(const std::string& fingerprint, const std::string& sql) {
  const PgQueryParseResult parsed = pg_query_parse(sql.c_str());
  const std::unique_ptr<const PgQueryParseResult, void (*)(const PgQueryParseResult*)> owner(
      &parsed, [](const PgQueryParseResult* owned) { pg_query_free_parse_result(*owned); });
  if (parsed.error != nullptr || parsed.parse_tree == nullptr) return fingerprint;
  const std::set<std::string_view> names = numbered_tables(parsed.parse_tree);
  if (names.empty()) return fingerprint;
  uint64_t hash = 0xcbf29ce484222325;
  add_to_hash(hash, fingerprint);
  for (const std::string_view name : names) {
    add_to_hash(hash, "\"");  // ends a name: it is escaped in one
    add_to_hash(hash, name);
  }
  return fmt::format("{:016x}", hash);
}

// libpg_query writes a negative integer as it writes 0: without its value. The constant's place tells them apart.
std::string with_negative_integers(std::string_view json, std::string_view sql) {
  constexpr std::string_view kAbsent =
      "\"A_Const\":{\"ival\":{},\"location\":";  // in no string: quotes are escaped there
  std::string out;
  size_t from = 0;
  for (size_t at = json.find(kAbsent); at != json.npos; at = json.find(kAbsent, at + 1)) {
    size_t location = 0;
    const char* const number = json.data() + at + kAbsent.size();
    std::from_chars(number, json.data() + json.size(), location);
    if (location >= sql.size() || sql[location] != '-') continue;
    const size_t digits = sql.find_first_of("0123456789", location);
    const size_t end = std::min(sql.find_first_not_of("0123456789", digits), sql.size());
    if (digits == sql.npos || sql.substr(location + 1, digits - location - 1).find_first_not_of(" \t\r\n") != sql.npos)
      continue;
    int64_t value = 0;
    std::from_chars(sql.data() + digits, sql.data() + end, value);
    out.append(json, from, at - from)
        .append(fmt::format("\"A_Const\":{{\"ival\":{{\"ival\":-{}}},\"location\":", value));
    from = at + kAbsent.size();
  }
  return out.append(json, from);
}

std::optional<std::string> parsed_fingerprint(const std::string& sql) {
  static const std::optional<std::string> of_no_statement = fingerprint_of_all("");
  const std::optional<std::string> found = fingerprint_of_all(sql);
  if (!found || found == of_no_statement) return std::nullopt;
  return with_numbered_tables(*found, sql);
}

// A server looks at the same statements again and again, and to parse them is most of the work. All is forgotten when
// it becomes too much.
class Fingerprints {
 public:
  std::optional<std::string> of(const std::string& sql) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = known_.find(sql); found != known_.end()) return found->second;
    }
    std::optional<std::string> found = parsed_fingerprint(sql);
    const std::lock_guard lock(mutex_);
    if (bytes_ + sql.size() > kMostBytes) {
      known_.clear();
      bytes_ = 0;
    }
    if (known_.emplace(sql, found).second) bytes_ += sql.size();
    return found;
  }

 private:
  static constexpr size_t kMostBytes = 16 << 20;
  std::mutex mutex_;
  std::unordered_map<std::string, std::optional<std::string>> known_;
  size_t bytes_ = 0;
};

}  // namespace

std::optional<std::string> fingerprint(const std::string& sql) {
  static Fingerprints fingerprints;
  return fingerprints.of(sql);
}

std::optional<std::string> deparsed(const std::string& sql) {
  const PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(sql.c_str());
  std::optional<std::string> text;
  if (parsed.error == nullptr) {
    const PgQueryDeparseResult written = pg_query_deparse_protobuf(parsed.parse_tree);
    if (written.error == nullptr) text = written.query;
    pg_query_free_deparse_result(written);
  }
  pg_query_free_protobuf_parse_result(parsed);
  return text;
}

std::optional<ParseTree> ParseTree::parse(const std::string& sql) {
  const PgQueryParseResult result = pg_query_parse(sql.c_str());
  const std::unique_ptr<const PgQueryParseResult, void (*)(const PgQueryParseResult*)> owner(
      &result, [](const PgQueryParseResult* owned) { pg_query_free_parse_result(*owned); });
  if (result.error != nullptr || result.parse_tree == nullptr) return std::nullopt;

  const std::string json = with_negative_integers(result.parse_tree, sql);
  ParseTree tree;
  tree.parser_ = std::make_unique<simdjson::dom::parser>();
  if (tree.parser_->allocate(json.size() + 1, kDepthMax) != simdjson::SUCCESS) return std::nullopt;
  simdjson::dom::element root;
  if (tree.parser_->parse(json.data(), json.size()).get(root) != simdjson::SUCCESS) return std::nullopt;
  if (root["stmts"].get(tree.statements_) != simdjson::SUCCESS) return std::nullopt;
  if (tree.statements_.size() == 0) return std::nullopt;
  return tree;
}

}  // namespace cairn::tuner
