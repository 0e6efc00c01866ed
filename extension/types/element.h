// The elements of vector (float) and halfvec (the bits of an IEEE half) as numbers.
#pragma once

#include "kernels/half.h"
#include "types/input_error.h"

namespace cairn {

inline float to_float(float value) { return value; }
inline float to_float(uint16_t half) { return core::half_to_float(half); }

inline void set_element(float value, float* element) { *element = value; }
inline void set_element(float value, uint16_t* element) { *element = core::float_to_half(value); }

// Where a value that fits a float does not fit the element, that is an error.
inline void set_element_checked(float value, float* element) { *element = value; }
inline void set_element_checked(float value, uint16_t* element) {
  *element = core::float_to_half(value);
  if (unlikely((*element & 0x7FFF) == 0x7C00 && !std::isinf(value))) report_out_of_range("halfvec", value);
}

}  // namespace cairn
