#include "tracking/filter.h"

#include <simdjson.h>

#include <cstdlib>

#include <span>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "db/statement.h"
#include "tracking/filter_tokens.h"

namespace cairn::tracking {
namespace {

constexpr int kMaxDepth = 32;
constexpr int kMaxConditions = 200;
constexpr size_t kMaxListed = 1000;
constexpr size_t kMaxOrderBy = 16;
constexpr size_t kMaxLength = 256u << 10;

constexpr std::pair<std::string_view, Entity> kRunEntities[] = {{"metric", Entity::kMetric},
                                                                {"metrics", Entity::kMetric},
                                                                {"parameter", Entity::kParam},
                                                                {"parameters", Entity::kParam},
                                                                {"param", Entity::kParam},
                                                                {"params", Entity::kParam},
                                                                {"tag", Entity::kTag},
                                                                {"tags", Entity::kTag},
                                                                {"attribute", Entity::kAttribute},
                                                                {"attributes", Entity::kAttribute},
                                                                {"attr", Entity::kAttribute},
                                                                {"run", Entity::kAttribute},
                                                                {"dataset", Entity::kDataset},
                                                                {"datasets", Entity::kDataset}};
constexpr std::pair<std::string_view, Entity> kExperimentEntities[] = {
    {"attribute", Entity::kAttribute}, {"tag", Entity::kTag}, {"tags", Entity::kTag}};

constexpr std::pair<std::string_view, Entity> kModelEntities[] = {{"metric", Entity::kMetric},
                                                                  {"metrics", Entity::kMetric},
                                                                  {"param", Entity::kParam},
                                                                  {"params", Entity::kParam},
                                                                  {"parameter", Entity::kParam},
                                                                  {"parameters", Entity::kParam},
                                                                  {"tag", Entity::kTag},
                                                                  {"tags", Entity::kTag},
                                                                  {"attribute", Entity::kAttribute},
                                                                  {"attributes", Entity::kAttribute},
                                                                  {"model", Entity::kAttribute}};

struct Attribute {
  std::string_view alias, name;
  bool numeric;
  bool orders;  // may stand in order_by
};
constexpr Attribute kRunAttributes[] = {
    {"run_id", "run_id", false, true},        {"run_name", "run_name", false, true},
    {"run name", "run_name", false, false},   {"Run name", "run_name", false, false},
    {"Run Name", "run_name", false, false},   {"status", "status", false, true},
    {"user_id", "user_id", false, true},      {"artifact_uri", "artifact_uri", false, true},
    {"start_time", "start_time", true, true}, {"end_time", "end_time", true, true},
    {"created", "start_time", true, true},    {"Created", "start_time", true, true}};
constexpr Attribute kExperimentAttributes[] = {{"name", "name", false, true},
                                               {"experiment_id", "experiment_id", false, true},
                                               {"creation_time", "creation_time", true, true},
                                               {"last_update_time", "last_update_time", true, true}};
constexpr Attribute kModelAttributes[] = {{"name", "name", false, true},
                                          {"model_id", "model_id", false, true},
                                          {"model_type", "model_type", false, true},
                                          {"status", "status", false, true},
                                          {"source_run_id", "source_run_id", false, true},
                                          {"experiment_id", "experiment_id", false, true},
                                          {"lifecycle_stage", "lifecycle_stage", false, false},
                                          {"creation_time", "creation_time", true, true},
                                          {"creation_timestamp", "creation_time", true, true},
                                          {"creation_timestamp_ms", "creation_time", true, true},
                                          {"last_updated_time", "last_updated_time", true, true},
                                          {"last_updated_timestamp", "last_updated_time", true, true},
                                          {"last_updated_timestamp_ms", "last_updated_time", true, true}};

struct ComparatorName {
  std::string_view text;
  Comparator comparator;
};
constexpr ComparatorName kNumberComparators[] = {{"=", Comparator::kEqual},   {"!=", Comparator::kNotEqual},
                                                 {"<", Comparator::kLess},    {"<=", Comparator::kLessEqual},
                                                 {">", Comparator::kGreater}, {">=", Comparator::kGreaterEqual}};
constexpr ComparatorName kTagComparators[] = {
    {"=", Comparator::kEqual},     {"!=", Comparator::kNotEqual},    {"LIKE", Comparator::kLike},
    {"ILIKE", Comparator::kIlike}, {"IS NULL", Comparator::kIsNull}, {"IS NOT NULL", Comparator::kIsNotNull}};
constexpr ComparatorName kTextComparators[] = {{"=", Comparator::kEqual},   {"!=", Comparator::kNotEqual},
                                               {"LIKE", Comparator::kLike}, {"ILIKE", Comparator::kIlike},
                                               {"IN", Comparator::kIn},     {"NOT IN", Comparator::kNotIn}};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::span<const Attribute> attributes_of(Subject subject) {
  if (subject == Subject::kRuns) return kRunAttributes;
  if (subject == Subject::kLoggedModels) return kModelAttributes;
  return kExperimentAttributes;
}

std::string_view without_quotes(std::string_view text, std::string_view quotes) {
  if (text.size() >= 2 && text.front() == text.back() && quotes.find(text.front()) != std::string_view::npos)
    return text.substr(1, text.size() - 2);
  return text;
}

const Attribute& find_attribute(Subject subject, std::string_view key, bool ordering) {
  std::string valid;
  for (const Attribute& attribute : attributes_of(subject)) {
    if (ordering && !attribute.orders) continue;
    if (attribute.alias == key) return attribute;
    valid += std::string(valid.empty() ? "'" : ", '") + std::string(attribute.alias) + "'";
  }
  throw invalid("Invalid attribute key '" + std::string(key) + "' specified. Valid keys are '{" + valid + "}'");
}

std::span<const std::pair<std::string_view, Entity>> entities_of(Subject subject) {
  if (subject == Subject::kRuns) return kRunEntities;
  if (subject == Subject::kLoggedModels) return kModelEntities;
  return kExperimentEntities;
}

Entity find_entity(Subject subject, std::string_view name) {
  for (const auto& [alias, entity] : entities_of(subject)) {
    if (alias == name) return entity;
  }
  throw invalid("Invalid entity type '" + std::string(name) +
                (subject == Subject::kRuns
                     ? "'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
                 : subject == Subject::kLoggedModels ? "'. Valid values are ['metric', 'parameter', 'tag', 'attribute']"
                                                     : "'. Valid entity types are ('attribute', 'tag', 'tags')"));
}

// entity.key, `key` or "key" taken apart; without an entity it is an attribute.
std::pair<Entity, std::string> split_key(Subject subject, const Token& token) {
  constexpr std::string_view kQuotes = "`\"";
  const std::string_view text = token.text;
  const auto dot = text.front() == '`' || text.front() == '"' ? std::string_view::npos : text.find('.');
  if (dot == std::string_view::npos) return {Entity::kAttribute, std::string(without_quotes(text, kQuotes))};
  return {find_entity(subject, text.substr(0, dot)), std::string(without_quotes(text.substr(dot + 1), kQuotes))};
}

bool is_key(const Token& token) {
  return token.kind == TokenKind::kIdentifier || (token.kind == TokenKind::kString && token.text.front() == '"');
}

void check_text(std::string_view what, std::string_view text) {
  if (text.size() > kMaxLength) throw invalid("Invalid " + std::string(what) + ": it is longer than 256 KiB.");
  if (text.find('\0') != std::string_view::npos || !simdjson::validate_utf8(text.data(), text.size()))
    throw invalid("Invalid " + std::string(what) + ": it holds NUL or is not UTF-8.");
}

class Parser {
 public:
  Parser(Subject subject, std::string_view text) : subject_(subject), text_(text), tokens_(tokenize(text)) {}

