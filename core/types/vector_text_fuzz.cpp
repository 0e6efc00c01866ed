// needs: types/text.cpp
// The text formats: whatever the bytes, a text is refused or gives a vector that keeps the type's promises; what was
// read is written and read back the same.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/half.h"
#include "types/input.h"

namespace {

using namespace cairn::core;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string number(float value) {
  char text[40];
  snprintf(text, sizeof(text), "%.9g", static_cast<double>(value));
  return text;
}

float to_float(float value) { return value; }
float to_float(uint16_t value) { return half_to_float(value); }

// A number that is told to be out of range lies within the text.
void check_refused(const InputResult& result, const char* text) {
  if (result.error != InputError::kOutOfRange) return;
  require(result.at >= text && result.length > 0 && result.at + result.length <= text + strlen(text));
}

template <typename Element>
void check_dense(const char* text, InputResult (*parse)(const char*, Element*)) {
  static Element values[kVectorMaxDims];
  const InputResult result = parse(text, values);
  if (result.error != InputError::kNone) return check_refused(result, text);
  require(result.dims >= 1 && result.dims <= kVectorMaxDims);
  std::string written = "[";
  for (int i = 0; i < result.dims; i++) {
    require(std::isfinite(to_float(values[i])));
    written += (i > 0 ? "," : "") + number(to_float(values[i]));
  }
  written += "]";
  static Element back[kVectorMaxDims];
  const InputResult again = parse(written.c_str(), back);
  require(again.error == InputError::kNone && again.dims == result.dims);
  require(memcmp(values, back, sizeof(Element) * static_cast<size_t>(result.dims)) == 0);
}

void check_sparse(const char* text) {
  static int32_t indices[kSparseMaxElements], indices_back[kSparseMaxElements];
  static float values[kSparseMaxElements], back[kSparseMaxElements];
  const InputResult result = parse_sparsevec(text, indices, values);
  if (result.error != InputError::kNone) return check_refused(result, text);
  require(result.dims >= 1 && result.dims <= kSparseMaxDims);
  require(result.elements >= 0 && result.elements <= kSparseMaxElements);
  std::string written = "{";
  for (int i = 0; i < result.elements; i++) {
    require(indices[i] >= 0 && indices[i] < result.dims && (i == 0 || indices[i] > indices[i - 1]));
    require(std::isfinite(values[i]) && values[i] != 0);
    written += (i > 0 ? "," : "") + std::to_string(indices[i] + 1) + ":" + number(values[i]);
  }
  written += "}/" + std::to_string(result.dims);
  const InputResult again = parse_sparsevec(written.c_str(), indices_back, back);
  require(again.error == InputError::kNone && again.dims == result.dims && again.elements == result.elements);
  const auto elements = static_cast<size_t>(result.elements);
  require(memcmp(indices, indices_back, sizeof(int32_t) * elements) == 0);
  require(memcmp(values, back, sizeof(float) * elements) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<char> text = [&] {  // of just its size, so that a read past the NUL is seen
    std::vector<char> copy(size + 1);
    std::memcpy(copy.data(), data, size);
    return copy;
  }();
  check_dense<float>(text.data(), parse_vector);
  check_dense<uint16_t>(text.data(), parse_halfvec);
  check_sparse(text.data());
  return 0;
}
