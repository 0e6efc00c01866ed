// The casts between sparsevec and vector, halfvec and arrays.
#include "types/array.h"
#include "types/element.h"
#include "types/sparsevec.h"
#include "types/vector.h"

using namespace cairn;

namespace {

constexpr const char* kType = "sparsevec";

// Of `dim` values, without the zeros.
template <typename Element>
SparseVector* make_from(const Element* values, int dim) {
  int nnz = 0;
  for (int i = 0; i < dim; i++) nnz += to_float(values[i]) != 0;
  SparseVector* const result = make_sparse(dim, nnz);
  int j = 0;
  for (int i = 0; i < dim; i++) {
    const float value = to_float(values[i]);
    if (value == 0) continue;
    result->indices[j] = i;
    result->values()[j++] = value;
  }
  return result;
}

template <typename Element>
Datum from_dense(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  check_expected_dims(PG_GETARG_INT32(1), vector.dim);
  PG_RETURN_POINTER(make_from(vector.x, vector.dim));
}

template <typename Element>
Datum to_dense(FunctionCallInfo fcinfo) {
  const SparseVector* const vector = sparse_argument(PG_GETARG_DATUM(0));
  check_dims(kTypeName<Element>, vector->dim, core::kVectorMaxDims);
  check_expected_dims(PG_GETARG_INT32(1), vector->dim);
  Dense<Element>* const result = make_dense<Element>(vector->dim);
  memset(result->x, 0, sizeof(Element) * static_cast<Size>(vector->dim));
  for (int i = 0; i < vector->nnz; i++) set_element_checked(vector->values()[i], &result->x[vector->indices[i]]);
  PG_RETURN_POINTER(result);
}

}  // namespace

PG_FUNCTION(vector_to_sparsevec) { return from_dense<float>(fcinfo); }
PG_FUNCTION(halfvec_to_sparsevec) { return from_dense<uint16_t>(fcinfo); }
PG_FUNCTION(sparsevec_to_vector) { return to_dense<float>(fcinfo); }
PG_FUNCTION(sparsevec_to_halfvec) { return to_dense<uint16_t>(fcinfo); }

PG_FUNCTION(array_to_sparsevec) {
  ArrayType* const array = PG_GETARG_ARRAYTYPE_P(0);
  const int dim = check_number_array(array);
  check_dims(kType, dim, core::kSparseMaxDims);
  check_expected_dims(PG_GETARG_INT32(1), dim);
  auto* const values = static_cast<float*>(palloc(sizeof(float) * static_cast<Size>(dim)));
  for_each_number(array, dim, [values](int i, float value) { values[i] = value; });
  for (int i = 0; i < dim; i++) check_element(kType, values[i]);
  PG_RETURN_POINTER(make_from(values, dim));
}
