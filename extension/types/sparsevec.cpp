// The SQL functions of sparsevec: input, output, distances, comparison. Its casts are in sparsevec_cast.cpp.
#include "types/sparsevec.h"

#include "types/byte_order.h"
#include "types/cosine.h"
#include "types/input_error.h"

using namespace cairn;

namespace {

constexpr const char* kType = "sparsevec";

void check_input(const core::InputResult& result, const char* text, int expected_dims) {
  if (result.error != core::InputError::kNone) report_input_error(result, kType, text, expected_dims);
}

// Two arguments of equal dimensions.
struct SparsePair {
  const SparseVector* a;
  const SparseVector* b;

  explicit SparsePair(FunctionCallInfo fcinfo)
      : a(sparse_argument(PG_GETARG_DATUM(0))), b(sparse_argument(PG_GETARG_DATUM(1))) {
    check_same_dims(kType, a->dim, b->dim);
  }
};

// Calls each(x, y) for every index that either has, with 0 for the one that has not.
template <typename Each>
void for_each_index(const SparsePair& pair, Each each) {
  const SparseVector *const a = pair.a, *const b = pair.b;
  const float *const x = a->values(), *const y = b->values();
  int j = 0;
  for (int i = 0; i < a->nnz; i++) {
    const int32 index = a->indices[i];
    while (j < b->nnz && b->indices[j] < index) each(0.0F, y[j++]);
    if (j < b->nnz && b->indices[j] == index) {
      each(x[i], y[j++]);
    } else {
      each(x[i], 0.0F);
    }
  }
  for (; j < b->nnz; j++) each(0.0F, y[j]);
}

float l2_squared(const SparsePair& pair) {
  float sum = 0;
  for_each_index(pair, [&sum](float x, float y) { sum += (x - y) * (x - y); });
  return sum;
}

float l1(const SparsePair& pair) {
  float sum = 0;
  for_each_index(pair, [&sum](float x, float y) { sum += std::fabs(x - y); });
  return sum;
}

float inner_product(const SparsePair& pair) {
  const SparseVector *const a = pair.a, *const b = pair.b;
  float sum = 0;
  int j = 0;
  for (int i = 0; i < a->nnz; i++) {
    while (j < b->nnz && b->indices[j] < a->indices[i]) j++;
    if (j == b->nnz) break;
    if (b->indices[j] == a->indices[i]) sum += a->values()[i] * b->values()[j++];
  }
  return sum;
}

float squared_norm(const SparseVector* vector) {
  float sum = 0;
  for (int i = 0; i < vector->nnz; i++) sum += vector->values()[i] * vector->values()[i];
  return sum;
}

double l2_norm(const SparseVector* vector) {
  double sum = 0;
  for (int i = 0; i < vector->nnz; i++) sum += static_cast<double>(vector->values()[i]) * vector->values()[i];
  return sqrt(sum);
}

// As if the zeros were there; the shorter one first where one begins with the other.
int compare_elements(const SparseVector* a, const SparseVector* b) {
  const int dim = Min(a->dim, b->dim);
  int i = 0, j = 0;
  for (;;) {
    const int index_a = i < a->nnz ? a->indices[i] : dim;
    const int index_b = j < b->nnz ? b->indices[j] : dim;
    if (Min(index_a, index_b) >= dim) return a->dim < b->dim ? -1 : a->dim > b->dim;
    const float x = index_a <= index_b ? a->values()[i++] : 0;
    const float y = index_b <= index_a ? b->values()[j++] : 0;
    if (x < y) return -1;
    if (x > y) return 1;
  }
}

// Copies are freed: a sort, which calls this, frees no memory before its end.
int compare(FunctionCallInfo fcinfo) {
  const SparseVector* const a = sparse_argument(PG_GETARG_DATUM(0));
  const SparseVector* const b = sparse_argument(PG_GETARG_DATUM(1));
  const int order = compare_elements(a, b);
  PG_FREE_IF_COPY(const_cast<SparseVector*>(a), 0);
  PG_FREE_IF_COPY(const_cast<SparseVector*>(b), 1);
  return order;
}

}  // namespace

SparseVector* cairn::make_sparse(int dim, int nnz) {
  const Size size = SparseVector::size_of(nnz);
  auto* const result = static_cast<SparseVector*>(palloc(size));
  SET_VARSIZE(result, size);
  result->dim = dim;
  result->nnz = nnz;
  result->unused = 0;
  return result;
}

PG_FUNCTION(sparsevec_in) {
  const char* const text = PG_GETARG_CSTRING(0);
  const int32 expected_dims = PG_GETARG_INT32(2);
  int32 indices[core::kSparseMaxElements];
  float values[core::kSparseMaxElements];
  const core::InputResult parsed = core::parse_sparsevec(text, indices, values);
  check_input(parsed, text, expected_dims);
  check_expected_dims(expected_dims, parsed.dims);
  SparseVector* const result = make_sparse(parsed.dims, parsed.elements);
  memcpy(result->indices, indices, sizeof(int32) * static_cast<Size>(parsed.elements));
  memcpy(result->values(), values, sizeof(float) * static_cast<Size>(parsed.elements));
  PG_RETURN_POINTER(result);
}

