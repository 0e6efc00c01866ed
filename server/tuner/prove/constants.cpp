#include "tuner/prove/constants.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/bytes.h"
#include "tuner/profile/statements.h"
#include "tuner/sql/constants_text.h"
#include "tuner/sql/expression.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

constexpr double kSampledRows = 400;
constexpr double kSampledPages = 80;
constexpr int64_t kFewPages = 2000;  // these are read as a whole
constexpr double kDay = 86400;
constexpr std::array kSpans{7 * kDay, kDay, 30 * kDay};
constexpr std::array kShares{0.1, 0.03, 0.3};  // of data that does not reach back so far
constexpr std::array kLimits{20, 50, 10, 100};
constexpr std::array kOffsets{0, 20, 100};
constexpr size_t kPrefix = 4;  // characters of a pattern
constexpr int kInList = 3;     // values of an array that is compared with
constexpr size_t kLongest = 200;

bool is_time(const Column& column) {
  return column.category == 'D' && column.type != "time" && column.type != "timetz";
}

bool is_interval(const std::string& type) { return type == "interval"; }

std::string qualified(const Table& table) {
  return db::quote_identifier(table.name.schema) + "." + db::quote_identifier(table.name.name);
}

std::string own(const std::string& sql) { return std::string(kOwnStatement) + " " + sql; }

// A value as an array's text has it.
std::string array_text(const std::vector<std::string>& values) {
  std::string text = "{";
  for (const std::string& value : values) {
    text += text.size() > 1 ? ",\"" : "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

// The elements of an array's text, of one dimension.
std::vector<std::string> elements(const std::string& array) {
  std::vector<std::string> found;
  std::string element;
  bool quoted = false, any = false;
  for (size_t i = 1; i < array.size(); ++i) {
    const char c = array[i];
    if (c == '\\' && i + 1 < array.size()) {
      element += array[++i], any = true;
    } else if (c == '"') {
      quoted = !quoted, any = true;
    } else if (!quoted && (c == ',' || c == '}')) {
      if (any) found.push_back(element);
      element.clear(), any = false;
    } else {
      element += c, any = true;
    }
  }
  return found;
}

// At most so many characters, and none cut in two.
std::string prefix(const std::string& text, size_t characters) {
  size_t end = 0, count = 0;
  for (; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && count++ == characters) break;
  return text.substr(0, end);
}

std::string without_wildcards(const std::string& text) {
  std::string plain;
  for (const char c : text)
    if (c != '%' && c != '_' && c != '\\') plain += c;
  return plain;
}

std::string word_of(const std::string& text, size_t number) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) {
      word += c;
    } else {
      if (word.size() > 2) words.push_back(word);
      word.clear();
    }
  }
  return words.empty() ? prefix(text, kPrefix) : words[number % words.size()];
}

