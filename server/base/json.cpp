#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace cairn::json {
namespace {

// Length of the valid UTF-8 sequence at `at`, or 0 (RFC 3629: no overlong forms, no surrogates).
size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  const auto continuation = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continuation(at + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return continuation(at + 1, low, high) && continuation(at + 2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return continuation(at + 1, low, high) && continuation(at + 2) && continuation(at + 3) ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& out, unsigned char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  size_t plain = 0;
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = text[i];
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      if (const size_t length = utf8_length(text, i)) {
        i += length;
        continue;
      }
    }
    out.append(text, plain, i - plain);
    if (c >= 0x80) {
      out += "\xEF\xBF\xBD";
    } else {
      append_escaped(out, c);
    }
    plain = ++i;
  }
  out.append(text, plain, text.size() - plain);
  out += '"';
}

// In MLflow's words, which its clients and users know: two spaces, and Python's name of the type.
[[noreturn]] void wrong_type(std::string_view name, std::string value, const char* type) {
  if (size_t end = 200; value.size() > end) {
    while ((static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;  // not in the middle of a character
    value = value.substr(0, end) + "...";
  }
  throw invalid("Invalid value " + value + " for parameter '" + std::string(name) +
                "' supplied:  Hint: Value was of type '" + type +
                "'. See the API docs for more information about request parameters.");
}

[[noreturn]] void wrong_type(std::string_view name, const simdjson::dom::element& element) {
  using Type = simdjson::dom::element_type;
  const Type type = element.type();
  wrong_type(name, simdjson::minify(element),
             type == Type::STRING   ? "str"
             : type == Type::ARRAY  ? "list"
             : type == Type::OBJECT ? "dict"
             : type == Type::BOOL   ? "bool"
             : type == Type::DOUBLE ? "float"
                                    : "int");
}

// PostgreSQL's text holds no NUL: refused here, once for all.
std::string checked_text(std::string_view name, std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    throw invalid("Invalid value for parameter '" + std::string(name) + "' supplied: it holds a NUL character.");
  }
  return std::string(text);
}

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  if (text == "NaN") return std::nan("");
  if (text == "Infinity") return HUGE_VAL;
  if (text == "-Infinity") return -HUGE_VAL;
  double value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

void Writer::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}
void Writer::open(char c) {
  separate();
  out_ += c;
  first_ = true;
}
void Writer::close(char c) {
  out_ += c;
  first_ = false;
}
void Writer::key(std::string_view name) {
  separate();
  append_quoted(out_, name);
  out_ += ':';
  first_ = true;
}
void Writer::string(std::string_view value) {
  separate();
  append_quoted(out_, value);
}
void Writer::integer(int64_t value) {
  separate();
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out_.append(text, end);
}
void Writer::number(double value) {
  if (std::isnan(value)) return string("NaN");
  if (std::isinf(value)) return string(value > 0 ? "Infinity" : "-Infinity");
  separate();
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out_.append(text, end);
  // A whole number keeps its point, as Python writes it: without it, readers take a large one for an integer too big.
  if (std::find_if(text, end, [](char c) { return c == '.' || c == 'e'; }) == end) out_ += ".0";
}
void Writer::boolean(bool value) { raw(value ? "true" : "false"); }
void Writer::null() { raw("null"); }
void Writer::raw(std::string_view text) {
  separate();
  out_ += text;
}