  Filter parse() {
    if (tokens_.empty()) throw invalid("Invalid filter '" + std::string(text_) + "'. Could not be parsed.");
    for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (tokens_[i].text == ";")
        throw invalid("Search filter contained multiple expression '" + std::string(text_) +
                      "'. Provide AND-ed expression list.");
    }
    Filter filter = any();
    if (at_ < tokens_.size()) fail(at_);
    return filter;
  }

 private:
  struct Value {
    const Token* token = nullptr;  // of a single value
    std::string shown;             // as the user wrote it
    bool is_list = false;
    std::vector<const Token*> listed;  // tokens between the parentheses
  };

  const Token* peek() const { return at_ < tokens_.size() ? &tokens_[at_] : nullptr; }
  bool is_word(const Token* token, std::string_view word) const {
    return token != nullptr && token->kind == TokenKind::kIdentifier && upper(token->text) == word;
  }
  bool is_punctuation(const Token* token, std::string_view text) const {
    return token != nullptr && token->kind == TokenKind::kPunctuation && token->text == text;
  }
  bool accept_word(std::string_view word) {
    if (!is_word(peek(), word)) return false;
    ++at_;
    return true;
  }

  // Shows the clause that begins at a token: up to the next AND or OR.
  [[noreturn]] void fail(size_t begin) const {
    const std::string quote = subject_ == Subject::kRuns ? "'" : "";
    std::string shown;
    for (size_t i = begin; i < tokens_.size(); ++i) {
      if (i > begin && (is_word(&tokens_[i], "AND") || is_word(&tokens_[i], "OR"))) break;
      shown += (shown.empty() ? "" : ", ") + quote + std::string(tokens_[i].text) + quote;
    }
    if (shown.empty()) shown = quote + std::string(text_) + quote;
    throw invalid("Invalid clause(s) in filter string: " + shown);
  }