std::string folded(std::string text, const std::string& function) {
  for (char& c : text) {
    if (function == "lower" && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (function == "upper" && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::string timestamp(double seconds) {
  const double whole = std::floor(seconds);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:06}+00", fmt::gmtime(static_cast<time_t>(whole)),
                     static_cast<int64_t>((seconds - whole) * 1e6));
}

bool less(const Value& left, const Value& right, bool numeric) {
  if (!left || !right) return left < right;
  if (numeric) return std::strtod(left->c_str(), nullptr) < std::strtod(right->c_str(), nullptr);
  return *left < *right;
}

uint64_t mixed(uint64_t number) {  // splitmix64
  number += 0x9e3779b97f4a7c15;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
  number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
  return number ^ (number >> 31);
}

}  // namespace

size_t ConstantsDrawer::pick(size_t count, int set, int use, uint64_t salt) const {
  uint64_t number = mixed(seed_);
  for (const uint64_t part : {static_cast<uint64_t>(set), static_cast<uint64_t>(use), salt})
    number = mixed(number ^ part);
  return count == 0 ? 0 : static_cast<size_t>(number % count);
}

Constants ConstantsDrawer::draw(const std::string& statement, int sets, const std::vector<Values>& logged) {
  Constants constants{.sql = statement};
  if (const StatementShape shape = statement_shape(statement); !shape.error && shape.parameters == 0) {
    constants.sets.emplace_back();
    return constants;
  }
  std::vector<std::string> types;
  bool as_it_is = true;
  try {
    types = session_.parameter_types(statement);
  } catch (const db::DbError& error) {
    if (session_.broken()) throw;
    const bool readable = error.sqlstate() == "42601" || error.sqlstate() == "42803" || error.sqlstate() == "42P18";
    const auto prepared = readable ? preparable_statement(statement) : std::nullopt;
    constants.refusal = std::string("it cannot be prepared: ") + error.what();
    // With the constants in their places nothing is left to be guessed: the fields of EXTRACT, for one.
    const auto written = readable && !logged.empty() ? with_constants(statement, logged[0]) : std::nullopt;
    if (written && can_be_prepared(*written)) return {.sql = *written, .sets = {{}}, .logged = 1};
    if (!prepared) return constants;
    constants.sql = *prepared;
    as_it_is = false;
  }
  try {
    if (!as_it_is) types = session_.parameter_types(constants.sql);
    constants.refusal.clear();
    const std::vector<Slot> slots = slots_of(constants.sql, types);
    // What was inserted is there already.
    if (as_it_is && std::ranges::none_of(slots, &Slot::fresh))
      for (const Values& values : logged)
        if (values.size() == types.size() && constants.sets.size() < static_cast<size_t>(sets))
          constants.sets.push_back(values);
    constants.logged = constants.sets.size();
    fill(constants, slots, sets);
  } catch (const db::DbError& error) {
    if (session_.broken()) throw;
    constants.refusal = std::string("no values for its placeholders: ") + error.what();
  }
  return constants;
}

bool ConstantsDrawer::can_be_prepared(const std::string& sql) {
  try {
    return session_.parameter_types(sql).empty();
  } catch (const db::DbError&) {
    if (session_.broken()) throw;
    return false;
  }
}

// Drawn sets beside those of the log.
void ConstantsDrawer::fill(Constants& constants, const std::vector<Slot>& slots, int sets) {
  for (int set = static_cast<int>(constants.sets.size()); set < sets; ++set) {
    Values values = one_set(slots, set);
    std::string unknown;
    for (size_t i = 0; i < slots.size(); ++i)
      if (!values[i] && slots[i].placeholder.role == Role::kUnknown)
        unknown = fmt::format("no value is known for ${} of type {}", i + 1, slots[i].type);
    if (!unknown.empty() && constants.logged > 0) return;
    constants.refusal = unknown.empty() ? constants.refusal : unknown;
    if (std::ranges::find(constants.sets, values) == constants.sets.end()) constants.sets.push_back(std::move(values));
    if (slots.empty()) return;
  }
}

std::vector<ConstantsDrawer::Slot> ConstantsDrawer::slots_of(const std::string& sql,
                                                             const std::vector<std::string>& types) const {
  std::vector<Slot> slots(types.size());
  for (size_t i = 0; i < types.size(); ++i) slots[i].type = types[i];
  for (const Placeholder& placeholder : placeholders_of(catalog_, sql))
    if (placeholder.number >= 1 && static_cast<size_t>(placeholder.number) <= slots.size())
      slots[static_cast<size_t>(placeholder.number - 1)].placeholder = placeholder;
  for (Slot& slot : slots) {
    const Placeholder& one = slot.placeholder;
    for (const Slot& other : slots)
      slot.paired |= one.role == Role::kHigh && other.placeholder.role == Role::kLow &&
                     other.placeholder.table == one.table && other.placeholder.column == one.column &&
                     other.placeholder.use == one.use;
    for (const Slot* other = slots.data(); other != &slot; ++other)
      slot.repeated |= one.role == Role::kValue && other->placeholder.role == Role::kValue &&
                       other->placeholder.table == one.table && other->placeholder.column == one.column &&
                       other->placeholder.use == one.use;
  }
  // A new row must not break a unique index: one of its columns gets a value of its own, not one of a foreign key.
  for (Slot& slot : slots) {
    if (slot.placeholder.role != Role::kInserted) continue;
    const Table& table = *slot.placeholder.table;
    const auto is_foreign = [&](const std::string& column) {
      return std::ranges::any_of(catalog_.foreign_keys, [&](const ForeignKey& key) {
        return key.table == table.oid && std::ranges::find(key.columns, column) != key.columns.end();
      });
    };
    for (const Index& index : table.indexes) {
      if (!index.definition.unique) continue;
      const auto first = std::ranges::find_if(
          index.definition.keys, [&](const IndexKey& key) { return !key.is_expression && !is_foreign(key.text); });
      if (first != index.definition.keys.end() && first->text == slot.placeholder.column) slot.fresh = true;
    }
  }
  return slots;
}

Values ConstantsDrawer::one_set(const std::vector<Slot>& slots, int set) {
  std::map<int, Row> rows;
  for (const Slot& slot : slots) {
    const Placeholder& placeholder = slot.placeholder;
    if (placeholder.table != nullptr && !rows.contains(placeholder.use))
      rows[placeholder.use] = row_of(*placeholder.table, placeholder.use, set);
  }
  Values values(slots.size());
  // Keys before what is under them.
  for (const bool keys : {true, false})
    for (size_t i = 0; i < slots.size(); ++i)
      if ((slots[i].placeholder.role == Role::kKey) == keys)
        values[i] = value(slots[i], rows[slots[i].placeholder.use], set);
  for (size_t high = 0; high < slots.size(); ++high)
    for (size_t low = 0; low < slots.size() && slots[high].paired; ++low) {
      const Placeholder &upper = slots[high].placeholder, &lower = slots[low].placeholder;
      if (lower.role == Role::kLow && lower.column == upper.column && lower.use == upper.use &&
          less(values[high], values[low], upper.numeric))
        std::swap(values[low], values[high]);
    }
  return values;
}

Value ConstantsDrawer::value(const Slot& slot, const Row& row, int set) {
  const Placeholder& placeholder = slot.placeholder;
  const auto usual = [&](const auto& numbers) {
    return std::to_string(numbers[static_cast<size_t>(set) % numbers.size()]);
  };
  if (placeholder.role == Role::kLimit) return usual(kLimits);
  if (placeholder.role == Role::kLimitOfOne) return "1";
  if (placeholder.role == Role::kOffset) return usual(kOffsets);
  if (slot.type == "regconfig") return "simple";  // words are drawn as the index has them
  if (placeholder.table == nullptr) return by_type(slot.type, set);
  if (placeholder.role == Role::kLow || placeholder.role == Role::kHigh) {
    const Column* column = placeholder.table->column(placeholder.column);
    const bool near_the_end = placeholder.role == Role::kLow || slot.paired || is_interval(slot.type);
    if (is_time(*column) && near_the_end) return time_bound(slot, set);
  }
  Value value =
      slot.type.ends_with("[]") && placeholder.role == Role::kValue ? array_of(slot, set) : from_row(slot, row, set);
  if (slot.fresh) return fresh(slot, value, set);
  return value ? value : by_type(slot.type, set);
}

Value ConstantsDrawer::from_row(const Slot& slot, const Row& row, int set) {
  const Placeholder& placeholder = slot.placeholder;
  const auto found = row.values.find(placeholder.column);
  Value known = found == row.values.end() ? Value() : found->second;
  // Of another row: bounds of a range, the second of IN ($1, $2), a new value.
  const bool another = placeholder.role == Role::kHigh || placeholder.role == Role::kLow ||
                       placeholder.role == Role::kUpdated || slot.repeated || !known;
  if (another) {
    const Sample& sample = sample_of(*placeholder.table);
    const auto column = std::ranges::find(placeholder.table->columns, placeholder.column, &Column::name);
    const auto position = static_cast<size_t>(column - placeholder.table->columns.begin());
    // A key and what is under it are of one document.
    const bool of_document = placeholder.role == Role::kKey || placeholder.role == Role::kKeyValue;
    const uint64_t salt = of_document ? 0 : static_cast<uint64_t>(placeholder.number);
    const size_t start = pick(sample.size(), set, placeholder.use, salt);
    for (size_t i = 0; i < sample.size() && (i == 0 || !known); ++i)
      if (const Value& other = sample[(start + i) % sample.size()].at(position)) known = other;
  }
  if (!known) return known;
  switch (placeholder.role) {
    case Role::kPattern: {
      const std::string text = folded(without_wildcards(*known), placeholder.function);
      return set % 2 == 0 ? prefix(text, kPrefix) + "%" : "%" + word_of(text, static_cast<size_t>(set)) + "%";
    }
    case Role::kWord:
      return word_of(*known, static_cast<size_t>(set));
    case Role::kElement: {
      const std::vector<std::string> all = elements(*known);
      if (all.empty()) return slot.type.ends_with("[]") ? Value("{}") : Value();
      const std::string& one = all[pick(all.size(), set, placeholder.use, 1)];
      return slot.type.ends_with("[]") ? array_text({one}) : one;
    }
    case Role::kDocument:
    case Role::kKey:
    case Role::kKeyValue:
      return document_part(slot, *known);
    default:
      return folded(*known, placeholder.function);
  }
}

Value ConstantsDrawer::array_of(const Slot& slot, int set) {
  std::vector<std::string> values;
  for (int i = 0; i < kInList; ++i) {
    Slot one = slot;
    one.type = slot.type.substr(0, slot.type.size() - 2);
    one.placeholder.number += i * 1000;
    if (const auto found = from_row(one, {}, set)) values.push_back(*found);
  }
  return array_text(values);
}

constexpr const char* kUnderKey = "/* cairn tune */ SELECT $1::jsonb ->> $2";
constexpr const char* kPart = "/* cairn tune */ SELECT jsonb_build_object($2::text, $1::jsonb -> $2)::text";

// A key of a document, what is under it, or both.
Value ConstantsDrawer::document_part(const Slot& slot, const std::string& document) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const Placeholder& placeholder = slot.placeholder;
  const bool whole = placeholder.role == Role::kDocument;
  if (parser.parse(document).get(object) != simdjson::SUCCESS) return whole ? Value(document) : Value();
  std::vector<std::string> keys;
  for (const auto field : object)
    if (!placeholder.numeric || field.value.is_number()) keys.emplace_back(field.key);
  if (keys.empty()) return {};
  // The same for the key and for what is under it.
  std::string key = keys[mixed(seed_ ^ std::hash<std::string>()(document)) % keys.size()];
  if (!placeholder.key.empty()) key = placeholder.key;
  if (placeholder.role == Role::kKey) return slot.type.ends_with("[]") ? Value(array_text({key})) : Value(key);
  return session_.query(whole ? kPart : kUnderKey, {document, key}).at(0).at(0);
}

