#include "features/records.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "base/error.h"

namespace cairn::features {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

Error at_line(size_t line, const std::string& what) { return invalid(fmt::format("line {}: {}", line, what)); }

}  // namespace

// A quoted field, from behind its first quote to behind its last. False: it is not whole yet.
bool CsvReader::parse_quoted(size_t& at) {
  const size_t begin = unquoted_.size();
  for (;;) {
    const size_t quote = buffer_.find('"', at);
    if (quote == std::string::npos) {
      if (ended_) throw at_line(line_, "a quote is opened and never closed");
      return false;
    }
    unquoted_.append(buffer_, at, quote - at);
    at = quote + 1;
    if (at == buffer_.size() && !ended_) return false;  // it may be doubled
    if (at == buffer_.size() || buffer_[at] != '"') break;
    unquoted_ += '"';
    ++at;
  }
  record_.emplace_back(std::string_view(unquoted_).substr(begin));
  return true;
}

// One field and what ends it. False: it is not whole yet.
bool CsvReader::parse_field(size_t& at, bool& last) {
  if (at < buffer_.size() && buffer_[at] == '"') {
    if (!parse_quoted(++at)) return false;
  } else {
    const size_t end = std::min(buffer_.find_first_of(",\r\n\"", at), buffer_.size());
    if (end == buffer_.size() && !ended_) return false;
    if (end < buffer_.size() && buffer_[end] == '"')
      throw at_line(line_, "a quote in the middle of a field: quote the whole field, and double the quotes in it");
    record_.emplace_back();
    if (end > at) record_.back() = std::string_view(buffer_).substr(at, end - at);
    at = end;
  }
  if (at == buffer_.size()) {
    last = true;
    return ended_;
  }
  last = buffer_[at] != ',';
  if (buffer_[at] == '\r') {
    if (at + 1 == buffer_.size() && !ended_) return false;
    if (at + 1 < buffer_.size() && buffer_[at + 1] == '\n') ++at;
  } else if (last && buffer_[at] != '\n') {
    throw at_line(line_, "a comma or the line's end is expected behind a quoted field");
  }
  ++at;
  return true;
}

void CsvReader::take(std::string_view record) {
  if (!simdjson::validate_utf8(record) || record.find('\0') != std::string_view::npos)
    throw at_line(line_, "the text is not UTF-8");
  next_line_ = line_ + static_cast<size_t>(std::ranges::count(record, '\n'));
}

// The record at begin_. False: it is not whole yet.
bool CsvReader::parse() {
  size_t at = begin_;
  line_ = next_line_;
  record_.clear();
  unquoted_.clear();
  unquoted_.reserve(buffer_.size() - begin_);  // so that what points into it stays
  for (bool last = false; !last;) {
    if (!parse_field(at, last)) return false;
  }
  take(std::string_view(buffer_).substr(begin_, at - begin_));
  begin_ = at;
  return true;
}

task<const Record*> CsvReader::next() {
  for (;;) {
    if (begin_ < buffer_.size() && (started_ || ended_ || buffer_.size() >= kByteOrderMark.size())) {
      if (!started_ && buffer_.starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
      started_ = true;
      if (parse()) {
        if (record_.size() > 1 || record_.front()) co_return &record_;
        continue;
      }
    }
    if (ended_) co_return nullptr;
    buffer_.erase(0, begin_);
    begin_ = 0;
    if (buffer_.size() > kMaxRecord) throw at_line(line_, fmt::format("a record is longer than {} bytes", kMaxRecord));
    auto piece = co_await in_->next();
    if (piece)
      buffer_ += *piece;
    else
      ended_ = true;
  }
}

namespace {

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

void append_csv_field(std::string& out, std::string_view text) {
  if (text.empty() || text.find_first_of(",\"\r\n") != std::string_view::npos)
    append_quoted(out, text);
  else
    out += text;
}

std::string csv_field(std::string_view text) {
  std::string field;
  // At the beginning of a file it would be taken for no part of the field.
  if (text.starts_with(kByteOrderMark))
    append_quoted(field, text);
  else
    append_csv_field(field, text);
  return field;
}

}  // namespace cairn::features
