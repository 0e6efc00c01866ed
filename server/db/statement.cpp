#include "db/statement.h"

#include <endian.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include "db/array.h"

namespace cairn::db {
namespace {

// Type oids of PostgreSQL's pg_type.dat; they never change.
constexpr Oid kBool = 16, kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kJson = 114, kName = 19, kFloat4 = 700,
              kFloat8 = 701, kVarchar = 1043, kUuid = 2950, kJsonb = 3802, kTimestamptz = 1184, kInt4Array = 1007,
              kInt8Array = 1016, kFloat8Array = 1022, kTextArray = 1009, kVarcharArray = 1015;
// Milliseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
constexpr int64_t kPostgresEpochMs = 946684800000;

[[noreturn]] void wrong_column(const char* wanted, Oid type) {
  throw std::logic_error(std::string("column read as ") + wanted + " has type oid " + std::to_string(type));
}

template <class F>
void for_each_element(std::string_view bytes, F fn) {
  for_each_nullable(bytes, [&fn](std::string_view element) {
    if (element.data() == nullptr) throw std::logic_error("NULL in an array that must not hold one");
    fn(element);
  });
}

ErrorCode code_of(std::string_view sqlstate) {
  const auto group = sqlstate.substr(0, 2);
  if (group == "08" || sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03" || sqlstate == "53300" ||
      sqlstate == "25006" || sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "57014" || sqlstate == "55P03") {
    return ErrorCode::kTemporarilyUnavailable;
  }
  if (sqlstate == "53100") return ErrorCode::kInsufficientStorage;
  return ErrorCode::kInternalError;
}

std::string described(const std::string& sqlstate, const std::string& message, const std::string& statement) {
  std::string text = message;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return "PostgreSQL: " + text + " [" + sqlstate + (statement.empty() ? "" : ", statement " + statement) + "]";
}

}  // namespace

void Params::begin(Oid type) {
  types_.push_back(type);
  offsets_.push_back(bytes_.size());
}
void Params::end() { lengths_.push_back(static_cast<int>(bytes_.size() - offsets_.back())); }
void Params::put16(uint16_t value) {
  value = htobe16(value);
  bytes_.append(reinterpret_cast<const char*>(&value), 2);
}
void Params::put32(uint32_t value) {
  value = htobe32(value);
  bytes_.append(reinterpret_cast<const char*>(&value), 4);
}
void Params::put64(uint64_t value) {
  value = htobe64(value);
  bytes_.append(reinterpret_cast<const char*>(&value), 8);
}
void Params::array_header(size_t count, bool has_null, Oid element) {
  put32(count == 0 ? 0 : 1);
  put32(has_null ? 1 : 0);
  put32(element);
  if (count == 0) return;
  put32(static_cast<uint32_t>(count));
  put32(1);
}

Params& Params::add(std::string_view text) {
  begin(kText);
  bytes_ += text;
  end();
  return *this;
}
Params& Params::add(int32_t value) {
  begin(kInt4);
  put32(static_cast<uint32_t>(value));
  end();
  return *this;
}
Params& Params::add(int64_t value) {
  begin(kInt8);
  put64(static_cast<uint64_t>(value));
  end();
  return *this;
}
Params& Params::add(double value) {
  begin(kFloat8);
  put64(std::bit_cast<uint64_t>(value));
  end();
  return *this;
}
Params& Params::add(bool value) {
  begin(kBool);
  bytes_ += value ? '\1' : '\0';
  end();
  return *this;
}
Params& Params::add(Jsonb value) {
  begin(kJsonb);
  bytes_ += '\1';  // version of jsonb's binary format
  bytes_ += value.text;
  end();
  return *this;
}
Params& Params::add(std::span<const int32_t> values) {
  begin(kInt4Array);
  array_header(values.size(), false, kInt4);
  for (const int32_t value : values) put32(4), put32(static_cast<uint32_t>(value));
  end();
  return *this;
}
Params& Params::add(std::span<const int64_t> values) {
  begin(kInt8Array);
  array_header(values.size(), false, kInt8);
  for (const int64_t value : values) put32(8), put64(static_cast<uint64_t>(value));
  end();
  return *this;
}
Params& Params::add(std::span<const double> values) {
  begin(kFloat8Array);
  array_header(values.size(), false, kFloat8);
  for (const double value : values) put32(8), put64(std::bit_cast<uint64_t>(value));
  end();
  return *this;
}
Params& Params::add(std::span<const std::string> values) {
  begin(kTextArray);
  array_header(values.size(), false, kText);
  for (const std::string& value : values) put32(static_cast<uint32_t>(value.size())), bytes_ += value;
  end();
  return *this;
}
Params& Params::add(const std::vector<std::optional<std::string>>& values) {
  begin(kTextArray);
  array_header(values.size(), true, kText);
  for (const auto& value : values) {
    if (value) {
      put32(static_cast<uint32_t>(value->size())), bytes_ += *value;
    } else {
      put32(0xFFFFFFFFu);
    }
  }
  end();
  return *this;
}
template <class Number>
Params& Params::add_nullable(Oid array, Oid element, const std::vector<std::optional<Number>>& values) {
  begin(array);
  array_header(values.size(), true, element);
  for (const auto& value : values) {
    if (value) {
      put32(8), put64(std::bit_cast<uint64_t>(*value));
    } else {
      put32(0xFFFFFFFFu);
    }
  }
  end();
  return *this;
}
Params& Params::add(const std::vector<std::optional<int64_t>>& values) {
  return add_nullable(kInt8Array, kInt8, values);
}
Params& Params::add(const std::vector<std::optional<double>>& values) {
  return add_nullable(kFloat8Array, kFloat8, values);
}
Params& Params::add(std::span<const Params> records) {
  // The type's oid is the database's own. None is given: PostgreSQL takes that of the text, and the elements' then
  // (array_recv).
  begin(InvalidOid);
  array_header(records.size(), false, InvalidOid);
  for (const Params& record : records) {
    const size_t fields = record.size();
    size_t length = 4 + 8 * fields;
    for (size_t i = 0; i < fields; ++i)
      if (record.offsets_[i] != kNull) length += static_cast<size_t>(record.lengths_[i]);
    put32(static_cast<uint32_t>(length));
    put32(static_cast<uint32_t>(fields));
    for (size_t i = 0; i < fields; ++i) {
      put32(record.types_[i]);
      if (record.offsets_[i] == kNull) {
        put32(0xFFFFFFFFu);
        continue;
      }
      put32(static_cast<uint32_t>(record.lengths_[i]));
      bytes_.append(record.bytes_, record.offsets_[i], static_cast<size_t>(record.lengths_[i]));
    }
  }
  end();
  return *this;
}

std::string_view Rows::bytes(int row, int column) const {
  if (row >= size() || column >= PQnfields(result_.get())) throw std::logic_error("row or column out of range");
  if (is_null(row, column)) {
    throw std::logic_error(std::string("column ") + PQfname(result_.get(), column) + " is NULL");
  }
  return {PQgetvalue(result_.get(), row, column), static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

int64_t Rows::affected() const {
  const std::string_view text = PQcmdTuples(result_.get());
  int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

std::string_view Rows::view(int row, int column) const {
  const std::string_view value = bytes(row, column);
  switch (const Oid type = PQftype(result_.get(), column)) {
    case kText:
    case kVarchar:
    case kName:
    case kJson:
      return value;
    case kJsonb:
      return value.substr(1);
    default:
      wrong_column("text", type);
  }
}

std::string Rows::text(int row, int column) const {
  if (PQftype(result_.get(), column) != kUuid) return std::string(view(row, column));
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char c : bytes(row, column)) {
    if (out.size() == 8 || out.size() == 13 || out.size() == 18 || out.size() == 23) out += '-';
    out += kHex[c >> 4];
    out += kHex[c & 15];
  }
  return out;
}

std::optional<std::string> Rows::optional_text(int row, int column) const {
  if (is_null(row, column)) return std::nullopt;
  return text(row, column);
}

int64_t Rows::integer(int row, int column) const {
  const std::string_view value = bytes(row, column);
  switch (const Oid type = PQftype(result_.get(), column)) {
    case kInt8:
      return static_cast<int64_t>(read64(value.data()));
    case kInt4:
      return static_cast<int32_t>(read32(value.data()));
    case kInt2:
      return static_cast<int16_t>((static_cast<unsigned char>(value[0]) << 8) | static_cast<unsigned char>(value[1]));
    default:
      wrong_column("integer", type);
  }
}

std::optional<int64_t> Rows::optional_integer(int row, int column) const {
  if (is_null(row, column)) return std::nullopt;
  return integer(row, column);
}

double Rows::number(int row, int column) const {
  const std::string_view value = bytes(row, column);
  switch (const Oid type = PQftype(result_.get(), column)) {
    case kFloat8:
      return std::bit_cast<double>(read64(value.data()));
    case kFloat4:
      return std::bit_cast<float>(read32(value.data()));
    default:
      wrong_column("double precision", type);
  }
}

bool Rows::boolean(int row, int column) const {
  const std::string_view value = bytes(row, column);
  if (const Oid type = PQftype(result_.get(), column); type != kBool) wrong_column("boolean", type);
  return value[0] != 0;
}

int64_t Rows::timestamp_ms(int row, int column) const {
  const std::string_view value = bytes(row, column);
  if (const Oid type = PQftype(result_.get(), column); type != kTimestamptz) wrong_column("timestamptz", type);
  const int64_t micros = static_cast<int64_t>(read64(value.data()));
  // Rounds down, before 2000 too.
  const int64_t millis = micros >= 0 ? micros / 1000 : -((-micros + 999) / 1000);
  return millis + kPostgresEpochMs;
}

std::optional<int64_t> Rows::optional_timestamp_ms(int row, int column) const {
  if (is_null(row, column)) return std::nullopt;
  return timestamp_ms(row, column);
}

std::vector<int64_t> Rows::integers(int row, int column) const {
  std::vector<int64_t> values;
  if (is_null(row, column)) return values;
  const Oid type = PQftype(result_.get(), column);
  if (type != kInt8Array && type != kInt4Array) wrong_column("integer[]", type);
  for_each_element(bytes(row, column), [&](std::string_view element) {
    values.push_back(type == kInt8Array ? static_cast<int64_t>(read64(element.data()))
                                        : static_cast<int32_t>(read32(element.data())));
  });
  return values;
}

std::vector<double> Rows::numbers(int row, int column) const {
  std::vector<double> values;
  if (is_null(row, column)) return values;
  if (const Oid type = PQftype(result_.get(), column); type != kFloat8Array) wrong_column("double precision[]", type);
  for_each_element(bytes(row, column),
                   [&](std::string_view element) { values.push_back(std::bit_cast<double>(read64(element.data()))); });
  return values;
}

std::vector<std::string> Rows::texts(int row, int column) const {
  std::vector<std::string> values;
  if (is_null(row, column)) return values;
  const Oid type = PQftype(result_.get(), column);
  if (type != kTextArray && type != kVarcharArray) wrong_column("text[]", type);
  for_each_element(bytes(row, column), [&](std::string_view element) { values.emplace_back(element); });
  return values;
}

int64_t Rows::timestamp_us(int row, int column) const {
  const std::string_view value = bytes(row, column);
  if (const Oid type = PQftype(result_.get(), column); type != kTimestamptz) wrong_column("timestamptz", type);
  return static_cast<int64_t>(read64(value.data())) + kPostgresEpochMs * 1000;
}

std::vector<std::optional<int64_t>> Rows::optional_integers(int row, int column) const {
  std::vector<std::optional<int64_t>> values;
  if (is_null(row, column)) return values;
  if (const Oid type = PQftype(result_.get(), column); type != kInt8Array) wrong_column("bigint[]", type);
  values.reserve(element_count(bytes(row, column)));
  for_each_nullable(bytes(row, column), [&](std::string_view element) {
    values.push_back(element.data() == nullptr ? std::nullopt
                                               : std::optional(static_cast<int64_t>(read64(element.data()))));
  });
  return values;
}

std::vector<std::optional<double>> Rows::optional_numbers(int row, int column) const {
  std::vector<std::optional<double>> values;
  if (is_null(row, column)) return values;
  if (const Oid type = PQftype(result_.get(), column); type != kFloat8Array) wrong_column("double precision[]", type);
  values.reserve(element_count(bytes(row, column)));
  for_each_nullable(bytes(row, column), [&](std::string_view element) {
    values.push_back(element.data() == nullptr ? std::nullopt
                                               : std::optional(std::bit_cast<double>(read64(element.data()))));
  });
  return values;
}

std::vector<std::optional<std::string>> Rows::optional_texts(int row, int column) const {
  std::vector<std::optional<std::string>> values;
  if (is_null(row, column)) return values;
  if (const Oid type = PQftype(result_.get(), column); type != kTextArray) wrong_column("text[]", type);
  values.reserve(element_count(bytes(row, column)));
  for_each_nullable(bytes(row, column), [&](std::string_view element) {
    values.push_back(element.data() == nullptr ? std::nullopt : std::optional(std::string(element)));
  });
  return values;
}

DbError::DbError(std::string sqlstate, const std::string& message, std::string statement)
    : Error(code_of(sqlstate), described(sqlstate, message, statement)),
      sqlstate_(std::move(sqlstate)),
      statement_(std::move(statement)) {}

void check_like_pattern(std::string_view pattern) {
  size_t backslashes = 0;
  while (backslashes < pattern.size() && pattern[pattern.size() - 1 - backslashes] == '\\') ++backslashes;
  if (backslashes % 2 == 1)
    throw invalid("Invalid filter: the pattern '" + std::string(pattern) +
                  "' ends with a backslash. Write two to mean one.");
}

std::string quote_identifier(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos)
    throw invalid("an SQL identifier is empty or holds NUL");
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace cairn::db