  Filter any() {
    Filter first = all();
    if (!is_word(peek(), "OR")) return first;
    Filter filter;
    filter.kind = Filter::Kind::kAny;
    filter.children.push_back(std::move(first));
    if (subject_ == Subject::kLoggedModels) {
      throw invalid("Invalid filter string: '" + std::string(text_) +
                    "'. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = "
                    "0.01').");
    }
    while (is_word(peek(), "OR")) {
      const size_t at = at_++;
      filter.children.push_back(all());
      for (const Filter* side : {&filter.children.front(), &filter.children.back()}) {
        if (is_empty(*side)) fail(at);
      }
    }
    return filter;
  }

  static bool is_empty(const Filter& filter) { return filter.kind == Filter::Kind::kAll && filter.children.empty(); }

  Filter all() {
    Filter filter;
    for (;;) {
      if (accept_word("AND")) continue;
      const Token* token = peek();
      if (token == nullptr || is_word(token, "OR") || is_punctuation(token, ")")) return filter;
      if (is_punctuation(token, "(")) {
        filter.children.push_back(group());
      } else {
        Filter leaf;
        leaf.kind = Filter::Kind::kCondition;
        leaf.condition = condition();
        filter.children.push_back(std::move(leaf));
      }
    }
  }

  Filter group() {
    const size_t begin = at_++;
    if (++depth_ > kMaxDepth)
      throw invalid("Invalid filter: parentheses are nested more than " + std::to_string(kMaxDepth) + " deep.");
    Filter filter = any();
    if (is_empty(filter) || !is_punctuation(peek(), ")")) fail(begin);
    ++at_;
    --depth_;
    return filter;
  }

  Condition condition() {
    if (++conditions_ > kMaxConditions)
      throw invalid("Invalid filter: it has more than " + std::to_string(kMaxConditions) + " conditions.");
    const size_t begin = at_;
    const Token& key = tokens_[at_++];
    const std::string comparator = read_comparator();
    if (comparator.empty()) fail(begin);
    const bool null_test = comparator == "IS NULL" || comparator == "IS NOT NULL";
    Value value;
    if (!null_test) value = read_value(begin);
    if (!is_key(key)) {
      if (key.kind == TokenKind::kNumber || key.kind == TokenKind::kOperation)
        throw invalid("Invalid comparison clause. Expected 'Identifier' found '" + std::string(key.text) + "'");
      fail(begin);
    }
    const bool takes_list = upper(comparator) == "IN" || upper(comparator) == "NOT IN";
    if (!null_test && !value.is_list && takes_list) fail(begin);
    Condition result;
    std::tie(result.entity, result.key) = split_key(subject_, key);
    check(result, comparator, value);
    return result;
  }

  // As in the message of one that is refused: for runs in upper case, whichever case it was written in.
  std::string read_comparator() {
    const Token* token = peek();
    if (token == nullptr) return "";
    ++at_;
    if (token->kind == TokenKind::kComparator) return std::string(token->text);
    std::string words(token->text);
    if (is_word(token, "IS")) {
      const bool negated = accept_word("NOT");
      if (!accept_word("NULL")) return "";
      return negated ? "IS NOT NULL" : "IS NULL";
    }
    if (is_word(token, "NOT") && (token = peek()) != nullptr) {
      ++at_;
      words += " " + std::string(token->text);
    }
    if (!is_word(token, "LIKE") && !is_word(token, "ILIKE") && !is_word(token, "IN")) return "";
    return subject_ == Subject::kExperiments ? words : upper(words);
  }

