#include <fmt/format.h>

#include "base/error.h"
#include "features/records.h"

namespace cairn::features {
namespace {

constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
constexpr uint32_t kCritical = 0xFFFF0000;  // flags of what a reader must know
constexpr uint16_t kTrailer = 0xFFFF;
constexpr uint32_t kNull = 0xFFFFFFFF;

}  // namespace

// Big-endian, at `at`, which it moves. Nothing: not there yet.
std::optional<uint32_t> BinaryReader::number(size_t& at, size_t bytes) const {
  if (buffer_.size() - at < bytes) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(buffer_[at + i]);
  at += bytes;
  return value;
}

bool BinaryReader::parse_head() {
  size_t at = kSignature.size();
  if (!std::string_view(buffer_).starts_with(std::string_view(kSignature).substr(0, buffer_.size())))
    throw invalid("the file is none of COPY's binary format: its signature is missing");
  if (buffer_.size() < at) return false;
  const auto flags = number(at, 4);
  const auto extension = flags ? number(at, 4) : std::nullopt;
  if (!extension) return false;
  if ((*flags & kCritical) != 0 || *extension > max_record_)
    throw invalid("the file's header has an extension that is not known");
  if (buffer_.size() - at < *extension) return false;
  begin_ = at + *extension;
  started_ = true;
  return true;
}

// The row at begin_. False: it is not whole yet.
bool BinaryReader::parse() {
  size_t at = begin_;
  const auto count = number(at, 2);
  if (!count) return false;
  record_.clear();
  if (*count == kTrailer) {
    finished_ = true;
    return true;
  }
  for (uint32_t i = 0; i < *count; ++i) {
    const auto length = number(at, 4);
    if (!length) return false;
    if (*length == kNull) {
      record_.emplace_back();
      continue;
    }
    if (*length > max_record_)
      throw invalid(fmt::format("row {}: a field of {} bytes; at most {} are read", row_ + 1, *length, max_record_));
    if (buffer_.size() - at < *length) return false;
    record_.emplace_back(std::string_view(buffer_).substr(at, *length));
    at += *length;
  }
  begin_ = at;
  ++row_;
  return true;
}

task<const Record*> BinaryReader::next() {
  while (!finished_) {
    if ((started_ || parse_head()) && parse()) {
      if (finished_) break;
      co_return &record_;
    }
    if (ended_) throw invalid(fmt::format("the file ends in the middle of row {}", row_ + 1));
    buffer_.erase(0, begin_);
    begin_ = 0;
    if (buffer_.size() > max_record_)
      throw invalid(fmt::format("row {} is longer than {} bytes", row_ + 1, max_record_));
    auto piece = co_await in_->next();
    if (piece)
      buffer_ += *piece;
    else
      ended_ = true;
  }
  co_return nullptr;
}

}  // namespace cairn::features
