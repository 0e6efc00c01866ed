// The type sparsevec: how it is stored (pgvector's format), and the functions that access methods know by their
// address.
#pragma once

#include "pg/pg.h"
#include "types/input.h"

namespace cairn {

// A varlena: `nnz` indices from 0, ascending, and behind them as many values, none of them 0.
struct SparseVector {
  int32 vl_len_;  // by SET_VARSIZE only
  int32 dim;
  int32 nnz;
  int32 unused;  // 0
  int32 indices[FLEXIBLE_ARRAY_MEMBER];

  const float* values() const { return reinterpret_cast<const float*>(indices + nnz); }
  float* values() { return reinterpret_cast<float*>(indices + nnz); }

  static constexpr Size size_of(int nnz) {
    return 4 * sizeof(int32) + (sizeof(int32) + sizeof(float)) * static_cast<Size>(nnz);
  }
};
static_assert(offsetof(SparseVector, indices) == 16);

// An argument, detoasted; at a 4-byte boundary.
inline const SparseVector* sparse_argument(Datum datum) {
  return reinterpret_cast<const SparseVector*>(PG_DETOAST_DATUM(datum));
}

// Of `nnz` elements, not yet set.
SparseVector* make_sparse(int dim, int nnz);

}  // namespace cairn

PG_FUNCTION_DECLARE(sparsevec_l2_distance);
PG_FUNCTION_DECLARE(sparsevec_inner_product);
PG_FUNCTION_DECLARE(sparsevec_cosine_distance);
PG_FUNCTION_DECLARE(sparsevec_l1_distance);
PG_FUNCTION_DECLARE(sparsevec_l2_norm);
PG_FUNCTION_DECLARE(sparsevec_l2_normalize);
PG_FUNCTION_DECLARE(sparsevec_l2_squared_distance);
PG_FUNCTION_DECLARE(sparsevec_negative_inner_product);
