// See array.h.
#include "types/array.h"

namespace cairn {

int check_number_array(ArrayType* array) {
  if (ARR_NDIM(array) > 1) ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("array must be 1-D")));
  if (ARR_HASNULL(array) && array_contains_nulls(array)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("array must not contain nulls")));
  }
  return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

namespace {

ArrayType* make_array(int count, Oid type, Size element_size) {
  const Size size = ARR_OVERHEAD_NONULLS(1) + static_cast<Size>(count) * element_size;
  auto* const array = static_cast<ArrayType*>(palloc0(size));
  SET_VARSIZE(array, size);
  array->ndim = 1;
  array->dataoffset = 0;
  array->elemtype = type;
  ARR_DIMS(array)[0] = count;
  ARR_LBOUND(array)[0] = 1;
  return array;
}

}  // namespace

const Datum* numeric_elements(ArrayType* array) {
  Datum* numbers;
  int count;
  deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &numbers, nullptr, &count);
  return numbers;
}

ArrayType* make_float4_array(int count) { return make_array(count, FLOAT4OID, sizeof(float)); }
ArrayType* make_float8_array(int count) { return make_array(count, FLOAT8OID, sizeof(double)); }

double* state_values(ArrayType* state, const char* function) {
  if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 || ARR_HASNULL(state) || ARR_ELEMTYPE(state) != FLOAT8OID) {
    elog(ERROR, "%s: expected state array", function);
  }
  return reinterpret_cast<double*>(ARR_DATA_PTR(state));
}

}  // namespace cairn
