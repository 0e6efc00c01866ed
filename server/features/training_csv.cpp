#include "features/training_csv.h"

#include <bit>
#include <charconv>
#include <cmath>

#include "db/array.h"

namespace cairn::features {
namespace {

template <class... Format>
size_t put_digits(char (&text)[64], double value, Format... format) {
  return static_cast<size_t>(std::to_chars(text, text + sizeof text, value, format...).ptr - text);
}

// Whether text (d.ddde+xx, read as `value`, which is at least 2^53) lies in the middle of two doubles.
bool is_midpoint(std::string_view text, double value) {
  uint64_t digits = 0;
  int exponent = 0, decimals = 0;
  const size_t e = text.find('e');
  bool behind = false;
  for (const char c : text.substr(0, e)) {
    if (c == '.') behind = true;
    if (c < '0' || c > '9') continue;
    digits = digits * 10 + static_cast<uint64_t>(c - '0');
    decimals += behind;
  }
  std::from_chars(text.data() + e + 2, text.data() + text.size(), exponent);
  exponent -= decimals;
  // With more fives it has more than the 54 bits of a midpoint.
  if (exponent < 0 || exponent > 23) return false;
  unsigned __int128 odd = digits;
  for (int i = 0; i < exponent; ++i) odd *= 5;
  while ((odd & 1) == 0) odd >>= 1;
  constexpr uint64_t kPower = 1ull << 52;
  const uint64_t mantissa = (std::bit_cast<uint64_t>(value) & (kPower - 1)) | kPower;
  if (mantissa == kPower && odd == 4 * mantissa - 1) return true;  // below a power of two they are twice as close
  return odd == 2 * mantissa + 1 || odd == 2 * mantissa - 1;
}

}  // namespace

void append_float8(std::string& out, double value) {
  if (std::isnan(value)) return void(out += "NaN");
  if (std::isinf(value)) return void(out += value > 0 ? "Infinity" : "-Infinity");
  char text[64];
  const double size = std::abs(value);
  if (value == 0 || (size >= 1e-4 && size < 1e15)) {
    out.append(text, put_digits(text, value, std::chars_format::fixed));
    return;
  }
  size_t length = put_digits(text, value, std::chars_format::scientific);
  // PostgreSQL writes no midpoint, which only a reader that rounds to even takes for this value.
  double read = value;
  for (int digits = 1; size >= 0x1p53 && (read != value || is_midpoint({text, length}, value)); ++digits) {
    length = put_digits(text, value, std::chars_format::scientific, digits);
    std::from_chars(text, text + length, read);
  }
  out.append(text, length);
}

namespace {

// Elements of an array; those of a NULL are all NULL.
void read_array(const std::optional<std::string_view>& bytes, std::vector<std::string_view>& elements) {
  elements.clear();
  if (bytes) db::for_each_nullable(*bytes, [&](std::string_view element) { elements.push_back(element); });
}

void append_integer(std::string& out, int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

}  // namespace

TrainingCsv::TrainingCsv(const TrainingSetQuery& query, const PackedSet& packed) : arrays_(packed.arrays + 1) {
  for (size_t i = 0; i < query.references.size(); ++i) {
    const ValueType type = query.references[i].feature->type;
    values_.push_back({packed.places[i], slots_of(type), type == ValueType::kBool});
  }
}

void TrainingCsv::append(std::string& csv, const Record& row) {
  for (size_t i = 0; i < arrays_.size(); ++i) read_array(row.at(i), arrays_[i]);
  bool first = true;
  for (const std::string_view column : arrays_[0]) {
    if (!first) csv += ',';
    first = false;
    if (column.data() != nullptr) append_csv_field(csv, column);
  }
  for (const auto& [place, slots, is_bool] : values_) {
    csv += ',';
    const std::vector<std::string_view>& elements = arrays_[place.array];
    const size_t element = place.element - 1;
    if (element >= elements.size() || elements[element].data() == nullptr) continue;
    const std::string_view bytes = elements[element];
    if (slots == Slots::kDoubles)
      append_float8(csv, std::bit_cast<double>(db::read64(bytes.data())));
    else if (slots == Slots::kTexts)
      append_csv_field(csv, bytes);
    else if (is_bool)
      csv += db::read64(bytes.data()) != 0 ? "true" : "false";
    else
      append_integer(csv, static_cast<int64_t>(db::read64(bytes.data())));
  }
  csv += '\n';
}

}  // namespace cairn::features
