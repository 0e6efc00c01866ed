// protobuf's wire format, as far as a file of Feast's needs it: numbers, bytes, messages in messages. By hand, because
// libprotobuf would bring a generator and 140 message types for a few dozen fields.
// https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::features::protobuf {

// A message in the making. An empty string, 0 and false are left out, as proto3 does.
class Message {
 public:
  Message& number(uint32_t field, uint64_t value);
  Message& text(uint32_t field, std::string_view value);
  Message& message(uint32_t field, const Message& value);
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);
  std::string bytes_;
};

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;                     // of a varint
  std::optional<std::string_view> bytes;  // text or a message

  // Throws Error(kInvalidParameterValue) for what is no UTF-8, or holds a zero byte.
  std::string text() const;
  // Throws Error(kInvalidParameterValue) when it is a number.
  std::string_view message() const;
};

// The fields of a message in their order. It looks only at the bytes that it was given, and makes nothing of them.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  // Nothing at the end. Throws Error(kInvalidParameterValue) where the bytes are no message.
  std::optional<Field> next();

 private:
  uint64_t varint();
  std::string_view take(uint64_t length);
  std::string_view bytes_;
};

}  // namespace cairn::features::protobuf
