// Turns the bytes of a connection into requests: owns the buffer that bytes are read into, drives Beast's parser over
// it and holds it to what Beast leaves open (one Host, one Content-Length, no encoding but chunked, a bounded header
// however it trickles in). Knows nothing of sockets, so that a test or a fuzzer can feed it any cut of any bytes.
//
// For each request: read_header() until true, read_body() until true, next(). Whenever one answers false it needs more
// bytes: read them into space() and commit() them. Bytes beyond the request's end stay for the next one (pipelining).
// Every function throws Error for a request that must be refused; the reader cannot be used after that.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "http/message.h"

namespace cairn::http {

// What a header says about the body behind it and the connection.
struct Framing {
  bool http_1_1 = true;
  bool keep_alive = false;
  bool chunked = false;
  bool expects_continue = false;
  uint64_t content_length = 0;
};

class RequestReader {
 public:
  explicit RequestReader(uint32_t max_header_bytes);
  ~RequestReader();

  std::span<char> space();
  void commit(size_t bytes) { end_ += bytes; }
  size_t buffered() const { return end_ - begin_; }
  // Some of the current request has arrived.
  bool started() const { return header_bytes_ > 0 || buffered() > 0; }

  bool read_header(Request& request);
  // Valid once read_header() has answered true.
  const Framing& framing() const { return framing_; }
  // Appends what has arrived of the body to `out`.
  bool read_body(std::string& out);
  bool body_done() const;
  void next();

 private:
  class Parser;
  void check_header(Request& request);
  void grow(size_t capacity);

  const uint32_t max_header_bytes_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t header_bytes_ = 0;  // consumed of this request's header
  bool header_done_ = false;
  bool chunk_line_pending_ = false;
  Framing framing_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Fills path and query from raw_target, in origin, absolute or asterisk form. An absolute form's authority replaces
// Host.
void parse_target(Request& request);
// The part of a target that the router matches: still encoded, without scheme, authority and query.
std::string_view raw_path(std::string_view raw_target);

}  // namespace cairn::http
