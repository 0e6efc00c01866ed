// The SQL functions of vector (see dense.h).
#include "types/vector.h"

#include "pg/known_distance.h"
#include "types/dense.h"

using namespace cairn;

PG_FUNCTION(vector_in) { return dense_in<float>(fcinfo); }
PG_FUNCTION(vector_out) { return dense_out<float>(fcinfo); }
PG_FUNCTION(vector_recv) { return dense_recv<float>(fcinfo); }
PG_FUNCTION(vector_send) { return dense_send<float>(fcinfo); }
PG_FUNCTION(vector_typmod_in) { return dense_typmod_in<float>(fcinfo); }
PG_FUNCTION(vector) { return dense_enforce_typmod<float>(fcinfo); }

PG_FUNCTION(l2_distance) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(sqrt(static_cast<double>(l2_squared(Pair<float>(fcinfo)))));
}
PG_FUNCTION(vector_l2_squared_distance) { PG_RETURN_FLOAT8(l2_squared(Pair<float>(fcinfo))); }
PG_FUNCTION(inner_product) { PG_RETURN_FLOAT8(cairn::inner_product(Pair<float>(fcinfo))); }
PG_FUNCTION(vector_negative_inner_product) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(-static_cast<double>(cairn::inner_product(Pair<float>(fcinfo))));
}
PG_FUNCTION(cosine_distance) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(cosine_distance_of(cosine_parts(Pair<float>(fcinfo))));
}
// The angle over pi, of two vectors of unit length.
PG_FUNCTION(vector_spherical_distance) {
  PG_RETURN_FLOAT8(acos(clamp_cosine(cairn::inner_product(Pair<float>(fcinfo)))) / M_PI);
}
PG_FUNCTION(l1_distance) { PG_RETURN_FLOAT8(l1(Pair<float>(fcinfo))); }

PG_FUNCTION(vector_norm) { PG_RETURN_FLOAT8(l2_norm_of(DenseView<float>(PG_GETARG_DATUM(0)))); }
PG_FUNCTION(vector_dims) { PG_RETURN_INT32(DenseView<float>(PG_GETARG_DATUM(0)).dim); }
PG_FUNCTION(l2_normalize) { return dense_l2_normalize<float>(fcinfo); }
PG_FUNCTION(binary_quantize) { return dense_binary_quantize<float>(fcinfo); }
PG_FUNCTION(subvector) { return dense_subvector<float>(fcinfo); }
PG_FUNCTION(vector_add) { return dense_add<float>(fcinfo); }
PG_FUNCTION(vector_sub) { return dense_sub<float>(fcinfo); }
PG_FUNCTION(vector_mul) { return dense_mul<float>(fcinfo); }
PG_FUNCTION(vector_concat) { return dense_concat<float>(fcinfo); }

PG_FUNCTION(vector_lt) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) < 0); }
PG_FUNCTION(vector_le) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) <= 0); }
PG_FUNCTION(vector_eq) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) == 0); }
PG_FUNCTION(vector_ne) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) != 0); }
PG_FUNCTION(vector_ge) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) >= 0); }
PG_FUNCTION(vector_gt) { PG_RETURN_BOOL(dense_compare<float>(fcinfo) > 0); }
PG_FUNCTION(vector_cmp) { PG_RETURN_INT32(dense_compare<float>(fcinfo)); }

PG_FUNCTION(array_to_vector) { return array_to_dense<float>(fcinfo); }
PG_FUNCTION(vector_to_float4) { return dense_to_float4<float>(fcinfo); }

PG_FUNCTION(vector_accum) { return dense_accum<float>(fcinfo, "vector_accum"); }
PG_FUNCTION(vector_avg) { return dense_avg<float>(fcinfo, "vector_avg"); }

// avg()'s states of two workers as one; halfvec's too.
PG_FUNCTION(vector_combine) {
  ArrayType* const a = PG_GETARG_ARRAYTYPE_P(0);
  ArrayType* const b = PG_GETARG_ARRAYTYPE_P(1);
  double* const a_values = state_values(a, "vector_combine");
  const double* const b_values = state_values(b, "vector_combine");
  if (a_values[0] == 0) PG_RETURN_ARRAYTYPE_P(b);
  if (b_values[0] == 0) PG_RETURN_ARRAYTYPE_P(a);
  check_expected_dims(state_dims(a), state_dims(b));
  ArrayType* const result = AggCheckCallContext(fcinfo, nullptr) ? a : make_float8_array(state_dims(a) + 1);
  double* const sums = state_values(result, "vector_combine");
  for (int i = 0; i <= state_dims(a); i++) {
    sums[i] = a_values[i] + b_values[i];
    if (unlikely(std::isinf(sums[i]))) float_overflow_error();
  }
  PG_RETURN_ARRAYTYPE_P(result);
}
