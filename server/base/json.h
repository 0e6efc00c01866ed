// JSON in by simdjson (exact doubles), JSON out by a small writer on std::to_chars (shortest form that reads back
// equal).
//
// Values follow protobuf's JSON mapping, as MLflow's clients write it: an int64 may come as a number or a string of
// digits; a double may be "NaN", "Infinity" or "-Infinity"; an absent field and null are the same.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::json {

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  void key(std::string_view name);
  // Invalid UTF-8 is replaced by U+FFFD.
  void string(std::string_view value);
  void integer(int64_t value);
  // NaN and infinities become the strings "NaN", "Infinity", "-Infinity".
  void number(double value);
  void boolean(bool value);
  void null();
  // `text` must be JSON.
  void raw(std::string_view text);

  void field(std::string_view name, std::string_view value) { key(name), string(value); }
  void field(std::string_view name, const std::string& value) { key(name), string(value); }
  void field(std::string_view name, const char* value) { key(name), string(value); }
  void field(std::string_view name, int64_t value) { key(name), integer(value); }
  void field(std::string_view name, int value) { key(name), integer(value); }
  void field(std::string_view name, uint64_t value) { key(name), integer(static_cast<int64_t>(value)); }
  void field(std::string_view name, double value) { key(name), number(value); }
  void field(std::string_view name, bool value) { key(name), boolean(value); }
  // Writes nothing when there is no value.
  template <class T>
  void field(std::string_view name, const std::optional<T>& value) {
    if (value) field(name, *value);
  }

 private:
  void separate();
  void open(char c);
  void close(char c);

  std::string& out_;
  bool first_ = true;
};

std::string quote(std::string_view text);

// One parsed text. Fields and elements taken from it are valid while it lives.
class Document {
 public:
  // Throws Error(kInvalidParameterValue) when the text is not JSON. Nesting is bounded at 64.
  explicit Document(std::string_view text);
  simdjson::dom::element root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

// Named values of a request, read from a JSON object or from query arguments, checked for their type.
// A value of the wrong type throws Error(kInvalidParameterValue, "Invalid value … for parameter '…' supplied…").
class Fields {
 public:
  using Arguments = std::vector<std::pair<std::string, std::string>>;

  explicit Fields(simdjson::dom::object object) : object_(object) {}
  explicit Fields(const Arguments& arguments) : arguments_(&arguments) {}

  bool has(std::string_view name) const;
  // A value of any type that came as JSON; nothing where it is absent or null.
  std::optional<simdjson::dom::element> find(std::string_view name) const;
  std::optional<std::string> string(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name) const;
  std::optional<double> number(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;
  // A list of strings; from query arguments: the key as often as it is there. Absent is empty.
  std::vector<std::string> strings(std::string_view name) const;
  // A list of numbers; absent is empty.
  std::vector<int64_t> integers(std::string_view name) const;
  // A list of objects; absent is empty.
  std::vector<Fields> objects(std::string_view name) const;
  std::optional<Fields> object(std::string_view name) const;
  // The value as JSON text, of any type.
  std::optional<std::string> raw(std::string_view name) const;

  // Like the above, but an absent value throws "Missing value for required parameter '…'…".
  std::string required_string(std::string_view name) const;
  int64_t required_integer(std::string_view name) const;
  double required_number(std::string_view name) const;

 private:
  const std::string* argument(std::string_view name) const;

  std::optional<simdjson::dom::object> object_;
  const Arguments* arguments_ = nullptr;
};

// The object at the document's root, or Error(kInvalidParameterValue) when it is something else.
Fields root_fields(const Document& document);

}  // namespace cairn::json
