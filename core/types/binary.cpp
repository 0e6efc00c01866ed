// See input.h: the binary formats.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "types/byte_order.h"
#include "types/input.h"

namespace cairn::core {
namespace {

InputResult unexpected_dims(InputResult header) {
  header.error = InputError::kUnexpectedDims;
  return header;
}

InputResult unused_not_zero(int32_t unused) {
  InputResult result = InputResult::failed(InputError::kUnusedNotZero);
  result.unused = unused;
  return result;
}

bool is_nan(float value) { return std::isnan(value); }
bool is_nan(uint16_t half) { return (half & 0x7FFF) > 0x7C00; }
bool is_infinite(float value) { return std::isinf(value); }
bool is_infinite(uint16_t half) { return (half & 0x7FFF) == 0x7C00; }

template <typename Element>
InputResult read_dense(const InputResult& header, const uint8_t* data, size_t size, Element* values) {
  const size_t dims = static_cast<size_t>(header.dims);
  const size_t whole = std::min(dims, (size - header.consumed) / sizeof(Element));
  const uint8_t* from = data + header.consumed;
  for (size_t i = 0; i < whole; i++) {
    values[i] = load_network<Element>(from + i * sizeof(Element));
    if (is_nan(values[i])) return InputResult::failed(InputError::kNaN);
    if (is_infinite(values[i])) return InputResult::failed(InputError::kInfinite);
  }
  if (whole < dims) return InputResult::failed(InputError::kCutOff);
  InputResult result = header;
  result.consumed += dims * sizeof(Element);
  return result;
}

}  // namespace

InputResult read_vector_header(const uint8_t* data, size_t size, int expected_dims) {
  constexpr size_t kSize = 2 * sizeof(int16_t);
  if (size < kSize) return InputResult::failed(InputError::kCutOff);
  InputResult header;
  header.dims = load_network<int16_t>(data);
  header.consumed = kSize;
  if (header.dims < 1) return InputResult::failed(InputError::kNoDims);
  if (header.dims > kVectorMaxDims) return InputResult::failed(InputError::kTooManyDims);
  if (expected_dims != -1 && header.dims != expected_dims) return unexpected_dims(header);
  const int16_t unused = load_network<int16_t>(data + sizeof(int16_t));
  if (unused != 0) return unused_not_zero(unused);
  return header;
}

InputResult read_sparsevec_header(const uint8_t* data, size_t size, int expected_dims) {
  constexpr size_t kSize = 3 * sizeof(int32_t);
  if (size < kSize) return InputResult::failed(InputError::kCutOff);
  InputResult header;
  header.dims = load_network<int32_t>(data);
  header.elements = load_network<int32_t>(data + sizeof(int32_t));
  header.consumed = kSize;
  if (header.dims < 1) return InputResult::failed(InputError::kNoDims);
  if (header.dims > kSparseMaxDims) return InputResult::failed(InputError::kTooManyDims);
  if (header.elements < 0) return InputResult::failed(InputError::kNegativeElements);
  if (header.elements > kSparseMaxElements) return InputResult::failed(InputError::kTooManyElements);
  if (header.elements > header.dims) return InputResult::failed(InputError::kMoreElementsThanDims);
  if (expected_dims != -1 && header.dims != expected_dims) return unexpected_dims(header);
  const int32_t unused = load_network<int32_t>(data + 2 * sizeof(int32_t));
  if (unused != 0) return unused_not_zero(unused);
  return header;
}

InputResult read_vector_elements(const InputResult& header, const uint8_t* data, size_t size, float* values) {
  return read_dense(header, data, size, values);
}
InputResult read_halfvec_elements(const InputResult& header, const uint8_t* data, size_t size, uint16_t* values) {
  return read_dense(header, data, size, values);
}

InputResult read_sparsevec_elements(const InputResult& header, const uint8_t* data, size_t size, int32_t* indices,
                                    float* values) {
  const size_t elements = static_cast<size_t>(header.elements);
  const size_t whole = (size - header.consumed) / sizeof(int32_t);
  const uint8_t* const from = data + header.consumed;
  for (size_t i = 0; i < elements; i++) {
    if (i >= whole) return InputResult::failed(InputError::kCutOff);
    indices[i] = load_network<int32_t>(from + i * sizeof(int32_t));
    if (indices[i] < 0 || indices[i] >= header.dims) return InputResult::failed(InputError::kIndexOutOfBounds);
    if (i > 0 && indices[i] < indices[i - 1]) return InputResult::failed(InputError::kIndexOrder);
    if (i > 0 && indices[i] == indices[i - 1]) return InputResult::failed(InputError::kDuplicateIndex);
  }
  for (size_t i = 0; i < elements; i++) {
    if (elements + i >= whole) return InputResult::failed(InputError::kCutOff);
    values[i] = load_network<float>(from + (elements + i) * sizeof(float));
    if (std::isnan(values[i])) return InputResult::failed(InputError::kNaN);
    if (std::isinf(values[i])) return InputResult::failed(InputError::kInfinite);
    if (values[i] == 0) return InputResult::failed(InputError::kZeroValue);
  }
  InputResult result = header;
  result.consumed += elements * (sizeof(int32_t) + sizeof(float));
  return result;
}

}  // namespace cairn::core