// Where new data is: from some days before its end to its end, which may be long ago.
Value ConstantsDrawer::time_bound(const Slot& slot, int set) {
  const Placeholder& placeholder = slot.placeholder;
  const Times& times = times_of(*placeholder.table, placeholder.column);
  const double range = times.last - times.first;
  const auto number = static_cast<size_t>(set) % kSpans.size();
  const double span = range > kSpans[number] * 2 ? kSpans[number] : range * kShares[number];
  const double bound = placeholder.role == Role::kHigh ? times.last : times.last - span;
  if (is_interval(slot.type)) return fmt::format("{} seconds", std::llround(std::max(times.now - bound, 1.0)));
  return timestamp(bound);
}

constexpr const char* kLargest = "SELECT max({})::text FROM {}";

Value ConstantsDrawer::fresh(const Slot& slot, const Value& like, int set) {
  const Placeholder& placeholder = slot.placeholder;
  const Column& column = *placeholder.table->column(placeholder.column);
  if (column.type == "uuid") {
    const std::string digits = sha256_hex(fmt::format("{} {} {}", seed_, set, placeholder.use));
    return digits.substr(0, 8) + "-" + digits.substr(8, 4) + "-4" + digits.substr(13, 3) + "-8" + digits.substr(17, 3) +
           "-" + digits.substr(20, 12);
  }
  if (column.category == 'N') {
    const std::string sql =
        own(fmt::format(kLargest, db::quote_identifier(placeholder.column), qualified(*placeholder.table)));
    const Value largest = session_.query(sql).at(0).at(0);
    const int64_t number = largest ? std::strtoll(largest->c_str(), nullptr, 10) : 0;
    return std::to_string(number + 1 + set * 100 - placeholder.use);
  }
  if (column.category == 'S') return prefix(like.value_or(""), 20) + fmt::format("-cairn-{}-{}", set, -placeholder.use);
  return like;
}

