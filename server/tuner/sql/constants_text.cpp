#include "tuner/sql/constants_text.h"

#include <algorithm>
#include <set>

#include "tuner/sql/expression.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

bool is_place(std::string_view key) { return key == "location" || key == "stmt_location" || key == "stmt_len"; }

int number_of(const Node& reference) {
  int64_t number = 0;
  const auto value = field(reference, "number");
  return value && value->get(number) == simdjson::SUCCESS ? static_cast<int>(number) : 0;
}

// Walks over two trees at once.
class Comparison {
 public:
  explicit Comparison(const Values& parameters) : parameters_(parameters) {}

  bool same(const Node& normalised, const Node& run) {
    if (const auto placeholder = as_if_object(normalised, "ParamRef")) return take(number_of(*placeholder), run);
    if (normalised.is_array() && run.is_array()) {
      const auto left = items(normalised), right = items(run);
      if (left.size() != right.size()) return false;
      auto other = right.begin();
      for (const Node item : left) {
        if (!same(item, *other)) return false;
        ++other;
      }
      return true;
    }
    if (normalised.is_object() && run.is_object()) return same_members(normalised, run);
    return simdjson::minify(normalised) == simdjson::minify(run);
  }

  std::optional<Values> values() const {
    Values values;
    for (const auto& [number, value] : found_) {
      if (number != static_cast<int>(values.size()) + 1) return std::nullopt;
      values.push_back(value);
    }
    return values;
  }

 private:
  static std::optional<Node> as_if_object(const Node& node, std::string_view kind) {
    return node.is_object() ? as(node, kind) : std::nullopt;
  }

  bool same_members(const Node& normalised, const Node& run) {
    const auto count = [](const Node& node) {
      return std::ranges::count_if(members(node), [](const auto& member) { return !is_place(member.key); });
    };
    if (count(normalised) != count(run)) return false;
    for (const auto& [key, value] : members(normalised)) {
      if (is_place(key)) continue;
      const auto other = field(run, key);
      if (!other || !same(value, *other)) return false;
    }
    return true;
  }

  bool take(int number, const Node& run) {
    Value value;
    if (const auto placeholder = as_if_object(run, "ParamRef")) {
      const int given = number_of(*placeholder);
      if (given < 1 || static_cast<size_t>(given) > parameters_.size()) return false;
      value = parameters_[static_cast<size_t>(given - 1)];
    } else {
      const auto constant = run.is_object() && as(run, "A_Const") ? literal(run) : std::nullopt;
      if (!constant) return false;
      if (!constant->is_null) value = constant->text;
    }
    const auto [known, is_new] = found_.try_emplace(number, value);
    return is_new || known->second == value;
  }

  const Values& parameters_;
  std::map<int, Value> found_;
};

struct Place {
  size_t begin;
  size_t end;
  int number;
};

void collect(const Node& node, const std::string& sql, std::vector<Place>& places, bool& sound) {
  if (node.is_array()) {
    for (const Node item : items(node)) collect(item, sql, places, sound);
  } else if (node.is_object()) {
    if (const auto placeholder = as(node, "ParamRef")) {
      int64_t begin = 0;
      if (const auto place = field(*placeholder, "location"); place && place->get(begin) != simdjson::SUCCESS)
        sound = false;
      const std::string text = "$" + std::to_string(number_of(*placeholder));
      if (sql.compare(static_cast<size_t>(begin), text.size(), text) != 0)
        sound = false;
      else
        places.push_back(
            {static_cast<size_t>(begin), static_cast<size_t>(begin) + text.size(), number_of(*placeholder)});
      return;
    }
    for (const auto& [key, value] : members(node)) collect(value, sql, places, sound);
  }
}

}  // namespace

std::optional<Values> constants_in(const std::string& normalised, const std::string& run, const Values& parameters) {
  const auto left = ParseTree::parse(normalised), right = ParseTree::parse(run);
  if (!left || !right || left->statements().size() != 1 || right->statements().size() != 1) return std::nullopt;
  Comparison comparison(parameters);
  if (!comparison.same(left->statements().at(0).value(), right->statements().at(0).value())) return std::nullopt;
  return comparison.values();
}

std::optional<std::string> with_constants(const std::string& statement, const std::map<int, Value>& constants) {
  const auto tree = ParseTree::parse(statement);
  if (!tree || tree->statements().size() != 1) return std::nullopt;
  std::vector<Place> places;
  bool sound = true;
  collect(tree->statements().at(0).value(), statement, places, sound);
  if (!sound) return std::nullopt;
  std::ranges::sort(places, {}, &Place::begin);
  std::string text;
  size_t from = 0;
  for (const Place& place : places) {
    const auto constant = constants.find(place.number);
    if (constant == constants.end() || place.begin < from) continue;
    text.append(statement, from, place.begin - from);
    text += " " + (constant->second ? quote_literal(*constant->second) : "NULL") + " ";
    from = place.end;
  }
  return text.append(statement, from);
}

std::optional<std::string> with_constants(const std::string& statement, const Values& constants) {
  std::map<int, Value> numbered;
  for (size_t i = 0; i < constants.size(); ++i) numbered[static_cast<int>(i + 1)] = constants[i];
  return with_constants(statement, numbered);
}

}  // namespace cairn::tuner
