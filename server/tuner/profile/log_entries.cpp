#include "tuner/profile/log_entries.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>

namespace cairn::tuner {
namespace {

constexpr size_t kLongestText = 1 << 18;
constexpr std::string_view kShortened = "...";
// Of a csvlog's line, from 0.
constexpr size_t kCsvDatabase = 2, kCsvSeverity = 11, kCsvMessage = 13, kCsvDetail = 14;

bool take(std::string_view& text, std::string_view beginning) {
  if (!text.starts_with(beginning)) return false;
  text.remove_prefix(beginning.size());
  return true;
}

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// "12.345 ms  "
std::optional<double> take_duration(std::string_view& text) {
  double ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
  std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  if (error != std::errc() || !(ms >= 0 && ms < 1e12) || !take(rest, " ms  ")) return std::nullopt;
  text = rest;
  return ms;
}

bool is_usable(std::string_view text) {
  return !text.empty() && text.size() <= kLongestText && text.find('\0') == text.npos &&
         simdjson::validate_utf8(text.data(), text.size());
}

// The first line of a plan in text: "Seq Scan on t  (cost=0.00..1.01 rows=1 width=4)".
size_t begin_of_plan(std::string_view text) {
  for (size_t at = text.find("  (cost="); at != text.npos; at = text.find("  (cost=", at + 1)) {
    const size_t line = text.rfind('\n', at) + 1;  // 0 when there is none
    if (line > 0 && line < at && text[line] != ' ') return line;
  }
  return text.npos;
}

bool read_text_plan(std::string_view text, LogEntry& entry) {
  if (!take(text, "Query Text: ")) return false;
  const size_t plan = begin_of_plan(text);
  if (plan == text.npos) return false;
  std::string_view head = text.substr(0, plan - 1);
  // PostgreSQL 16 and newer.
  constexpr std::string_view kParameters = "\nQuery Parameters: ";
  if (const size_t at = head.rfind(kParameters); at != head.npos) {
    entry.parameters = logged_parameters(head.substr(at + kParameters.size()));
    head = head.substr(0, at);
  }
  entry.text = head;
  entry.plan = text.substr(plan);
  return true;
}

bool read_json_plan(std::string_view text, LogEntry& entry) {
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(text);
  simdjson::dom::element root;
  std::string_view query, parameters;
  if (parser.parse(padded).get(root) != simdjson::SUCCESS || root["Query Text"].get(query) != simdjson::SUCCESS)
    return false;
  if (root["Query Parameters"].get(parameters) == simdjson::SUCCESS) entry.parameters = logged_parameters(parameters);
  entry.text = query;
  entry.plan = text;
  return true;
}

// A message of severity LOG and its detail.
void add_message(std::string_view message, std::string_view detail, std::vector<LogEntry>& entries) {
  LogEntry entry;
  if (take(message, "duration: ")) {
    entry.ms = take_duration(message);
    if (!entry.ms) return;
  }
  if (entry.ms && take(message, "plan:\n")) {
    if (!(message.starts_with("{") ? read_json_plan(message, entry) : read_text_plan(message, entry))) return;
    if (!is_usable(entry.plan)) return;
  } else if (take(message, "statement: ")) {
    entry.text = message;
  } else if (take(message, "execute ")) {
    const size_t end = message.find(": ");
    if (end == message.npos) return;
    entry.text = message.substr(end + 2);
    if (take(detail, "parameters: ") || take(detail, "Parameters: ")) entry.parameters = logged_parameters(detail);
  } else {
    return;
  }
  if (is_usable(entry.text)) entries.push_back(std::move(entry));
}

// What surrounds the database's name in a line's prefix: "@" and " " of '%m [%p] %q%u@%d '.
std::optional<std::pair<std::string, std::string>> around_database(const std::string& line_prefix) {
  std::string before, after;
  bool found = false;
  for (size_t i = 0; i < line_prefix.size(); ++i) {
    std::string& side = found ? after : before;
    if (line_prefix[i] != '%') {
      side += line_prefix[i];
      continue;
    }
    do ++i;
    while (i < line_prefix.size() && (line_prefix[i] == '-' || (line_prefix[i] >= '0' && line_prefix[i] <= '9')));
    if (i < line_prefix.size() && line_prefix[i] == '%') {
      side += '%';
    } else if (i < line_prefix.size() && line_prefix[i] == 'd' && !found) {
      found = true;
    } else if (found) {
      break;
    } else {
      before.clear();  // what stands right before it counts
    }
  }
  return found ? std::optional(std::pair(before, after)) : std::nullopt;
}

// The end of a line's prefix: where "LOG:  " or another severity in capitals begins.
size_t begin_of_severity(std::string_view line, size_t& end) {
  end = line.find(":  ");
  if (end == line.npos) return line.npos;
  size_t begin = end;
  while (begin > 0 && line[begin - 1] >= 'A' && line[begin - 1] <= 'Z') --begin;
  return begin == end ? line.npos : begin;
}

// Lines that begin with a tab go on with the one before.
std::string take_record(std::string_view& bytes) {
  std::string record(take_line(bytes));
  while (bytes.starts_with('\t')) {
    bytes.remove_prefix(1);
    record += '\n';
    record += take_line(bytes);
  }
  return record;
}

void read_stderr(std::string_view bytes, const LogSource& source, std::vector<LogEntry>& entries) {
  const auto around = around_database(source.line_prefix);
  const std::string mark = around ? around->first + source.database + around->second : std::string();
  std::string message, detail;
  const auto finish = [&] {
    add_message(message, detail, entries);
    message.clear(), detail.clear();
  };
  while (bytes.starts_with('\t')) take_line(bytes);
  while (!bytes.empty()) {
    const std::string record = take_record(bytes);
    size_t end = 0;
    const size_t begin = begin_of_severity(record, end);
    if (begin == record.npos) continue;
    const std::string_view severity = std::string_view(record).substr(begin, end - begin);
    const std::string_view text = std::string_view(record).substr(end + 3);
    if (severity == "DETAIL") {
      detail = text;
    } else if (severity != "STATEMENT" && severity != "CONTEXT" && severity != "HINT") {
      finish();
      if (severity == "LOG" && std::string_view(record).substr(0, begin).find(mark) != record.npos) message = text;
    }
  }
  finish();
}

// False at the end, or where a line is not finished.
bool take_csv(std::string_view& bytes, std::vector<std::string>& fields) {
  fields.assign(1, {});
  bool quoted = false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '"' && quoted && i + 1 < bytes.size() && bytes[i + 1] == '"') {
      fields.back() += c, ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      fields.emplace_back();
    } else if (!quoted && c == '\n') {
      bytes.remove_prefix(i + 1);
      return true;
    } else {
      fields.back() += c;
    }
  }
  return false;
}