PG_FUNCTION(sparsevec_out) {
  const SparseVector* const vector = sparse_argument(PG_GETARG_DATUM(0));
  constexpr Size kIntegerLength = 11;
  char* const text = static_cast<char*>(
      palloc(static_cast<Size>(vector->nnz) * (kIntegerLength + FLOAT_SHORTEST_DECIMAL_LEN + 1) + kIntegerLength + 4));
  char* p = text;
  *p++ = '{';
  for (int i = 0; i < vector->nnz; i++) {
    if (i > 0) *p++ = ',';
    p += pg_ltoa(vector->indices[i] + 1, p);
    *p++ = ':';
    p += float_to_shortest_decimal_bufn(vector->values()[i], p);
  }
  *p++ = '}';
  *p++ = '/';
  pg_ltoa(vector->dim, p);
  PG_RETURN_CSTRING(text);
}

PG_FUNCTION(sparsevec_typmod_in) {
  PG_RETURN_INT32(parse_type_modifier(PG_GETARG_ARRAYTYPE_P(0), kType, core::kSparseMaxDims));
}

PG_FUNCTION(sparsevec_recv) {
  const StringInfo message = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const int32 expected_dims = PG_GETARG_INT32(2);
  const auto* const data = reinterpret_cast<const uint8_t*>(message->data + message->cursor);
  const auto size = static_cast<size_t>(message->len - message->cursor);
  const core::InputResult header = core::read_sparsevec_header(data, size, expected_dims);
  check_input(header, nullptr, expected_dims);
  SparseVector* const result = make_sparse(header.dims, header.elements);
  const core::InputResult read = core::read_sparsevec_elements(header, data, size, result->indices, result->values());
  check_input(read, nullptr, expected_dims);
  message->cursor += static_cast<int>(read.consumed);
  PG_RETURN_POINTER(result);
}

PG_FUNCTION(sparsevec_send) {
  const SparseVector* const vector = sparse_argument(PG_GETARG_DATUM(0));
  const Size size = SparseVector::size_of(vector->nnz);
  auto* const result = static_cast<bytea*>(palloc(size));
  SET_VARSIZE(result, size);
  // Every field but the length is a number of four bytes, values as well.
  const auto* const from = reinterpret_cast<const uint8_t*>(vector) + VARHDRSZ;
  auto* const to = reinterpret_cast<uint8_t*>(VARDATA(result));
  for (Size at = 0; at < size - VARHDRSZ; at += sizeof(int32)) {
    int32 number;
    memcpy(&number, from + at, sizeof(number));
    core::store_network(number, to + at);
  }
  PG_RETURN_BYTEA_P(result);
}

// The cast to its own type: only the modifier is looked at.
PG_FUNCTION(sparsevec) {
  check_expected_dims(PG_GETARG_INT32(1), sparse_argument(PG_GETARG_DATUM(0))->dim);
  PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

PG_FUNCTION(sparsevec_l2_distance) { PG_RETURN_FLOAT8(sqrt(static_cast<double>(l2_squared(SparsePair(fcinfo))))); }
PG_FUNCTION(sparsevec_l2_squared_distance) { PG_RETURN_FLOAT8(l2_squared(SparsePair(fcinfo))); }
PG_FUNCTION(sparsevec_inner_product) { PG_RETURN_FLOAT8(inner_product(SparsePair(fcinfo))); }
PG_FUNCTION(sparsevec_negative_inner_product) {
  PG_RETURN_FLOAT8(-static_cast<double>(inner_product(SparsePair(fcinfo))));
}
PG_FUNCTION(sparsevec_cosine_distance) {
  const SparsePair pair(fcinfo);
  PG_RETURN_FLOAT8(cosine_distance_of({inner_product(pair), squared_norm(pair.a), squared_norm(pair.b)}));
}
PG_FUNCTION(sparsevec_l1_distance) { PG_RETURN_FLOAT8(l1(SparsePair(fcinfo))); }
PG_FUNCTION(sparsevec_l2_norm) { PG_RETURN_FLOAT8(l2_norm(sparse_argument(PG_GETARG_DATUM(0)))); }

// Elements that become 0 are left out.
PG_FUNCTION(sparsevec_l2_normalize) {
  const SparseVector* const vector = sparse_argument(PG_GETARG_DATUM(0));
  const double norm = l2_norm(vector);
  auto* const normalized = static_cast<float*>(palloc(sizeof(float) * static_cast<Size>(vector->nnz)));
  int nnz = 0;
  for (int i = 0; i < vector->nnz && norm > 0; i++) {
    normalized[i] = static_cast<float>(vector->values()[i] / norm);
    if (std::isinf(normalized[i])) float_overflow_error();
    if (normalized[i] != 0) nnz++;
  }
  SparseVector* const result = make_sparse(vector->dim, nnz);
  for (int i = 0, j = 0; j < nnz; i++) {
    if (normalized[i] == 0) continue;
    result->indices[j] = vector->indices[i];
    result->values()[j++] = normalized[i];
  }
  PG_RETURN_POINTER(result);
}

PG_FUNCTION(sparsevec_lt) { PG_RETURN_BOOL(compare(fcinfo) < 0); }
PG_FUNCTION(sparsevec_le) { PG_RETURN_BOOL(compare(fcinfo) <= 0); }
PG_FUNCTION(sparsevec_eq) { PG_RETURN_BOOL(compare(fcinfo) == 0); }
PG_FUNCTION(sparsevec_ne) { PG_RETURN_BOOL(compare(fcinfo) != 0); }
PG_FUNCTION(sparsevec_ge) { PG_RETURN_BOOL(compare(fcinfo) >= 0); }
PG_FUNCTION(sparsevec_gt) { PG_RETURN_BOOL(compare(fcinfo) > 0); }
PG_FUNCTION(sparsevec_cmp) { PG_RETURN_INT32(compare(fcinfo)); }
