// Numbers in network order, at any alignment.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace cairn::core {

inline uint16_t swap_bytes(uint16_t value) { return __builtin_bswap16(value); }
inline uint32_t swap_bytes(uint32_t value) { return __builtin_bswap32(value); }

// The same in both directions. T is a number of 2 or 4 bytes.
template <typename T>
T load_network(const uint8_t* from) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;
  Bits bits;
  memcpy(&bits, from, sizeof(bits));
  if constexpr (std::endian::native == std::endian::little) bits = swap_bytes(bits);
  return std::bit_cast<T>(bits);
}

template <typename T>
void store_network(T value, uint8_t* to) {
  const T swapped = load_network<T>(reinterpret_cast<const uint8_t*>(&value));
  memcpy(to, &swapped, sizeof(swapped));
}

}  // namespace cairn::core