// "2026-11-22 04:05:06.789 "
bool begins_csv_line(std::string_view text) {
  constexpr std::string_view kTime = "0000-00-00 00:00:00.000 ";
  if (text.size() < kTime.size()) return false;
  for (size_t i = 0; i < kTime.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kTime[i] == '0' ? !digit : text[i] != kTime[i]) return false;
  }
  return true;
}

void read_csv(std::string_view bytes, const LogSource& source, std::vector<LogEntry>& entries) {
  while (!bytes.empty() && !begins_csv_line(bytes)) take_line(bytes);
  std::vector<std::string> fields;
  while (take_csv(bytes, fields)) {
    if (fields.size() > kCsvDetail && fields[kCsvSeverity] == "LOG" && fields[kCsvDatabase] == source.database)
      add_message(fields[kCsvMessage], fields[kCsvDetail], entries);
  }
}

void read_json(std::string_view bytes, const LogSource& source, std::vector<LogEntry>& entries) {
  simdjson::dom::parser parser;
  while (!bytes.empty()) {
    const simdjson::padded_string line(take_line(bytes));
    simdjson::dom::element root;
    std::string_view database, severity, message, detail;
    if (parser.parse(line).get(root) != simdjson::SUCCESS || root["dbname"].get(database) != simdjson::SUCCESS ||
        root["error_severity"].get(severity) != simdjson::SUCCESS ||
        root["message"].get(message) != simdjson::SUCCESS || database != source.database || severity != "LOG")
      continue;
    if (root["detail"].get(detail) != simdjson::SUCCESS) detail = {};
    add_message(message, detail, entries);
  }
}

}  // namespace

bool tells_database(const LogSource& source) {
  return source.format != LogFormat::kStderr || around_database(source.line_prefix).has_value();
}

std::vector<LogEntry> read_log(std::string_view bytes, const LogSource& source) {
  std::vector<LogEntry> entries;
  if (source.format == LogFormat::kCsv)
    read_csv(bytes, source, entries);
  else if (source.format == LogFormat::kJson)
    read_json(bytes, source, entries);
  else
    read_stderr(bytes, source, entries);
  return entries;
}

Values logged_parameters(std::string_view text) {
  Values values;
  while (!text.empty()) {
    if (!values.empty() && !take(text, ", ")) return {};
    if (!take(text, "$" + std::to_string(values.size() + 1) + " = ")) return {};
    if (take(text, "NULL")) {
      values.emplace_back();
      continue;
    }
    if (!take(text, "'")) return {};
    std::string value;
    bool closed = false;
    size_t at = 0;
    while (at < text.size() && !closed) {
      closed = text[at] == '\'' && (at + 1 == text.size() || text[at + 1] != '\'');
      if (!closed) value += text[at];
      at += text[at] == '\'' && !closed ? 2 : 1;
    }
    if (!closed || value.ends_with(kShortened) || (!value.empty() && !is_usable(value))) return {};
    text.remove_prefix(at);
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace cairn::tuner