Value ConstantsDrawer::by_type(const std::string& type, int set) const {
  const auto number = static_cast<size_t>(set);
  if (type.ends_with("[]")) return "{}";
  if (type == "boolean") return set % 2 == 0 ? "true" : "false";
  for (const char* numeric : {"smallint", "integer", "bigint", "numeric", "real", "double precision"})
    if (type == numeric) return std::to_string(set + 1);
  if (type == "text" || type.starts_with("character")) return std::string(1, static_cast<char>('a' + set % 26));
  if (is_interval(type)) return fmt::format("{} seconds", std::llround(kSpans[number % kSpans.size()]));
  if (type.starts_with("timestamp") || type == "date") {
    const auto now = session_.query(own("SELECT extract(epoch FROM now())::text")).at(0).at(0);
    return timestamp(std::strtod(now->c_str(), nullptr) - kSpans[number % kSpans.size()]);
  }
  if (type == "json" || type == "jsonb") return "{}";
  if (type == "oid") return std::to_string(set + 1);
  if (type == "name") return std::string(1, static_cast<char>('a' + set % 26));
  if (type == "inet" || type == "cidr") return "127.0.0.1";
  if (type == "bytea") return "\\x";
  if (type.starts_with("time ")) return "12:00:00";
  if (type == "uuid") return "00000000-0000-4000-8000-000000000000";
  return {};
}

