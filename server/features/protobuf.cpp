#include "features/protobuf.h"

#include <simdjson.h>

#include "base/error.h"

namespace cairn::features::protobuf {
namespace {

enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

Error damaged() { return invalid("the file is no Feast registry, or is damaged: it must be a registry.db of Feast's"); }

}  // namespace

void Message::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

Message& Message::number(uint32_t field, uint64_t value) {
  if (value == 0) return *this;
  varint(field << 3 | kVarint);
  varint(value);
  return *this;
}

Message& Message::text(uint32_t field, std::string_view value) {
  if (value.empty()) return *this;
  varint(field << 3 | kBytes);
  varint(value.size());
  bytes_ += value;
  return *this;
}

Message& Message::message(uint32_t field, const Message& value) {
  varint(field << 3 | kBytes);
  varint(value.bytes_.size());
  bytes_ += value.bytes_;
  return *this;
}

std::string Field::text() const {
  const std::string_view text = message();
  if (text.find('\0') != text.npos || !simdjson::validate_utf8(text.data(), text.size())) throw damaged();
  return std::string(text);
}

std::string_view Field::message() const {
  if (!bytes) throw damaged();
  return *bytes;
}

uint64_t Reader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw damaged();
}

std::string_view Reader::take(uint64_t length) {
  if (length > bytes_.size()) throw damaged();
  const std::string_view taken = bytes_.substr(0, length);
  bytes_.remove_prefix(length);
  return taken;
}

std::optional<Field> Reader::next() {
  if (bytes_.empty()) return std::nullopt;
  const uint64_t tag = varint();
  Field field;
  field.number = static_cast<uint32_t>(tag >> 3);
  if (tag >> 3 == 0 || tag >> 32 != 0) throw damaged();
  switch (tag & 7) {
    case kVarint:
      field.value = varint();
      break;
    case kFixed64:
    case kFixed32:
      take((tag & 7) == kFixed64 ? 8 : 4);  // none that is read here
      break;
    case kBytes:
      field.bytes = take(varint());
      break;
    default:
      throw damaged();
  }
  return field;
}

}  // namespace cairn::features::protobuf