std::string quote(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

Document::Document(std::string_view text) {
  if (const auto error = parser_.allocate(text.size() + 1, 64)) {
    throw Error(ErrorCode::kInternalError, simdjson::error_message(error));
  }
  if (const auto error = parser_.parse(text.data(), text.size()).get(root_)) {
    throw invalid(std::string("The request's body is not valid JSON: ") + simdjson::error_message(error));
  }
}

std::optional<simdjson::dom::element> Fields::find(std::string_view name) const {
  simdjson::dom::element element;
  if (!object_ || object_->at_key(name).get(element) || element.is_null()) return std::nullopt;
  return element;
}

const std::string* Fields::argument(std::string_view name) const {
  if (arguments_ == nullptr) return nullptr;
  for (const auto& [key, value] : *arguments_) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool Fields::has(std::string_view name) const { return find(name) || argument(name); }

std::optional<std::string> Fields::string(std::string_view name) const {
  if (const auto* text = argument(name)) return checked_text(name, *text);
  const auto element = find(name);
  if (!element) return std::nullopt;
  std::string_view text;
  if (element->get(text)) wrong_type(name, *element);
  return checked_text(name, text);
}

std::optional<int64_t> Fields::integer(std::string_view name) const {
  std::string_view text;
  if (const auto* given = argument(name)) {
    text = *given;
  } else {
    const auto element = find(name);
    if (!element) return std::nullopt;
    int64_t integer = 0;
    if (!element->get(integer)) return integer;
    double number = 0;
    // 1e3 and 5.0 are integers in protobuf's JSON; 2^63 and beyond are not.
    if (!element->get(number) && number == std::floor(number) && std::abs(number) < 9.2e18) {
      return static_cast<int64_t>(number);
    }
    if (element->get(text)) wrong_type(name, *element);
  }
  const auto parsed = parse_integer(text);
  if (!parsed) wrong_type(name, quote(text), "str");
  return parsed;
}

std::optional<double> Fields::number(std::string_view name) const {
  std::string_view text;
  if (const auto* given = argument(name)) {
    text = *given;
  } else {
    const auto element = find(name);
    if (!element) return std::nullopt;
    double number = 0;
    if (!element->get(number)) return number;
    if (element->get(text)) wrong_type(name, *element);
  }
  const auto parsed = parse_number(text);
  if (!parsed) wrong_type(name, quote(text), "str");
  return parsed;
}

std::optional<bool> Fields::boolean(std::string_view name) const {
  if (const auto* text = argument(name)) {
    if (*text == "true" || *text == "True" || *text == "1") return true;
    if (*text == "false" || *text == "False" || *text == "0") return false;
    wrong_type(name, quote(*text), "str");
  }
  const auto element = find(name);
  if (!element) return std::nullopt;
  bool value = false;
  if (element->get(value)) wrong_type(name, *element);
  return value;
}

// Calls read(item) with each item of a list, and complains where that gives false.
template <class Read>
static void each_item(const Fields& fields, std::string_view name, Read read) {
  const auto element = fields.find(name);
  if (!element) return;
  simdjson::dom::array array;
  if (element->get(array)) wrong_type(name, *element);
  for (const auto item : array)
    if (!read(item)) wrong_type(name, *element);
}

std::vector<std::string> Fields::strings(std::string_view name) const {
  std::vector<std::string> values;
  if (arguments_ != nullptr) {
    for (const auto& [key, value] : *arguments_) {
      if (key == name) values.push_back(checked_text(name, value));
    }
    return values;
  }
  each_item(*this, name, [&](simdjson::dom::element item) {
    std::string_view text;
    const bool good = item.get(text) == simdjson::SUCCESS;
    if (good) values.push_back(checked_text(name, text));
    return good;
  });
  return values;
}

std::vector<int64_t> Fields::integers(std::string_view name) const {
  std::vector<int64_t> values;
  each_item(*this, name,
            [&](simdjson::dom::element item) { return item.get(values.emplace_back()) == simdjson::SUCCESS; });
  return values;
}

std::vector<Fields> Fields::objects(std::string_view name) const {
  std::vector<Fields> values;
  each_item(*this, name, [&](simdjson::dom::element item) {
    simdjson::dom::object object;
    const bool good = item.get(object) == simdjson::SUCCESS;
    if (good) values.emplace_back(object);
    return good;
  });
  return values;
}

std::optional<Fields> Fields::object(std::string_view name) const {
  const auto element = find(name);
  if (!element) return std::nullopt;
  simdjson::dom::object object;
  if (element->get(object)) wrong_type(name, *element);
  return Fields(object);
}

std::optional<std::string> Fields::raw(std::string_view name) const {
  if (const auto* text = argument(name)) return quote(*text);
  const auto element = find(name);
  if (!element) return std::nullopt;
  return simdjson::minify(*element);
}

namespace {
template <class T>
T required(std::string_view name, std::optional<T> value) {
  if (!value) {
    throw invalid("Missing value for required parameter '" + std::string(name) +
                  "'. See the API docs for more information about request parameters.");
  }
  return *std::move(value);
}
}  // namespace

std::string Fields::required_string(std::string_view name) const {
  auto value = required(name, string(name));
  // protobuf knows no difference between an empty and an absent string.
  if (value.empty()) return required<std::string>(name, std::nullopt);
  return value;
}
int64_t Fields::required_integer(std::string_view name) const { return required(name, integer(name)); }
double Fields::required_number(std::string_view name) const { return required(name, number(name)); }

Fields root_fields(const Document& document) {
  simdjson::dom::object object;
  if (document.root().get(object)) {
    throw invalid("The request's body is not a JSON object.");
  }
  return Fields(object);
}

}  // namespace cairn::json
