// PostgreSQL's binary form of an array of one dimension (array_send).
#pragma once

#include <endian.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace cairn::db {

inline uint32_t read32(const char* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return be32toh(value);
}
inline uint64_t read64(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return be64toh(value);
}

inline size_t element_count(std::string_view bytes) {
  return bytes.size() < 20 || read32(bytes.data()) == 0 ? 0 : read32(bytes.data() + 12);
}

// Walks it and calls fn(bytes) for each element; for a NULL, the bytes have no address.
template <class F>
void for_each_nullable(std::string_view bytes, F fn) {
  const size_t count = element_count(bytes);
  const char* at = bytes.data() + 20;
  for (size_t i = 0; i < count; ++i) {
    const int32_t length = static_cast<int32_t>(read32(at));
    at += 4;
    fn(length < 0 ? std::string_view() : std::string_view(at, static_cast<size_t>(length)));
    at += std::max(length, 0);
  }
}

}  // namespace cairn::db
