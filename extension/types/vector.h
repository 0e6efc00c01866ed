// The types vector and halfvec: how they are stored (pgvector's format, so that either can read the other's tables),
// how a function gets at its arguments, and the functions that access methods know by their address.
#pragma once

#include "pg/pg.h"
#include "pg/toast.h"
#include "types/input.h"

namespace cairn {

// A varlena of float (vector) or of IEEE half (halfvec), at a 4-byte boundary.
template <typename Element>
struct Dense {
  int32 vl_len_;  // by SET_VARSIZE only
  int16 dim;
  int16 unused;  // 0
  Element x[FLEXIBLE_ARRAY_MEMBER];

  static constexpr Size size_of(int dim) { return 2 * sizeof(int32) + sizeof(Element) * static_cast<Size>(dim); }
};
using Vector = Dense<float>;
using HalfVector = Dense<uint16_t>;
static_assert(offsetof(Vector, x) == 8 && offsetof(HalfVector, x) == 8);

template <typename Element>
inline constexpr const char* kTypeName = "vector";
template <>
inline constexpr const char* kTypeName<uint16_t> = "halfvec";

// An argument, detoasted where it must be. One with a short header is read where it is: then x is not aligned.
template <typename Element>
struct DenseView {
  const Element* x;
  int dim;
  struct varlena* value;

  explicit DenseView(Datum datum) : value(pg::detoast_packed(datum)) {
    const char* const data = VARDATA_ANY(value);
    int16 stored_dim;
    memcpy(&stored_dim, data, sizeof(stored_dim));
    dim = stored_dim;
    x = reinterpret_cast<const Element*>(data + 2 * sizeof(int16));
  }

  // For functions that a sort calls, which frees no memory before its end.
  void free_copy(Datum datum) const {
    if (value != reinterpret_cast<struct varlena*>(DatumGetPointer(datum))) pfree(value);
  }
};

// Of `dim` elements, not yet set.
template <typename Element>
Dense<Element>* make_dense(int dim) {
  const Size size = Dense<Element>::size_of(dim);
  auto* const result = static_cast<Dense<Element>*>(palloc(size));
  SET_VARSIZE(result, size);
  result->dim = static_cast<int16>(dim);
  result->unused = 0;
  return result;
}

}  // namespace cairn

PG_FUNCTION_DECLARE(l2_distance);
PG_FUNCTION_DECLARE(inner_product);
PG_FUNCTION_DECLARE(cosine_distance);
PG_FUNCTION_DECLARE(l1_distance);
PG_FUNCTION_DECLARE(vector_norm);
PG_FUNCTION_DECLARE(l2_normalize);
PG_FUNCTION_DECLARE(vector_l2_squared_distance);
PG_FUNCTION_DECLARE(vector_negative_inner_product);
PG_FUNCTION_DECLARE(vector_spherical_distance);
PG_FUNCTION_DECLARE(halfvec_l2_distance);
PG_FUNCTION_DECLARE(halfvec_inner_product);
PG_FUNCTION_DECLARE(halfvec_cosine_distance);
PG_FUNCTION_DECLARE(halfvec_l1_distance);
PG_FUNCTION_DECLARE(halfvec_l2_norm);
PG_FUNCTION_DECLARE(halfvec_l2_normalize);
PG_FUNCTION_DECLARE(halfvec_l2_squared_distance);
PG_FUNCTION_DECLARE(halfvec_negative_inner_product);
PG_FUNCTION_DECLARE(halfvec_spherical_distance);