// One row of the table, in which as much as possible is known; a row for each use and set.
ConstantsDrawer::Row ConstantsDrawer::row_of(const Table& table, int use, int set) {
  const Sample& sample = sample_of(table);
  Row row;
  if (sample.empty()) return row;
  const Values& chosen = sample[pick(sample.size(), set, use, 0)];
  for (size_t i = 0; i < table.columns.size(); ++i) row.values[table.columns[i].name] = chosen[i];
  return row;
}

const ConstantsDrawer::Sample& ConstantsDrawer::sample_of(const Table& table) {
  if (const auto known = samples_.find(table.oid); known != samples_.end()) return known->second;
  std::string columns;
  for (const Column& column : table.columns)
    columns += (columns.empty() ? "" : ", ") + db::quote_identifier(column.name) + "::text";
  const std::string from = own("SELECT " + columns + " FROM " + qualified(table));
  const auto share = [](double wanted, double all) {
    return std::clamp(100 * wanted / std::max(all, 1.0), 0.001, 100.0);
  };
  const std::string clause =
      table.pages <= kFewPages ? fmt::format("BERNOULLI ({:.6f})", share(kSampledRows, table.rows))
                               : fmt::format("SYSTEM ({:.6f})", share(kSampledPages, static_cast<double>(table.pages)));
  Sample sample;
  try {
    if (table.indexable())
      sample = session_.query(fmt::format("{} TABLESAMPLE {} REPEATABLE ({})", from, clause, seed_ % 1000000));
    if (sample.empty()) sample = session_.query(fmt::format("{} LIMIT {}", from, static_cast<int>(kSampledRows)));
  } catch (const db::DbError& error) {
    if (error.sqlstate() != "42501") throw;
    sample = statistics_of(table);
  }
  // A scan that another one shares begins anywhere.
  std::ranges::sort(sample);
  return samples_.emplace(table.oid, std::move(sample)).first->second;
}

