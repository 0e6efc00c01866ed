// A request and a response as handlers see them. Knows nothing of sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/task.h"

namespace cairn::http {

// A body in pieces. next() gives the next piece, and nothing at the end. Throws Error when the peer breaks off.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  virtual task<std::optional<std::string>> next() = 0;
  // Length in bytes when it is known beforehand.
  virtual std::optional<uint64_t> size() const { return std::nullopt; }
};

struct Request {
  std::string method;
  // Decoded path, without the query; checked to be valid UTF-8 without NUL. `raw_target` is as it was sent.
  std::string path;
  std::string raw_target;
  // Decoded query arguments in their order; a key may be there several times.
  std::vector<std::pair<std::string, std::string>> query;
  // Names in lower case.
  std::vector<std::pair<std::string, std::string>> headers;
  // The whole body; empty on a streaming route, which reads `stream` instead.
  std::string body;
  std::unique_ptr<BodyStream> stream;
  // What the route's pattern captured, by name, decoded.
  std::map<std::string, std::string, std::less<>> captures;
  // Who the caller is ("" when authentication is off), and the ids for the log.
  std::string user;
  std::string request_id;
  std::string traceparent;
  // Of the kind of objects that the route lists: those that this caller may not read, by name (experiments: by id). A
  // list that does not show them fills its pages; from any other they are taken out afterwards.
  std::vector<std::string> hidden;

  std::string_view header(std::string_view lower_case_name) const;
  std::optional<std::string_view> argument(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // When set, it is sent instead of `body`: with Content-Length when its size is known, else chunked.
  std::unique_ptr<BodyStream> stream;
};

Response json_response(std::string body);
Response text_response(std::string body);

// Percent-decodes; nothing when an escape is malformed. '+' is a space only in a query.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);
// Splits and decodes a query string; nothing when an escape is malformed.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view text);

}  // namespace cairn::http