  Value read_value(size_t begin) {
    const Token* token = peek();
    if (token == nullptr || is_word(token, "AND") || is_word(token, "OR")) fail(begin);
    ++at_;
    Value value;
    value.token = token;
    value.shown = token->text;
    if (!is_punctuation(token, "(")) {
      if (token->kind == TokenKind::kPunctuation || token->kind == TokenKind::kComparator ||
          token->kind == TokenKind::kOther)
        fail(begin);
      return value;
    }
    value.is_list = true;
    for (; !is_punctuation(peek(), ")"); ++at_) {
      if (peek() == nullptr || is_punctuation(peek(), "(")) fail(begin);
      value.listed.push_back(peek());
    }
    const Token& last = tokens_[at_++];
    value.shown = text_.substr(token->begin, last.begin + 1 - token->begin);
    return value;
  }

  void check(Condition& condition, const std::string& comparator, const Value& value) const {
    const bool null_test = comparator == "IS NULL" || comparator == "IS NOT NULL";
    const bool is_attribute = condition.entity == Entity::kAttribute;
    const bool is_text = condition.entity == Entity::kParam || condition.entity == Entity::kTag;
    if (is_attribute) {
      const Attribute& attribute = find_attribute(subject_, condition.key, false);
      condition.numeric = attribute.numeric;
      if (!null_test && attribute.numeric) {
        read_number(condition, "numeric attribute: " + condition.key, value);
      }
      condition.key = attribute.name;
    }
    if (condition.entity == Entity::kDataset && condition.key != "name" && condition.key != "digest" &&
        condition.key != "context")
      throw invalid("Invalid dataset key '" + condition.key +
                    "' specified. Valid keys are '{'name', 'digest', 'context'}'");
    const bool is_model = subject_ == Subject::kLoggedModels;
    if (null_test && (!is_text || is_model)) refuse_null_test(condition);
    if (condition.entity == Entity::kMetric) read_number(condition, "metric", value);
    if (!null_test && !condition.numeric) read_text(condition, value);
    condition.comparator = condition.numeric      ? find_comparator(kNumberComparators, comparator)
                           : is_text && !is_model ? find_comparator(kTagComparators, comparator, condition.entity)
                                                  : find_comparator(kTextComparators, comparator);
    const bool takes_list = condition.comparator == Comparator::kIn || condition.comparator == Comparator::kNotIn;
    if (value.is_list && !takes_list)
      throw invalid("Invalid filter: '" + comparator + "' compares with one value. Got " + value.shown);
    if (condition.comparator == Comparator::kLike || condition.comparator == Comparator::kIlike)
      db::check_like_pattern(condition.text);
  }

  [[noreturn]] void refuse_null_test(const Condition& condition) const {
    const std::string entity = condition.entity == Entity::kMetric      ? "metric"
                               : condition.entity == Entity::kAttribute ? "attribute"
                                                                        : "dataset";
    if (subject_ == Subject::kExperiments)
      throw invalid("IS NULL / IS NOT NULL is only supported for tags, not for " + entity + " '" + condition.key + "'");
    if (subject_ == Subject::kLoggedModels)
      throw invalid("IS NULL / IS NOT NULL is not supported in a search for logged models: '" + condition.key + "'");
    throw invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '" + entity + "' '" +
                  condition.key + "'");
  }

  void read_number(Condition& condition, const std::string& what, const Value& value) const {
    if (value.is_list || value.token->kind != TokenKind::kNumber)
      throw invalid("Expected numeric value type for " + what + ". Found " + value.shown);
    condition.numeric = true;
    condition.number = std::strtod(std::string(value.token->text).c_str(), nullptr);  // too large is infinity
  }

  void read_text(Condition& condition, const Value& value) const {
    const bool is_attribute = condition.entity == Entity::kAttribute;
    const bool is_model = subject_ == Subject::kLoggedModels;
    const bool listable = is_model || condition.entity == Entity::kDataset || condition.key == "run_id" ||
                          (condition.key == "experiment_id" && subject_ == Subject::kExperiments);
    if (value.is_list && (condition.entity == Entity::kDataset || is_attribute || is_model)) {
      if (!listable)
        throw invalid(std::string("Only ['") + (subject_ == Subject::kRuns ? "run_id" : "experiment_id") +
                      "'] attributes support comparison with a list of quoted string values.");
      read_list(condition, value);
      return;
    }
    if (!value.is_list && value.token->kind == TokenKind::kString) {
      condition.text = without_quotes(value.token->text, "'\"");
      return;
    }
    if (is_attribute && !value.is_list && value.token->kind != TokenKind::kNumber)
      throw invalid("Parameter value is either not quoted or unidentified quote types used for string value " +
                    value.shown + ". Use either single or double quotes.");
    const std::string what = is_attribute                           ? "attributes"
                             : condition.entity == Entity::kDataset ? "dataset attributes"
                             : condition.entity == Entity::kParam   ? "parameter (e.g. 'my-value')"
                                                                    : "tag (e.g. 'my-value')";
    throw invalid("Expected a quoted string value for " + what + ". Got value " + value.shown);
  }

