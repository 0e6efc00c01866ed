// PostgreSQL's arrays of numbers: the source and the target of casts, and the state of avg().
#pragma once

#include "pg/pg.h"

namespace cairn {

// How many elements; an error unless it has one dimension (or none) and no nulls.
int check_number_array(ArrayType* array);

// integer[], real[], double precision[] or numeric[] as floats, `count` of them.
void array_to_floats(ArrayType* array, int count, float* values);

// real[] of `count` elements, not yet set; they are at ARR_DATA_PTR.
ArrayType* make_float4_array(int count);

// avg()'s state: the number of rows, then the sums.
ArrayType* make_float8_array(int count);
double* state_values(ArrayType* state, const char* function);  // an error unless it is such an array
inline int state_dims(ArrayType* state) { return ARR_DIMS(state)[0] - 1; }

}  // namespace cairn
