// Bytes that nobody can guess, and bytes as text. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

// From the system's generator, through OpenSSL. Throws Error(kInternalError) when it gives none.
std::string random_bytes(size_t count);
// Two lower-case digits a byte.
std::string to_hex(std::string_view bytes);
// 32 bytes.
std::string sha256(std::string_view bytes);
std::string sha256_hex(std::string_view bytes);
// Base64 (RFC 4648, section 4), with padding.
std::string base64(std::string_view bytes);

}  // namespace cairn
