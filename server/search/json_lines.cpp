#include "search/json_lines.h"

#include <fmt/format.h>

#include <exception>

#include "base/error.h"

namespace cairn::search {
namespace {

// A document's text may be escaped throughout, and bring a vector.
constexpr size_t kMaxLine = 2 * kMaxDocument;

}  // namespace

task<> JsonLines::feed(std::string_view piece) {
  while (!piece.empty()) {
    const size_t end = std::min(piece.find('\n'), piece.size());
    if (line_.size() + end > kMaxLine) {
      co_await ingest_.flush();
      throw invalid(
          fmt::format("{}:{}: the line has more than {} bytes: split the document", name_, number_ + 1, kMaxLine));
    }
    line_.append(piece.substr(0, end));
    if (end == piece.size()) co_return;
    piece.remove_prefix(end + 1);
    co_await line();
  }
}

task<> JsonLines::line() {
  ++number_;
  const std::string place = fmt::format("{}:{}", name_, number_);
  std::exception_ptr failure;
  try {
    if (line_.find_first_not_of(" \t\r") != line_.npos) {
      const json::Document parsed(line_);
      Document document = document_of(json::root_fields(parsed), place, place);
      line_.clear();
      co_await ingest_.add(std::move(document));
    }
  } catch (const Error& error) {
    const std::string what = error.what();
    failure = std::make_exception_ptr(Error(error.code(), what.starts_with(place) ? what : place + ": " + what));
  }
  line_.clear();
  if (!failure) co_return;
  co_await ingest_.flush();
  std::rethrow_exception(failure);
}

task<> JsonLines::finish() {
  if (!line_.empty()) co_await line();
  co_await ingest_.flush();
}

}  // namespace cairn::search
