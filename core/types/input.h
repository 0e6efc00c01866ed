// Reading vectors from text and from the binary format, without PostgreSQL: what is wrong is told as an InputResult,
// which the extension makes an error of. Texts end with a NUL; binary input is in network order and may be cut off
// anywhere.
//
//   vector, halfvec   text "[1,2,3]"       binary int16 dimensions, int16 0, float32 or float16 each
//   sparsevec         text "{1:3,5:2}/6"   binary int32 dimensions, int32 elements, int32 0, int32 indices (from 0),
//   float32 values
//
// Numbers in text are those of strtof (so hexadecimal ones too), read by std::from_chars where both agree: they are
// most of a COPY's work. The caller's locale must be "C" in LC_NUMERIC, as it is in a backend.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::core {

inline constexpr int kVectorMaxDims = 16000;
inline constexpr int kSparseMaxDims = 1000000000;
inline constexpr int kSparseMaxElements = 16000;

enum class InputError : uint8_t {
  kNone,
  // Text
  kSyntax,
  kNoOpening,      // does not begin with [ or {
  kJunkAfter,      // something after the end
  kUnexpectedEnd,  // sparsevec: no "/dimensions" after the elements
  kOutOfRange,     // the number at `at`, `length` characters long, does not fit the type
  // Text and binary
  kNoDims,
  kTooManyDims,
  kTooManyElements,
  kNaN,
  kInfinite,
  kIndexOutOfBounds,
  kDuplicateIndex,
  // Binary
  kCutOff,          // fewer bytes than announced
  kUnexpectedDims,  // not the type modifier's: `dims` says how many
  kUnusedNotZero,   // `unused` says what
  kNegativeElements,
  kMoreElementsThanDims,
  kIndexOrder,
  kZeroValue,
};

struct InputResult {
  InputError error = InputError::kNone;
  int32_t dims = 0;
  int32_t elements = 0;  // sparsevec: how many are not zero
  const char* at = nullptr;
  size_t length = 0;
  int32_t unused = 0;
  size_t consumed = 0;  // binary: bytes that were read

  static InputResult failed(InputError error) {
    InputResult result;
    result.error = error;
    return result;
  }
};

// `values` has room for kVectorMaxDims.
InputResult parse_vector(const char* text, float* values);
InputResult parse_halfvec(const char* text, uint16_t* values);

// `indices` and `values` have room for kSparseMaxElements; zeros are left out, and the indices (from 0) ascend.
InputResult parse_sparsevec(const char* text, int32_t* indices, float* values);

// What precedes the elements; `expected_dims` is -1 for any. The elements follow at data + consumed.
InputResult read_vector_header(const uint8_t* data, size_t size, int expected_dims);
InputResult read_sparsevec_header(const uint8_t* data, size_t size, int expected_dims);

// The elements, into arrays of just header.dims (header.elements) places.
InputResult read_vector_elements(const InputResult& header, const uint8_t* data, size_t size, float* values);
InputResult read_halfvec_elements(const InputResult& header, const uint8_t* data, size_t size, uint16_t* values);
InputResult read_sparsevec_elements(const InputResult& header, const uint8_t* data, size_t size, int32_t* indices,
                                    float* values);

}  // namespace cairn::core
