#include "http/request_reader.h"

#include <simdjson.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>
#include <optional>

#include "base/error.h"

namespace cairn::http {
namespace {

namespace beast = boost::beast;
using beast::error_code;
using BeastView = beast::string_view;

constexpr size_t kSmallBuffer = 4096;
constexpr size_t kBodyBuffer = 64u << 10;
constexpr size_t kMinSpace = 1024;
constexpr size_t kMaxFields = 128;
// A chunk's size line with extensions, or the trailer after the last chunk.
constexpr size_t kMaxChunkLine = 8192;
// "0\r\n\r\n": no chunked body ends with less. Beast asserts that it has as much when it looks at a last line again.
constexpr size_t kShortestEnd = 5;

std::string to_string(BeastView view) { return std::string(view.data(), view.size()); }

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

bool is_clean_text(std::string_view text) {
  return text.find('\0') == text.npos && simdjson::validate_utf8(text.data(), text.size());
}

Error refusal(const error_code& ec) {
  if (ec == beast::http::error::header_limit)
    return Error(ErrorCode::kHeaderTooLarge, "The request's header is too long");
  return Error(ErrorCode::kBadRequest, "Malformed HTTP request: " + ec.message());
}

}  // namespace

// Beast's grammar, writing straight into our Request. Its own limits are off but for the header's.
class RequestReader::Parser : public beast::http::basic_parser<true> {
 public:
  explicit Parser(uint32_t max_header_bytes) {
    header_limit(max_header_bytes);
    body_limit(boost::none);
  }
  Request* request = nullptr;
  std::string* body = nullptr;
  bool http_1_1 = true;

