// The SQL functions of halfvec (see dense.h).
#include "pg/known_distance.h"
#include "types/dense.h"
#include "types/vector.h"

using namespace cairn;

PG_FUNCTION(halfvec_in) { return dense_in<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_out) { return dense_out<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_recv) { return dense_recv<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_send) { return dense_send<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_typmod_in) { return dense_typmod_in<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec) { return dense_enforce_typmod<uint16_t>(fcinfo); }

PG_FUNCTION(halfvec_l2_distance) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(sqrt(static_cast<double>(l2_squared(Pair<uint16_t>(fcinfo)))));
}
PG_FUNCTION(halfvec_l2_squared_distance) { PG_RETURN_FLOAT8(l2_squared(Pair<uint16_t>(fcinfo))); }
PG_FUNCTION(halfvec_inner_product) { PG_RETURN_FLOAT8(cairn::inner_product(Pair<uint16_t>(fcinfo))); }
PG_FUNCTION(halfvec_negative_inner_product) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(-static_cast<double>(cairn::inner_product(Pair<uint16_t>(fcinfo))));
}
PG_FUNCTION(halfvec_cosine_distance) {
  RETURN_IF_KNOWN(fcinfo);
  PG_RETURN_FLOAT8(cosine_distance_of(cosine_parts(Pair<uint16_t>(fcinfo))));
}
// The angle over pi, of two vectors of unit length.
PG_FUNCTION(halfvec_spherical_distance) {
  PG_RETURN_FLOAT8(acos(clamp_cosine(cairn::inner_product(Pair<uint16_t>(fcinfo)))) / M_PI);
}
PG_FUNCTION(halfvec_l1_distance) { PG_RETURN_FLOAT8(l1(Pair<uint16_t>(fcinfo))); }

PG_FUNCTION(halfvec_l2_norm) { PG_RETURN_FLOAT8(l2_norm_of(DenseView<uint16_t>(PG_GETARG_DATUM(0)))); }
PG_FUNCTION(halfvec_vector_dims) { PG_RETURN_INT32(DenseView<uint16_t>(PG_GETARG_DATUM(0)).dim); }
PG_FUNCTION(halfvec_l2_normalize) { return dense_l2_normalize<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_binary_quantize) { return dense_binary_quantize<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_subvector) { return dense_subvector<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_add) { return dense_add<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_sub) { return dense_sub<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_mul) { return dense_mul<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_concat) { return dense_concat<uint16_t>(fcinfo); }

PG_FUNCTION(halfvec_lt) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) < 0); }
PG_FUNCTION(halfvec_le) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) <= 0); }
PG_FUNCTION(halfvec_eq) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) == 0); }
PG_FUNCTION(halfvec_ne) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) != 0); }
PG_FUNCTION(halfvec_ge) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) >= 0); }
PG_FUNCTION(halfvec_gt) { PG_RETURN_BOOL(dense_compare<uint16_t>(fcinfo) > 0); }
PG_FUNCTION(halfvec_cmp) { PG_RETURN_INT32(dense_compare<uint16_t>(fcinfo)); }

PG_FUNCTION(array_to_halfvec) { return array_to_dense<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_to_float4) { return dense_to_float4<uint16_t>(fcinfo); }
PG_FUNCTION(halfvec_to_vector) { return dense_cast<uint16_t, float>(fcinfo); }
PG_FUNCTION(vector_to_halfvec) { return dense_cast<float, uint16_t>(fcinfo); }

PG_FUNCTION(halfvec_accum) { return dense_accum<uint16_t>(fcinfo, "halfvec_accum"); }
PG_FUNCTION(halfvec_avg) { return dense_avg<uint16_t>(fcinfo, "halfvec_avg"); }
