// Records of a stream: CSV, and PostgreSQL's binary COPY format.
//
// Memory is bounded by the longest record allowed (kMaxRecord), whatever the stream holds.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "http/message.h"

namespace cairn::features {

inline constexpr size_t kMaxRecord = 4u << 20;

using Record = std::vector<std::optional<std::string_view>>;  // NULL is absent

class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // The next record, valid until the next call; nullptr at the end. Throws Error(kInvalidParameterValue) that names
  // the place for what is none, or too long.
  virtual task<const Record*> next() = 0;
  // Where the record is: "line 7".
  virtual std::string place() const = 0;
};

// As RFC 4180 and PostgreSQL have it: a field without quotes in which nothing stands is NULL. Empty lines are passed
// over. What is not UTF-8 is refused.
class CsvReader : public RecordReader {
 public:
  explicit CsvReader(std::unique_ptr<http::BodyStream> in) : in_(std::move(in)) {}

  task<const Record*> next() override;
  std::string place() const override { return "line " + std::to_string(line_); }

 private:
  bool parse();
  bool parse_field(size_t& at, bool& last);
  bool parse_quoted(size_t& at);
  void take(std::string_view record);

  std::unique_ptr<http::BodyStream> in_;
  std::string buffer_;
  std::string unquoted_;  // of quoted fields
  size_t begin_ = 0;      // of what was not parsed yet
  bool ended_ = false;
  bool started_ = false;
  size_t line_ = 1, next_line_ = 1;  // from 1
  Record record_;
};

// COPY … (FORMAT binary), as PostgreSQL's documentation of COPY describes it. Fields are the bytes of their type's
// binary form.
class BinaryReader : public RecordReader {
 public:
  explicit BinaryReader(std::unique_ptr<http::BodyStream> in, size_t max_record = kMaxRecord)
      : in_(std::move(in)), max_record_(max_record) {}

  task<const Record*> next() override;
  std::string place() const override { return "row " + std::to_string(row_); }

 private:
  bool parse_head();
  bool parse();
  std::optional<uint32_t> number(size_t& at, size_t bytes) const;

  std::unique_ptr<http::BodyStream> in_;
  size_t max_record_;
  std::string buffer_;
  size_t begin_ = 0;
  bool ended_ = false, started_ = false, finished_ = false;
  size_t row_ = 0;
  Record record_;
};

// The field as it is written.
void append_csv_field(std::string& out, std::string_view text);
std::string csv_field(std::string_view text);

}  // namespace cairn::features
