// Wrong values of the vector types as PostgreSQL errors, in pgvector's words and with its SQLSTATEs.
#pragma once

#include "pg/pg.h"
#include "types/input.h"

namespace cairn {

// `text` is what was read, or null for binary input; `expected_dims` the type modifier.
[[noreturn]] void report_input_error(const core::InputResult& result, const char* type, const char* text,
                                     int expected_dims);

[[noreturn]] void report_no_dims(const char* type);
[[noreturn]] void report_too_many_dims(const char* type, int max_dims);
[[noreturn]] void report_too_many_elements();
[[noreturn]] void report_unexpected_dims(int expected_dims, int dims);
[[noreturn]] void report_different_dims(const char* type, int a, int b);
[[noreturn]] void report_nan(const char* type);
[[noreturn]] void report_infinite(const char* type);
[[noreturn]] void report_out_of_range(const char* type, float value);

inline void check_dims(const char* type, int64 dims, int max_dims) {
  if (unlikely(dims < 1)) report_no_dims(type);
  if (unlikely(dims > max_dims)) report_too_many_dims(type, max_dims);
}

// Against a type modifier, which is -1 for any.
inline void check_expected_dims(int expected_dims, int dims) {
  if (unlikely(expected_dims != -1 && expected_dims != dims)) report_unexpected_dims(expected_dims, dims);
}

inline void check_same_dims(const char* type, int a, int b) {
  if (unlikely(a != b)) report_different_dims(type, a, b);
}

inline void check_element(const char* type, float value) {
  if (unlikely(std::isnan(value))) report_nan(type);
  if (unlikely(std::isinf(value))) report_infinite(type);
}

// A type modifier: the dimensions.
int32 parse_type_modifier(ArrayType* modifiers, const char* type, int max_dims);

}  // namespace cairn