constexpr const char* kStatistics =
    "/* cairn tune */ SELECT s.attname::text, coalesce(s.most_common_vals::text::text[], '{}')::text, "
    "coalesce(s.most_common_freqs::text[], '{}')::text, coalesce(s.histogram_bounds::text::text[], '{}')::text "
    "FROM pg_stats s WHERE s.schemaname = $1 AND s.tablename = $2";

// Rows that never were, with the values that pg_stats knows, as often as it says.
ConstantsDrawer::Sample ConstantsDrawer::statistics_of(const Table& table) {
  Sample sample(static_cast<size_t>(kSampledRows), Values(table.columns.size()));
  for (const Values& known : session_.query(kStatistics, {table.name.schema, table.name.name})) {
    const auto column = std::ranges::find(table.columns, *known[0], &Column::name);
    if (column == table.columns.end()) continue;
    const auto position = static_cast<size_t>(column - table.columns.begin());
    const std::vector<std::string> common = elements(*known[1]), shares = elements(*known[2]),
                                   bounds = elements(*known[3]);
    size_t row = 0;
    for (size_t i = 0; i < std::min(common.size(), shares.size()); ++i)
      for (double left = std::strtod(shares[i].c_str(), nullptr) * kSampledRows; left >= 0.5 && row < sample.size();
           --left)
        sample[row++][position] = common[i];
    for (size_t i = 0; row < sample.size() && !bounds.empty(); ++i) sample[row++][position] = bounds[i % bounds.size()];
  }
  return sample;
}

constexpr const char* kTimes =
    "/* cairn tune */ SELECT extract(epoch FROM min(t.v))::text, extract(epoch FROM max(t.v))::text, "
    "extract(epoch FROM now())::text FROM unnest($1::text[]) AS s(v), LATERAL (SELECT s.v::timestamptz AS v) t";
constexpr const char* kLastBound =
    "/* cairn tune */ SELECT b[1], b[cardinality(b)] FROM (SELECT histogram_bounds::text::text[] AS b FROM pg_stats "
    "WHERE schemaname = $1 AND tablename = $2 AND attname = $3 LIMIT 1) s WHERE b IS NOT NULL";

const ConstantsDrawer::Times& ConstantsDrawer::times_of(const Table& table, const std::string& column) {
  const auto key = std::pair(table.oid, column);
  if (const auto known = times_.find(key); known != times_.end()) return known->second;
  const auto found = std::ranges::find(table.columns, column, &Column::name);
  const auto position = static_cast<size_t>(found - table.columns.begin());
  std::vector<std::string> values;
  for (const Values& row : sample_of(table))
    if (const Value& value = row.at(position); value && !value->ends_with("infinity")) values.push_back(*value);
  for (const Values& bounds : session_.query(kLastBound, {table.name.schema, table.name.name, column}))
    for (const Value& bound : bounds)
      if (bound && !bound->ends_with("infinity")) values.push_back(*bound);
  const Values read = session_.query(kTimes, {array_text(values)}).at(0);
  const double now = std::strtod(read[2].value_or("0").c_str(), nullptr);
  Times times{.first = now - kSpans.back() * 4, .last = now, .now = now};
  if (read[0] && read[1]) times = {std::strtod(read[0]->c_str(), nullptr), std::strtod(read[1]->c_str(), nullptr), now};
  return times_.emplace(key, times).first->second;
}

}  // namespace cairn::tuner
