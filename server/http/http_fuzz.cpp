// needs: base/error.cpp http/message.cpp http/request_reader.cpp
// The way from bytes to requests: whatever arrives, in whatever pieces, the reader must not crash, must keep its
// bounds, and must see the same requests however the bytes were cut. Percent-decoding and query strings on the side.
#include <simdjson.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "http/request_reader.h"

namespace {

using namespace cairn;
using namespace cairn::http;

constexpr uint32_t kMaxHeader = 2048;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const Request& request) {
  require(!request.method.empty());
  require(request.path.find('\0') == std::string::npos);
  require(simdjson::validate_utf8(request.path));
  require(raw_path(request.raw_target).size() <= request.raw_target.size() + 1);
  for (const auto& [name, value] : request.headers) {
    require(std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; }));
    require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  for (const auto& [key, value] : request.query) {
    require(simdjson::validate_utf8(key) && simdjson::validate_utf8(value));
    require(key.find('\0') == std::string::npos && value.find('\0') == std::string::npos);
  }
}

// Every complete request, written out. Cut lengths come from the bytes of `cuts`, again and again; without any, all is
// fed at once.
std::string feed(std::string_view bytes, std::string_view cuts) {
  RequestReader reader(kMaxHeader);
  std::string seen;
  Request request;
  bool in_body = false;
  size_t cut = 0;
  try {
    for (;;) {
      const bool done = in_body ? reader.read_body(request.body) : reader.read_header(request);
      if (done && !in_body) check(request);
      if (done && in_body) {
        require(reader.framing().chunked || request.body.size() == reader.framing().content_length);
        seen += request.method + ' ' + request.raw_target + '\n' + request.body + '\n';
        for (const auto& [name, value] : request.headers) seen += name + ':' + value + '\n';
        request = Request();
        reader.next();
      }
      if (done) {
        in_body = !in_body;
        continue;
      }
      if (bytes.empty()) return seen;
      const auto space = reader.space();
      require(!space.empty());
      const size_t wanted = cuts.empty() ? bytes.size() : 1 + static_cast<unsigned char>(cuts[cut++ % cuts.size()]);
      const size_t count = std::min({wanted, space.size(), bytes.size()});
      std::memcpy(space.data(), bytes.data(), count);
      reader.commit(count);
      bytes.remove_prefix(count);
    }
  } catch (const Error& e) {
    require(http_status(e.code()) >= 400 && http_status(e.code()) < 600);
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t cut_count = size == 0 ? 0 : data[0] % 8;
  bytes.remove_prefix(std::min<size_t>(size, 1));
  const std::string_view cuts = bytes.substr(0, cut_count);
  bytes.remove_prefix(cuts.size());

  // Whether the rest is refused may differ: in pieces, the end that would show it may not have come yet.
  require(feed(bytes, {}) == feed(bytes, cuts));

  const auto decoded = percent_decode(bytes, false);
  require(!decoded || decoded->size() <= bytes.size());
  if (const auto query = parse_query(bytes)) {
    for (const auto& [key, value] : *query) require(key.size() + value.size() <= bytes.size());
  }
  return 0;
}
