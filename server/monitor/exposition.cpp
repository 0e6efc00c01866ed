#include "monitor/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace cairn::monitor {
namespace {

Error bad_line(std::string_view line, const char* what) {
  return invalid("a line of metrics is " + std::string(what) + ": " + std::string(line.substr(0, 200)));
}

bool is_name_character(char c) {
  return c == '_' || c == ':' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Reads name="value" pairs behind the brace at `at`, and leaves `at` behind the closing one.
Labels read_labels(std::string_view line, size_t& at) {
  Labels labels;
  for (++at; at < line.size() && line[at] != '}';) {
    const size_t begin = at;
    while (at < line.size() && is_name_character(line[at])) ++at;
    std::string name(line.substr(begin, at - begin));
    if (name.empty() || line.substr(at, 2) != "=\"") throw bad_line(line, "without a label's name or value");
    std::string value;
    for (at += 2; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] != '\\' || at + 1 == line.size()) {
        value += line[at];
        continue;
      }
      ++at;
      value += line[at] == 'n' ? '\n' : line[at];
    }
    if (at >= line.size()) throw bad_line(line, "cut off in a label");
    labels.emplace_back(std::move(name), std::move(value));
    if (++at < line.size() && line[at] == ',') ++at;
  }
  if (at >= line.size()) throw bad_line(line, "cut off in its labels");
  ++at;
  return labels;
}

double read_number(std::string_view line, std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || (end != text.data() + text.size() && *end != ' '))
    throw bad_line(line, "without a number");
  return value;
}

}  // namespace

std::string label_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (value.empty()) continue;
    if (!text.empty()) text += ',';
    text += name + "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n')
        text += "\\n";
      else
        text += c;
    }
    text += '"';
  }
  return text;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::abs(value) < 1e15 && value == std::trunc(value)) return std::to_string(static_cast<int64_t>(value));
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

std::string bound_text(double bound) { return fmt::format("{:g}", bound); }

void Exposition::family(std::string_view name, std::string_view type, std::string_view help) {
  for (const std::string_view part : {std::string_view("# HELP "), name, std::string_view(" "), help,
                                      std::string_view("\n# TYPE "), name, std::string_view(" "), type})
    out_ += part;
  out_ += '\n';
}

void Exposition::sample(std::string_view name, std::string_view labels, double value) {
  out_ += name;
  if (!labels.empty()) {
    out_ += '{';
    out_ += labels;
    out_ += '}';
  }
  out_ += ' ';
  out_ += number_text(value);
  out_ += '\n';
}

std::vector<Sample> read_exposition(std::string_view text, const std::function<bool(std::string_view)>& wanted) {
  std::vector<Sample> samples;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#') continue;
    size_t at = 0;
    while (at < line.size() && is_name_character(line[at])) ++at;
    if (at == 0) throw bad_line(line, "without a name");
    if (!wanted(line.substr(0, at))) continue;
    Sample sample;
    sample.name = line.substr(0, at);
    if (at < line.size() && line[at] == '{') sample.labels = read_labels(line, at);
    if (at >= line.size() || line[at] != ' ') throw bad_line(line, "without a value");
    sample.value = read_number(line, line.substr(at + 1));
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace cairn::monitor
