// needs: types/binary.cpp
// The binary formats: whatever the bytes, a message is refused or gives a vector that keeps the type's promises, which
// are the same bytes again.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/half.h"
#include "types/byte_order.h"
#include "types/input.h"

namespace {

using namespace cairn::core;

void require(bool condition) {
  if (!condition) std::abort();
}

float to_float(float value) { return value; }
float to_float(uint16_t value) { return half_to_float(value); }

template <typename Element, typename Read>
void check_dense(const std::vector<uint8_t>& message, int expected_dims, Read read) {
  const InputResult header = read_vector_header(message.data(), message.size(), expected_dims);
  if (header.error != InputError::kNone) return;
  require(header.dims >= 1 && header.dims <= kVectorMaxDims && (expected_dims == -1 || header.dims == expected_dims));
  std::vector<Element> values(static_cast<size_t>(header.dims));
  const InputResult result = read(header, message.data(), message.size(), values.data());
  if (result.error != InputError::kNone) return;
  require(result.consumed == header.consumed + sizeof(Element) * values.size() && result.consumed <= message.size());
  for (size_t i = 0; i < values.size(); i++) {
    require(std::isfinite(to_float(values[i])));
    uint8_t back[sizeof(Element)];
    store_network(values[i], back);
    require(memcmp(back, message.data() + header.consumed + i * sizeof(Element), sizeof(Element)) == 0);
  }
}

void check_sparse(const std::vector<uint8_t>& message, int expected_dims) {
  const InputResult header = read_sparsevec_header(message.data(), message.size(), expected_dims);
  if (header.error != InputError::kNone) return;
  require(header.dims >= 1 && header.dims <= kSparseMaxDims);
  require(header.elements >= 0 && header.elements <= kSparseMaxElements && header.elements <= header.dims);
  const auto elements = static_cast<size_t>(header.elements);
  std::vector<int32_t> indices(elements);
  std::vector<float> values(elements);
  const InputResult result =
      read_sparsevec_elements(header, message.data(), message.size(), indices.data(), values.data());
  if (result.error != InputError::kNone) return;
  require(result.consumed == header.consumed + elements * 8 && result.consumed <= message.size());
  for (size_t i = 0; i < elements; i++) {
    require(indices[i] >= 0 && indices[i] < header.dims && (i == 0 || indices[i] > indices[i - 1]));
    require(std::isfinite(values[i]) && values[i] != 0);
  }
}

}  // namespace

// The first byte is the type modifier: 255 for none.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const int expected_dims = data[0] == 255 ? -1 : data[0];
  const std::vector<uint8_t> message(data + 1, data + size);
  check_dense<float>(message, expected_dims, read_vector_elements);
  check_dense<uint16_t>(message, expected_dims, read_halfvec_elements);
  check_sparse(message, expected_dims);
  return 0;
}
