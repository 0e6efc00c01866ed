// PostgreSQL's arrays of numbers: the source and the target of casts, and the state of avg().
#pragma once

#include "pg/pg.h"

namespace cairn {

// How many elements; an error unless it has one dimension (or none) and no nulls.
int check_number_array(ArrayType* array);

const Datum* numeric_elements(ArrayType* array);

// Calls each(i, value) with the elements of integer[], real[], double precision[] or numeric[] as floats. One by one,
// since the conversion of a numeric and what each does with it both may raise an error, and the first one counts.
template <typename Each>
void for_each_number(ArrayType* array, int count, Each each) {
  const auto of_type = [=]<typename Number>(const Number* numbers) {
    for (int i = 0; i < count; i++) each(i, static_cast<float>(numbers[i]));
  };
  switch (ARR_ELEMTYPE(array)) {
    case INT4OID:
      return of_type(reinterpret_cast<const int32*>(ARR_DATA_PTR(array)));
    case FLOAT4OID:
      return of_type(reinterpret_cast<const float*>(ARR_DATA_PTR(array)));
    case FLOAT8OID:
      return of_type(reinterpret_cast<const double*>(ARR_DATA_PTR(array)));
    case NUMERICOID: {
      const Datum* const numbers = numeric_elements(array);
      for (int i = 0; i < count; i++) each(i, DatumGetFloat4(DirectFunctionCall1(numeric_float4, numbers[i])));
      return;
    }
    default:
      ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("unsupported array type")));
  }
}

// real[] of `count` elements, not yet set; they are at ARR_DATA_PTR.
ArrayType* make_float4_array(int count);

// avg()'s state: the number of rows, then the sums.
ArrayType* make_float8_array(int count);
double* state_values(ArrayType* state, const char* function);  // an error unless it is such an array
inline int state_dims(ArrayType* state) { return ARR_DIMS(state)[0] - 1; }

}  // namespace cairn
