#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "monitor/query_node.h"

namespace cairn::monitor {
namespace {

using Node = Query::Node;
using Kind = Node::Kind;

constexpr int kDeepest = 64;

bool is_word(char c) {
  return c == '_' || c == ':' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

int precedence(std::string_view op) {
  if (op == "or") return 1;
  if (op == "and" || op == "unless") return 2;
  if (is_one_of(op, {"==", "!=", ">", "<", ">=", "<="})) return 3;
  if (op == "+" || op == "-") return 4;
  if (op == "*" || op == "/") return 5;
  return 0;
}

class Parser {
 public:
  Parser(std::string_view text, double scale) : text_(text), scale_(scale) {}

  std::unique_ptr<Node> whole() {
    auto node = expression(1);
    skip();
    if (at_ < text_.size()) fail("something is left over");
    return node;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw invalid("the query is not understood at character " + std::to_string(at_ + 1) + ": " + what + " in " +
                  std::string(text_.substr(0, 500)));
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(std::string_view token) {
    skip();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  void need(std::string_view token) {
    if (!take(token)) fail("'" + std::string(token) + "' is missing");
  }
  std::string_view peek_word() {
    skip();
    size_t end = at_;
    while (end < text_.size() && is_word(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }
  std::string word() {
    const std::string_view found = peek_word();
    if (found.empty()) fail("a name is missing");
    at_ += found.size();
    return std::string(found);
  }

  // The operator that comes next, or nothing.
  std::string_view peek_operator() {
    const std::string_view found = peek_word();
    if (is_one_of(found, {"and", "or", "unless"})) return found;
    for (const std::string_view op : {"==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/"})
      if (text_.substr(at_).starts_with(op)) return op;
    return {};
  }

  std::unique_ptr<Node> expression(int lowest) {
    if (++depth_ > kDeepest) fail("it is nested too deeply");
    auto left = primary();
    for (;;) {
      const std::string_view op = peek_operator();
      const int rank = precedence(op);
      if (rank == 0 || rank < lowest) break;
      at_ += op.size();
      auto node = std::make_unique<Node>();
      node->kind = Kind::kBinary;
      node->name = op;
      if (is_one_of(peek_word(), {"on", "ignoring"})) {
        node->on = word() == "on";
        node->ignoring = !node->on;
        node->labels = label_list();
      }
      auto right = expression(rank + 1);
      node->children.push_back(std::move(left));
      node->children.push_back(std::move(right));
      left = std::move(node);
    }
    --depth_;
    return left;
  }

  std::unique_ptr<Node> primary() {
    if (take("(")) {
      auto inner = expression(1);
      need(")");
      return inner;
    }
    skip();
    if (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.' || text_[at_] == '-')) return number();
    const std::string name = word();
    if (is_one_of(name, {"sum", "min", "max", "avg", "count"})) return aggregate(name);
    skip();
    if (at_ < text_.size() && text_[at_] == '(') return function(name);
    return selector(name);
  }

  std::unique_ptr<Node> number() {
    auto node = std::make_unique<Node>();
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), node->number);
    if (error != std::errc()) fail("a number is expected");
    at_ = static_cast<size_t>(end - text_.data());
    return node;
  }

  std::vector<std::string> label_list() {
    std::vector<std::string> labels;
    need("(");
    while (!take(")")) {
      labels.push_back(word());
      take(",");
    }
    return labels;
  }

  std::unique_ptr<Node> aggregate(const std::string& name) {
    auto node = std::make_unique<Node>();
    node->kind = Kind::kAggregate;
    node->name = name;
    if (peek_word() == "by") {
      word();
      node->labels = label_list();
    }
    need("(");
    node->children.push_back(expression(1));
    need(")");
    return node;
  }

  std::unique_ptr<Node> function(const std::string& name) {
    auto node = std::make_unique<Node>();
    node->kind = Kind::kFunction;
    node->name = name;
    need("(");
    while (!take(")")) {
      node->children.push_back(expression(1));
      take(",");
    }
    check(*node);
    if (name == "time") node->kind = Kind::kTime;
    return node;
  }

  void check(const Node& node) {
    const auto ranged = [](const Node& child) { return child.kind == Kind::kSelector && child.range > 0; };
    const size_t arguments = node.children.size();
    if (is_one_of(node.name, {"rate", "increase", "changes"})) {
      if (arguments != 1 || !ranged(*node.children[0])) fail(node.name + " takes a selector with a range");
    } else if (node.name == "histogram_quantile") {
      if (arguments != 2 || node.children[0]->kind != Kind::kNumber) fail(node.name + " takes a number and a vector");
    } else if (node.name != "time" || arguments != 0) {
      fail("there is no function " + node.name + " here");
    }
  }

  std::unique_ptr<Node> selector(const std::string& name) {
    auto node = std::make_unique<Node>();
    node->kind = Kind::kSelector;
    node->name = name;
    if (take("{")) {
      while (!take("}")) {
        node->matchers.push_back(matcher());
        take(",");
      }
    }
    if (take("[")) {
      node->range = duration();
      need("]");
    }
    return node;
  }

  Matcher matcher() {
    Matcher found;
    found.label = word();
    skip();
    for (const std::string_view op : {"=~", "!~", "!=", "="}) {
      if (!take(op)) continue;
      found.op = op;
      break;
    }
    if (found.op.empty()) fail("a comparison of the label is missing");
    need("\"");
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      found.value += text_[at_++];
    }
    need("\"");
    try {
      if (found.op.ends_with('~'))
        found.pattern = std::regex(found.value, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error&) {
      fail("'" + found.value + "' is no regular expression");
    }
    return found;
  }

  double duration() {
    skip();
    double amount = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), amount);
    if (error != std::errc() || !(amount > 0)) fail("a duration is expected");
    at_ = static_cast<size_t>(end - text_.data());
    if (take("s")) return amount * scale_;
    if (take("m")) return amount * 60 * scale_;
    if (take("h")) return amount * 3600 * scale_;
    fail("a duration ends in s, m or h");
  }

  std::string_view text_;
  double scale_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

bool Matcher::matches(const LabelMap& labels) const {
  const auto found = labels.find(label);
  const std::string& has = found == labels.end() ? std::string() : found->second;
  const bool same = op.ends_with('~') ? std::regex_match(has, pattern) : has == value;
  return same == !op.starts_with('!');
}

std::unique_ptr<Node> parse_query(std::string_view text, double scale) { return Parser(text, scale).whole(); }

}  // namespace cairn::monitor
