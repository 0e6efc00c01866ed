// The bytes in front of a response's body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace cairn::http {

struct HeadOptions {
  bool http_1_1 = true;
  bool keep_alive = true;
  // Neither length nor chunked: the body ends with the connection, or there is none (204, 304).
  std::optional<uint64_t> content_length;
  bool chunked = false;
  std::string_view request_id;
};

// Appends status line, fields and the empty line. Control characters in a handler's field values become spaces, so that
// no value can begin a field of its own.
void append_head(std::string& out, const Response& response, const HeadOptions& options);

}  // namespace cairn::http