  static void read_list(Condition& condition, const Value& value) {
    for (const Token* token : value.listed) {
      if (token->text == ",") continue;
      if (token->kind != TokenKind::kString)
        throw invalid(
            "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different "
            "type in list: " +
            value.shown);
      condition.texts.emplace_back(without_quotes(token->text, "'\""));
    }
    if (condition.texts.empty())
      throw invalid(
          "While parsing a list in the query, expected a non-empty list of string values, but got empty list");
    if (condition.texts.size() > kMaxListed)
      throw invalid("Invalid filter: a list has more than " + std::to_string(kMaxListed) + " values.");
  }

  Comparator find_comparator(std::span<const ComparatorName> valid, const std::string& comparator,
                             Entity entity = Entity::kAttribute) const {
    std::string names;
    for (const ComparatorName& name : valid) {
      if (name.text == comparator) return name.comparator;
      names += std::string(names.empty() ? "'" : ", '") + std::string(name.text) + "'";
    }
    if (subject_ == Subject::kExperiments && entity == Entity::kTag)
      throw invalid("Invalid comparator for tag: " + comparator);
    throw invalid("Invalid comparator '" + comparator + "' not one of '{" + names + "}'");
  }

  Subject subject_;
  std::string_view text_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int conditions_ = 0;
};

OrderBy parse_clause(Subject subject, const std::string& clause) {
  check_text("order_by clause", clause);
  const std::vector<Token> tokens = tokenize(clause);
  const std::string shown = "'" + clause + "'";
  if (tokens.empty() || tokens.size() > 2 || !is_key(tokens[0]))
    throw invalid("Invalid order_by clause " + shown + ". Could not be parsed.");
  OrderBy order;
  if (tokens.size() == 2) {
    const std::string direction = upper(tokens[1].text);
    if (direction != "ASC" && direction != "DESC")
      throw invalid("Invalid ordering key in order_by clause " + shown + ".");
    order.descending = direction == "DESC";
  }
  std::tie(order.entity, order.key) = split_key(subject, tokens[0]);
  if (order.entity == Entity::kDataset) throw invalid("Invalid identifier type 'dataset'");
  if (subject == Subject::kExperiments && order.entity == Entity::kTag) throw invalid("Invalid order_by entity: tag");
  if (order.entity == Entity::kAttribute) order.key = find_attribute(subject, order.key, true).name;
  return order;
}

}  // namespace

Filter parse_filter(Subject subject, std::string_view text) {
  if (text.empty()) return {};
  check_text("filter", text);
  return Parser(subject, text).parse();
}

std::vector<OrderBy> parse_order_by(Subject subject, const std::vector<std::string>& clauses) {
  if (clauses.size() > kMaxOrderBy)
    throw invalid("Invalid order_by: it has more than " + std::to_string(kMaxOrderBy) + " clauses.");
  std::vector<OrderBy> orders;
  for (const std::string& clause : clauses) {
    OrderBy order = parse_clause(subject, clause);
    for (const OrderBy& earlier : orders) {
      if (earlier.entity == order.entity && earlier.key == order.key)
        throw invalid("`order_by` contains duplicate fields: '" + clause + "' orders by what an earlier clause does.");
    }
    orders.push_back(std::move(order));
  }
  return orders;
}

OrderBy parse_model_order(const std::string& field, bool descending) {
  check_text("order_by field", field);
  OrderBy order;
  order.descending = descending;
  const size_t dot = field.find('.');
  if (dot == field.npos) {
    for (const Attribute& attribute : kModelAttributes) {
      if (attribute.alias != field || !attribute.orders) continue;
      order.key = attribute.name;
      return order;
    }
    throw invalid("Invalid order by field name: " + field);
  }
  const std::string_view entity = std::string_view(field).substr(0, dot);
  if (entity != "metrics" && entity != "metric")
    throw invalid("Invalid order by field name: " + field + ". Only metrics are supported.");
  order.entity = Entity::kMetric;
  order.key = without_quotes(std::string_view(field).substr(dot + 1), "`\"");
  return order;
}

}  // namespace cairn::tracking
