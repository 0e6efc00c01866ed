// needs: base/error.cpp base/json.cpp db/statement.cpp
// needs: search/chunks.cpp search/filter.cpp search/html.cpp
// needs: search/text.cpp

// Whatever a document holds, its text is UTF-8 that is no longer than it was, and its chunks are within their size. A
// filter is refused with an Error, or its SQL holds no value.
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "base/json.h"
#include "search/filter.h"
#include "search/text.h"

namespace {

using namespace cairn;

size_t characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

void read_document(search::Format format, std::string_view bytes, size_t size) {
  try {
    const search::Extracted document = search::extract(format, bytes, "x");
    fuzz::require(simdjson::validate_utf8(document.content) && simdjson::validate_utf8(document.title));
    fuzz::require(document.content.size() <= bytes.size());
    for (const std::string_view chunk : search::chunks_of(document.content, size, size / 3)) {
      fuzz::require(!chunk.empty() && characters(chunk) <= size && simdjson::validate_utf8(chunk));
    }
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const auto format : {search::Format::kText, search::Format::kMarkdown, search::Format::kHtml})
    read_document(format, bytes, 3 + data[0]);
  try {
    const json::Document filter(bytes);
    db::Params params;
    const std::string sql = search::filter_sql(filter.root(), "m", params);
    fuzz::require_bound(sql, params.size());
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue || error.code() == ErrorCode::kBadRequest);
  }
  return 0;
}
