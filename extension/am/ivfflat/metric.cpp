// PostgreSQL zone, but for prepare and stored_distance, which are pure.
#include "am/ivfflat/metric.h"

#include <cmath>

#include "kernels/distance.h"
#include "types/bit.h"
#include "types/vector.h"

PG_FUNCTION_DECLARE(ivfflat_halfvec_support);
PG_FUNCTION_DECLARE(ivfflat_bit_support);

namespace cairn::ivfflat {
namespace {

constexpr TypeSupport kVector = {VectorType::vector, 2000};
constexpr TypeSupport kHalfvec = {VectorType::halfvec, 4000};
constexpr TypeSupport kBit = {VectorType::bit, 64000};

// In double where the square is beyond what a float can say.
double length_of(const float* x, size_t n) {
  const float square = core::inner_product(x, x, n);
  if (std::isfinite(square) && square > 1e-30f) return std::sqrt(square);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return std::sqrt(sum);
}

}  // namespace

const TypeSupport* type_support(Relation index) {
  if (!OidIsValid(index_getprocid(index, 1, kTypeProc))) return &kVector;
  const FmgrInfo* proc = index_getprocinfo(index, 1, kTypeProc);
  // Only functions of this library are known to return what is expected.
  if (proc->fn_addr == ivfflat_halfvec_support) return &kHalfvec;
  if (proc->fn_addr == ivfflat_bit_support) return &kBit;
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("type not supported for ivfflat index")));
}

Metric metric_of(Relation index) {
  const PGFunction distance = index_getprocinfo(index, 1, kDistanceProc)->fn_addr;
  if (distance == vector_l2_squared_distance || distance == halfvec_l2_squared_distance) return Metric::l2;
  if (distance == hamming_distance) return Metric::hamming;
  if (distance == vector_negative_inner_product || distance == halfvec_negative_inner_product)
    return OidIsValid(index_getprocid(index, 1, kNormProc)) ? Metric::cosine : Metric::inner_product;
  ereport(ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
           errmsg("distance function %u is not supported for ivfflat index", index_getprocid(index, 1, kDistanceProc)),
           errhint("Use an operator class that comes with the extension.")));
}

Value value_of(VectorType type, Datum datum) {
  switch (type) {
    case VectorType::vector: {
      const DenseView<float> value(datum);
      return {reinterpret_cast<const char*>(value.x), static_cast<uint32>(value.dim)};
    }
    case VectorType::halfvec: {
      const DenseView<uint16> value(datum);
      return {reinterpret_cast<const char*>(value.x), static_cast<uint32>(value.dim)};
    }
    case VectorType::bit: {
      const VarBit* value = DatumGetVarBitP(datum);
      return {reinterpret_cast<const char*>(VARBITS(value)), static_cast<uint32>(VARBITLEN(value))};
    }
  }
  pg_unreachable();
}

void check_dimensions(const Layout& layout, uint32 dimensions) {
  if (dimensions == layout.dimensions) return;
  if (layout.type == VectorType::bit)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different bit lengths %u and %u", layout.dimensions, dimensions)));
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                  errmsg("different %s dimensions %u and %u", layout.type == VectorType::vector ? "vector" : "halfvec",
                         layout.dimensions, dimensions)));
}

bool prepare(const Layout& layout, Metric metric, const core::Rotation* rotation, const char* value, float* scratch,
             Prepared* out) {
  out->norm = 1;
  memset(out->space, 0, layout.centroid_bytes);
  memcpy(out->data, value, layout.payload_bytes);
  if (layout.type == VectorType::bit) {
    memcpy(out->space, value, layout.payload_bytes);
    return true;
  }
  const size_t n = layout.dimensions;
  float* x = layout.codes ? scratch : out->space;
  if (layout.type == VectorType::halfvec)
    core::half_to_float(reinterpret_cast<const uint16*>(value), x, n);
  else
    memcpy(x, value, n * sizeof(float));
  if (metric != Metric::l2) {
    const double length = length_of(x, n);
    for (size_t i = 0; i < n && length > 0; ++i) x[i] = static_cast<float>(x[i] / length);
    out->norm = static_cast<float>(length);
  }
  const bool zero = out->norm == 0;
  if (metric == Metric::cosine && !zero) {
    if (layout.type == VectorType::halfvec) {
      core::float_to_half(x, reinterpret_cast<uint16*>(out->data), n);
      core::half_to_float(reinterpret_cast<const uint16*>(out->data), x, n);  // codes are taken of what is stored
    } else
      memcpy(out->data, x, n * sizeof(float));
  }
  if (layout.codes) rotation->apply(x, out->space);
  return metric != Metric::cosine || !zero;
}

float stored_distance(const Layout& layout, Metric metric, const char* a, const char* b) {
  const size_t n = layout.dimensions;
  switch (layout.type) {
    case VectorType::bit:
      return static_cast<float>(
          core::hamming(reinterpret_cast<const uint8*>(a), reinterpret_cast<const uint8*>(b), layout.payload_bytes));
    case VectorType::halfvec: {
      const auto* x = reinterpret_cast<const uint16*>(a);
      const auto* y = reinterpret_cast<const uint16*>(b);
      return metric == Metric::l2 ? core::l2_squared_half(x, y, n) : -core::inner_product_half(x, y, n);
    }
    case VectorType::vector: {
      const auto* x = reinterpret_cast<const float*>(a);
      const auto* y = reinterpret_cast<const float*>(b);
      return metric == Metric::l2 ? core::l2_squared(x, y, n) : -core::inner_product(x, y, n);
    }
  }
  pg_unreachable();
}

}  // namespace cairn::ivfflat

PG_FUNCTION(ivfflat_halfvec_support) { PG_RETURN_POINTER(&cairn::ivfflat::kHalfvec); }
PG_FUNCTION(ivfflat_bit_support) { PG_RETURN_POINTER(&cairn::ivfflat::kBit); }