 private:
  void on_request_impl(beast::http::verb, BeastView method, BeastView target, int version, error_code&) override {
    request->method = to_string(method);
    request->raw_target = to_string(target);
    http_1_1 = version == 11;
  }
  void on_field_impl(beast::http::field, BeastView name, BeastView value, error_code&) override {
    if (is_header_done()) return;  // a trailer
    if (request->headers.size() >= kMaxFields) {
      throw Error(ErrorCode::kHeaderTooLarge,
                  "The request has more than " + std::to_string(kMaxFields) + " header fields");
    }
    auto& field = request->headers.emplace_back(to_string(name), to_string(value));
    for (char& c : field.first) {
      if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    }
  }
  size_t append(BeastView piece) {
    body->append(piece.data(), piece.size());
    return piece.size();
  }
  size_t on_body_impl(BeastView piece, error_code&) override { return append(piece); }
  size_t on_chunk_body_impl(uint64_t, BeastView piece, error_code&) override { return append(piece); }
  void on_response_impl(int, BeastView, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  void on_chunk_header_impl(uint64_t, BeastView, error_code&) override {}
  void on_finish_impl(error_code&) override {}
};

struct RequestReader::Impl {
  std::optional<Parser> parser;
};

RequestReader::RequestReader(uint32_t max_header_bytes)
    : max_header_bytes_(max_header_bytes), impl_(std::make_unique<Impl>()) {
  impl_->parser.emplace(max_header_bytes_);
}

RequestReader::~RequestReader() = default;

void RequestReader::grow(size_t capacity) {
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  if (buffered() > 0) std::memcpy(larger.get(), buffer_.get() + begin_, buffered());
  end_ -= begin_;
  begin_ = 0;
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

std::span<char> RequestReader::space() {
  if (begin_ == end_) begin_ = end_ = 0;
  size_t wanted = kSmallBuffer;
  if (header_done_)
    wanted = framing_.chunked ? kBodyBuffer : std::clamp<uint64_t>(framing_.content_length, kSmallBuffer, kBodyBuffer);
  if (capacity_ < wanted) {
    grow(wanted);
  } else if (capacity_ - end_ < kMinSpace) {
    if (capacity_ - buffered() >= kMinSpace) {
      std::memmove(buffer_.get(), buffer_.get() + begin_, buffered());
      end_ -= begin_;
      begin_ = 0;
    } else {
      grow(capacity_ * 2);  // bounded: what is buffered is, by the checks after each step of the parser
    }
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

bool RequestReader::read_header(Request& request) {
  if (header_bytes_ == 0) {
    // An empty line before a request is tolerated, as RFC 9112 asks.
    while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) ++begin_;
  }
  Parser& parser = *impl_->parser;
  parser.request = &request;
  while (!parser.is_header_done()) {
    if (begin_ == end_) return false;
    error_code ec;
    const size_t used = parser.put({buffer_.get() + begin_, buffered()}, ec);
    begin_ += used;
    header_bytes_ += used;
    const bool more = ec == beast::http::error::need_more;
    if (header_bytes_ + (more ? buffered() : 0) > max_header_bytes_) throw refusal(beast::http::error::header_limit);
    if (more) return false;
    if (ec) throw refusal(ec);
  }
  header_done_ = true;
  check_header(request);
  parse_target(request);
  return true;
}

void RequestReader::check_header(Request& request) {
  const Parser& parser = *impl_->parser;
  int hosts = 0;
  int lengths = 0;
  framing_ = {.http_1_1 = parser.http_1_1, .keep_alive = parser.keep_alive(), .chunked = parser.chunked()};
  framing_.content_length = parser.content_length().value_or(0);
  for (const auto& [name, value] : request.headers) {
    if (name == "host") {
      ++hosts;
    } else if (name == "content-length") {
      if (++lengths > 1 || value.find_first_not_of("0123456789") != value.npos) {
        throw Error(ErrorCode::kBadRequest, "Malformed HTTP request: Content-Length must be one number");
      }
    } else if (name == "transfer-encoding") {
      if (!framing_.http_1_1)
        throw Error(ErrorCode::kBadRequest, "Malformed HTTP request: Transfer-Encoding in HTTP/1.0");
      if (!equals_ignoring_case(value, "chunked")) {
        throw Error(ErrorCode::kNotImplemented, "Transfer-Encoding may only be chunked");
      }
    } else if (name == "expect") {
      if (!equals_ignoring_case(value, "100-continue"))
        throw Error(ErrorCode::kBadRequest, "Expect may only be 100-continue");
      framing_.expects_continue = framing_.http_1_1;
    }
  }
  if (hosts > 1 || (hosts == 0 && framing_.http_1_1)) {
    throw Error(ErrorCode::kBadRequest, "Malformed HTTP request: there must be one Host field");
  }
}

bool RequestReader::read_body(std::string& out) {
  Parser& parser = *impl_->parser;
  parser.body = &out;
  while (!parser.is_done()) {
    if (buffered() < (chunk_line_pending_ ? kShortestEnd : 1)) return false;
    error_code ec;
    begin_ += parser.put({buffer_.get() + begin_, buffered()}, ec);
    chunk_line_pending_ = ec == beast::http::error::need_more;
    if (chunk_line_pending_) {
      if (buffered() > kMaxChunkLine)
        throw Error(ErrorCode::kBadRequest, "Malformed HTTP request: chunk line too long");
      return false;
    }
    if (ec) throw refusal(ec);
  }
  return true;
}

bool RequestReader::body_done() const { return impl_->parser->is_done(); }

void RequestReader::next() {
  impl_->parser.emplace(max_header_bytes_);
  header_bytes_ = 0;
  header_done_ = chunk_line_pending_ = false;
  framing_ = {};
  // An idle connection keeps no buffer that only a body needed.
  if (buffered() == 0 && capacity_ > kSmallBuffer) {
    buffer_.reset();
    capacity_ = begin_ = end_ = 0;
  }
}

namespace {

// Length of "http://authority" at the front of an absolute-form target; 0 for another form.
size_t authority_end(std::string_view target) {
  const size_t scheme = target.find("://");
  if (target.starts_with('/') || scheme == target.npos) return 0;
  return std::min(target.find_first_of("/?", scheme + 3), target.size());
}

}  // namespace

std::string_view raw_path(std::string_view raw_target) {
  raw_target.remove_prefix(authority_end(raw_target));
  const std::string_view path = raw_target.substr(0, raw_target.find('?'));
  return path.empty() ? "/" : path;
}

void parse_target(Request& request) {
  const std::string_view target = request.raw_target;
  const size_t authority = authority_end(target);
  if (authority > 0) {
    const size_t start = target.find("://") + 3;
    const std::string_view scheme = target.substr(0, start - 3);
    if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) {
      throw Error(ErrorCode::kBadRequest, "The request's target has an unknown scheme");
    }
    for (auto& [name, value] : request.headers) {
      if (name == "host") value = target.substr(start, authority - start);
    }
  } else if (!target.starts_with('/') && !(target == "*" && request.method == "OPTIONS")) {
    throw Error(ErrorCode::kBadRequest, "The request's target must begin with a slash");
  }
  if (target.find('#') != target.npos) throw Error(ErrorCode::kBadRequest, "The request's target has a fragment");
  auto path = percent_decode(raw_path(target), false);
  if (!path || !is_clean_text(*path)) {
    throw Error(ErrorCode::kBadRequest,
                "The request's path is not valid: it must be percent-encoded UTF-8 without NUL");
  }
  request.path = std::move(*path);
  request.query.clear();
  const size_t mark = target.find('?');
  if (mark == target.npos) return;
  auto query = parse_query(target.substr(mark + 1));
  const auto is_clean = [](const auto& pair) { return is_clean_text(pair.first) && is_clean_text(pair.second); };
  if (!query || !std::all_of(query->begin(), query->end(), is_clean)) {
    throw Error(ErrorCode::kBadRequest,
                "The request's query is not valid: it must be percent-encoded UTF-8 without NUL");
  }
  request.query = std::move(*query);
}

}  // namespace cairn::http
