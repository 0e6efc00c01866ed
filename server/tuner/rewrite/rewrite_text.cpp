#include "tuner/rewrite/rewrite_text.h"

#include <pg_query.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "db/statement.h"

namespace cairn::tuner {
namespace {

constexpr size_t kBracketsMax = 8;  // around an expression
constexpr size_t kTriesMax = 60;    // tokens after the last one that the tree locates
constexpr size_t npos = std::string::npos;

// The fields that this needs of libpg_query's ScanResult: {tokens = 2 {start = 1, end = 2}}, in protobuf's encoding.
class ScanReader {
 public:
  explicit ScanReader(std::string_view bytes) : rest_(bytes) {}

  template <class Visit>
  bool fields(const Visit& visit) {
    while (!rest_.empty()) {
      const auto key = number();
      if (!key) return false;
      const auto value = number();
      if (!value || (*key & 7) == 1 || (*key & 7) == 5) return false;
      std::string_view content;
      if ((*key & 7) == 2) {
        if (*value > rest_.size()) return false;
        content = rest_.substr(0, *value);
        rest_.remove_prefix(*value);
      }
      visit(*key >> 3, *value, content);
    }
    return true;
  }

 private:
  std::optional<uint64_t> number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

std::optional<std::vector<Span>> scan(const std::string& sql) {
  const PgQueryScanResult result = pg_query_scan(sql.c_str());
  std::vector<Span> tokens;
  bool read = result.error == nullptr;
  if (read) {
    ScanReader reader(std::string_view(result.pbuf.data, result.pbuf.len));
    read = reader.fields([&](uint64_t field, uint64_t, std::string_view content) {
      if (field != 2) return;
      Span token;
      ScanReader(content).fields([&](uint64_t part, uint64_t value, std::string_view) {
        if (part == 1) token.begin = value;
        if (part == 2) token.end = value;
      });
      const std::string_view text =
          std::string_view(sql).substr(std::min(token.begin, sql.size()), token.end - token.begin);
      if (!text.empty() && !text.starts_with("--") && !text.starts_with("/*")) tokens.push_back(token);
    });
  }
  pg_query_free_scan_result(result);
  if (!read) return std::nullopt;
  return tokens;
}

void add_shape(const Node& node, std::string& out) {
  if (node.is_array()) {
    out += '[';
    for (const Node item : items(node)) add_shape(item, out), out += ',';
    out += ']';
  } else if (node.is_object()) {
    out += '{';
    for (const auto& [key, value] : members(node)) {
      if (key == "location") continue;
      out.append(key).append(":");
      add_shape(value, out);
      out += ',';
    }
    out += '}';
  } else {
    out += simdjson::minify(node);
  }
}

void find_locations(const Node& node, size_t& first, size_t& last) {
  if (node.is_array()) {
    for (const Node item : items(node)) find_locations(item, first, last);
  } else if (node.is_object()) {
    for (const auto& [key, value] : members(node)) {
      int64_t at = 0;
      if (key == "location" && value.get(at) == simdjson::SUCCESS) {
        if (at < 0) continue;
        first = std::min(first, static_cast<size_t>(at));
        last = last == npos ? static_cast<size_t>(at) : std::max(last, static_cast<size_t>(at));
      } else {
        find_locations(value, first, last);
      }
    }
  }
}

// Whether the text is one expression, of that shape.
bool is_expression(const std::string& text, const std::string& shape) {
  const auto tree = ParseTree::parse("SELECT " + text);
  if (!tree || tree->statements().size() != 1) return false;
  const auto body = field(tree->statements().at(0), "stmt");
  const auto select = body ? as(*body, "SelectStmt") : std::nullopt;
  if (!select) return false;
  for (const auto& [key, value] : members(*select))
    if (key != "targetList" && key != "limitOption" && key != "op") return false;
  const std::vector<Node> targets = list_field(*select, "targetList");
  const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
  const auto value = target && !field(*target, "name") ? field(*target, "val") : std::nullopt;
  return value && shape_of(*value) == shape;
}

}  // namespace

std::string shape_of(const Node& node) {
  std::string out;
  add_shape(node, out);
  return out;
}

std::string identifier(const std::string& name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  const bool simple = !name.empty() && std::ranges::all_of(name, plain) && !(name[0] >= '0' && name[0] <= '9');
  // A keyword does not parse in every one of these places.
  if (simple && ParseTree::parse("SELECT " + name + ", " + name + "." + name + " AS " + name + " FROM " + name + " " +
                                 name + " (" + name + ")"))
    return name;
  return db::quote_identifier(name);
}

std::optional<StatementText> StatementText::read(const std::string& sql) {
  auto tree = ParseTree::parse(sql);
  auto tokens = tree ? scan(sql) : std::nullopt;
  if (!tokens || tokens->empty() || tree->statements().size() != 1) return std::nullopt;
  StatementText statement(sql, std::move(*tree));
  const auto body = field(statement.tree_.statements().at(0), "stmt");
  if (!body) return std::nullopt;
  statement.body_ = *body;
  statement.tokens_ = std::move(*tokens);
  while (!statement.tokens_.empty() && statement.text(statement.tokens_.back()) == ";") statement.tokens_.pop_back();
  if (statement.tokens_.empty()) return std::nullopt;
  return statement;
}

Span StatementText::whole() const { return {tokens_.front().begin, tokens_.back().end}; }

// The first token that ends after the offset.
size_t StatementText::token_at(size_t offset) const {
  const auto found = std::ranges::upper_bound(tokens_, offset, {}, &Span::end);
  return static_cast<size_t>(found - tokens_.begin());
}

Span StatementText::token_before(size_t offset) const {
  const auto found = std::ranges::upper_bound(tokens_, offset, {}, &Span::end);
  return found == tokens_.begin() ? Span{} : *std::prev(found);
}

Span StatementText::token_after(size_t offset) const {
  const auto found = std::ranges::lower_bound(tokens_, offset, {}, &Span::begin);
  return found == tokens_.end() ? Span{} : *found;
}

bool StatementText::is_keyword(const Span& token, std::string_view lower) const {
  const std::string word = text(token);
  return std::ranges::equal(word, lower,
                            [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

std::optional<Span> StatementText::expression(const Node& node) const {
  size_t first = npos, last = npos;
  find_locations(node, first, last);
  if (first == npos || first >= sql_.size()) return std::nullopt;
  const std::string shape = shape_of(node);
  const size_t start = token_at(first), least = token_at(last);
  for (size_t brackets = 0; brackets <= std::min(kBracketsMax, start); ++brackets) {
    if (brackets > 0 && text(tokens_[start - brackets]) != "(") break;
    int depth = 0;
    for (size_t i = start - brackets; i < tokens_.size() && i <= least + kTriesMax; ++i) {
      const std::string token = text(tokens_[i]);
      if (token == "(" || token == "[") ++depth;
      if (token == ")" || token == "]") --depth;
      if (depth < 0) break;
      const Span span{tokens_[start - brackets].begin, tokens_[i].end};
      if (depth == 0 && i >= least && is_expression(text(span), shape)) return span;
    }
  }
  return std::nullopt;
}

std::optional<std::string> StatementText::expression_text(const Node& node) const {
  const auto span = expression(node);
  return span ? std::optional(text(*span)) : std::nullopt;
}

std::optional<Span> StatementText::last_brackets(const Span& span) const {
  if (text({span.end - 1, span.end}) != ")") return std::nullopt;
  int depth = 0;
  for (size_t i = token_at(span.end - 1) + 1; i-- > 0 && tokens_[i].begin >= span.begin;) {
    const std::string token = text(tokens_[i]);
    if (token == ")") ++depth;
    if (token == "(" && --depth == 0) return Span{tokens_[i].begin, span.end};
  }
  return std::nullopt;
}

std::optional<int64_t> StatementText::integer(const Node& node) const {
  const auto constant = as(node, "A_Const");
  if (!constant || !field(*constant, "ival")) return std::nullopt;
  const auto written = expression_text(node);
  int64_t value = 0;
  if (!written) return std::nullopt;
  const auto [end, error] = std::from_chars(written->data(), written->data() + written->size(), value);
  return error == std::errc() && end == written->data() + written->size() ? std::optional(value) : std::nullopt;
}

std::optional<std::string> StatementText::edited(std::vector<Edit> edits) const {
  std::ranges::sort(edits, {}, &Edit::span);
  const Span all = whole();
  std::string out;
  size_t from = all.begin;
  for (const Edit& edit : edits) {
    if (edit.span.begin < from || edit.span.end > all.end) return std::nullopt;
    out.append(sql_, from, edit.span.begin - from).append(edit.text);
    from = edit.span.end;
  }
  out.append(sql_, from, all.end - from);
  out.erase(out.find_last_not_of(" \t\r\n") + 1);
  const auto tree = ParseTree::parse(out);
  if (!tree || tree->statements().size() != 1) return std::nullopt;
  return out;
}

}  // namespace cairn::tuner
