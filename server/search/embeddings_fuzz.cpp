// needs: base/error.cpp base/json.cpp search/endpoint_answer.cpp
// Whatever an endpoint answers is refused with an Error, or gives a vector for each text, all of one length and finite.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "search/endpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  if (size == 0) return 0;
  const size_t texts = data[0] % 5;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto vectors = search::parse_embeddings(body, texts);
    fuzz::require(vectors.size() == texts);
    for (const auto& vector : vectors) {
      fuzz::require(!vector.empty() && vector.size() == vectors[0].size());
      for (const float x : vector) fuzz::require(std::isfinite(x));
    }
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue || error.code() == ErrorCode::kBadRequest);
  }
  return 0;
}
