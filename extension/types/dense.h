// The SQL functions that vector and halfvec share, by the type of their elements; vector.cpp and halfvec.cpp name them.
#pragma once

#include "kernels/distance.h"
#include "types/array.h"
#include "types/byte_order.h"
#include "types/cosine.h"
#include "types/element.h"
#include "types/input_error.h"
#include "types/vector.h"

namespace cairn {

inline core::InputResult parse_dense(const char* text, float* values) { return core::parse_vector(text, values); }
inline core::InputResult parse_dense(const char* text, uint16_t* values) { return core::parse_halfvec(text, values); }

template <typename Element>
Datum dense_in(FunctionCallInfo fcinfo) {
  const char* const text = PG_GETARG_CSTRING(0);
  const int32 expected_dims = PG_GETARG_INT32(2);
  Element values[core::kVectorMaxDims];
  const core::InputResult parsed = parse_dense(text, values);
  if (parsed.error != core::InputError::kNone) report_input_error(parsed, kTypeName<Element>, text, expected_dims);
  check_expected_dims(expected_dims, parsed.dims);
  Dense<Element>* const result = make_dense<Element>(parsed.dims);
  memcpy(result->x, values, sizeof(Element) * static_cast<Size>(parsed.dims));
  PG_RETURN_POINTER(result);
}

template <typename Element>
Datum dense_out(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  char* const text = static_cast<char*>(palloc(static_cast<Size>(vector.dim) * FLOAT_SHORTEST_DECIMAL_LEN + 3));
  char* p = text;
  *p++ = '[';
  for (int i = 0; i < vector.dim; i++) {
    if (i > 0) *p++ = ',';
    p += float_to_shortest_decimal_bufn(to_float(vector.x[i]), p);
  }
  *p++ = ']';
  *p = '\0';
  PG_RETURN_CSTRING(text);
}

inline core::InputResult read_elements(const core::InputResult& header, const uint8_t* data, size_t size,
                                       float* values) {
  return core::read_vector_elements(header, data, size, values);
}
inline core::InputResult read_elements(const core::InputResult& header, const uint8_t* data, size_t size,
                                       uint16_t* values) {
  return core::read_halfvec_elements(header, data, size, values);
}

template <typename Element>
Datum dense_recv(FunctionCallInfo fcinfo) {
  const StringInfo message = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const int32 expected_dims = PG_GETARG_INT32(2);
  const auto* const data = reinterpret_cast<const uint8_t*>(message->data + message->cursor);
  const auto size = static_cast<size_t>(message->len - message->cursor);
  const core::InputResult header = core::read_vector_header(data, size, expected_dims);
  if (header.error != core::InputError::kNone) report_input_error(header, kTypeName<Element>, nullptr, expected_dims);
  Dense<Element>* const result = make_dense<Element>(header.dims);
  const core::InputResult read = read_elements(header, data, size, result->x);
  if (read.error != core::InputError::kNone) report_input_error(read, kTypeName<Element>, nullptr, expected_dims);
  message->cursor += static_cast<int>(read.consumed);
  PG_RETURN_POINTER(result);
}

template <typename Element>
Datum dense_send(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  const Size size = Dense<Element>::size_of(vector.dim);
  auto* const result = static_cast<bytea*>(palloc(size));
  SET_VARSIZE(result, size);
  auto* to = reinterpret_cast<uint8_t*>(VARDATA(result));
  core::store_network(static_cast<int16>(vector.dim), to);
  core::store_network(int16{0}, to + sizeof(int16));
  to += 2 * sizeof(int16);
  for (int i = 0; i < vector.dim; i++) core::store_network(vector.x[i], to + sizeof(Element) * static_cast<Size>(i));
  PG_RETURN_BYTEA_P(result);
}

template <typename Element>
Datum dense_typmod_in(FunctionCallInfo fcinfo) {
  PG_RETURN_INT32(parse_type_modifier(PG_GETARG_ARRAYTYPE_P(0), kTypeName<Element>, core::kVectorMaxDims));
}

// The cast to its own type: only the modifier is looked at.
template <typename Element>
Datum dense_enforce_typmod(FunctionCallInfo fcinfo) {
  check_expected_dims(PG_GETARG_INT32(1), DenseView<Element>(PG_GETARG_DATUM(0)).dim);
  PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

// A scan without an index waits for memory more than it computes. Its rows lie one behind the other in a page, and
// pages often do so in memory, so the next argument is likely to be a step away that was made before: the last but one,
// since of large rows only two are in a page and every other step leads to the next page. It is fetched now; a wrong
// guess costs little.
inline void prefetch_next_row(const void* argument, size_t bytes, int position) {
  if (bytes < 128) return;  // so little is there as soon as it is asked for
  static struct {
    uintptr_t at;
    intptr_t step;
  } last[2];
  const auto at = reinterpret_cast<uintptr_t>(argument);
  const auto step = static_cast<intptr_t>(at - last[position].at);
  const intptr_t next_step = last[position].step;
  last[position] = {at, step};
  if (step == 0 || next_step == 0 || next_step < -2 * BLCKSZ || next_step > 2 * BLCKSZ) return;
  constexpr size_t kLine = 64;
  const uintptr_t next = at + static_cast<uintptr_t>(next_step) - kLine;  // with the row's header
  for (size_t i = 0; i < bytes + kLine; i += kLine) __builtin_prefetch(reinterpret_cast<const void*>(next + i));
}

// Two arguments of equal dimensions.
template <typename Element>
struct Pair {
  DenseView<Element> a, b;

  explicit Pair(FunctionCallInfo fcinfo) : a(PG_GETARG_DATUM(0)), b(PG_GETARG_DATUM(1)) {
    check_same_dims(kTypeName<Element>, a.dim, b.dim);
    prefetch_next_row(a.x, dim() * sizeof(Element), 0);
    prefetch_next_row(b.x, dim() * sizeof(Element), 1);
  }
  size_t dim() const { return static_cast<size_t>(a.dim); }
};

inline float l2_squared(const Pair<float>& p) { return core::l2_squared(p.a.x, p.b.x, p.dim()); }
inline float l2_squared(const Pair<uint16_t>& p) { return core::l2_squared_half(p.a.x, p.b.x, p.dim()); }
inline float inner_product(const Pair<float>& p) { return core::inner_product(p.a.x, p.b.x, p.dim()); }
inline float inner_product(const Pair<uint16_t>& p) { return core::inner_product_half(p.a.x, p.b.x, p.dim()); }
inline float l1(const Pair<float>& p) { return core::l1(p.a.x, p.b.x, p.dim()); }
inline float l1(const Pair<uint16_t>& p) { return core::l1_half(p.a.x, p.b.x, p.dim()); }
inline core::CosineParts cosine_parts(const Pair<float>& p) { return core::cosine_parts(p.a.x, p.b.x, p.dim()); }
inline core::CosineParts cosine_parts(const Pair<uint16_t>& p) {
  return core::cosine_parts_half(p.a.x, p.b.x, p.dim());
}

inline double l2_norm_of(const DenseView<float>& v) {
  return sqrt(core::squared_norm(v.x, static_cast<size_t>(v.dim)));
}
inline double l2_norm_of(const DenseView<uint16_t>& v) {
  return sqrt(core::squared_norm_half(v.x, static_cast<size_t>(v.dim)));
}

template <typename Element>
void check_elements(const Dense<Element>* vector) {
  for (int i = 0; i < vector->dim; i++) check_element(kTypeName<Element>, to_float(vector->x[i]));
}

template <typename Element>
Datum dense_l2_normalize(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  const double norm = l2_norm_of(vector);
  Dense<Element>* const result = make_dense<Element>(vector.dim);
  for (int i = 0; i < vector.dim; i++) {
    set_element(norm > 0 ? static_cast<float>(to_float(vector.x[i]) / norm) : 0, &result->x[i]);
    if (unlikely(std::isinf(to_float(result->x[i])))) float_overflow_error();
  }
  PG_RETURN_POINTER(result);
}

template <typename Element>
Datum dense_binary_quantize(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  const Size size = VARBITTOTALLEN(vector.dim);
  auto* const result = static_cast<VarBit*>(palloc0(size));
  SET_VARSIZE(result, size);
  VARBITLEN(result) = vector.dim;
  bits8* const bits = VARBITS(result);
  for (int i = 0; i < vector.dim; i++) {
    if (to_float(vector.x[i]) > 0) bits[i / BITS_PER_BYTE] |= static_cast<bits8>(0x80 >> (i % BITS_PER_BYTE));
  }
  PG_RETURN_VARBIT_P(result);
}

// subvector(vector, start, count): positions from 1; those before the first or past the last are left out.
template <typename Element>
Datum dense_subvector(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  const int64 start = PG_GETARG_INT32(1);
  const int64 end = Min(start + PG_GETARG_INT32(2), int64{vector.dim} + 1);
  const int64 first = Max(start, 1);
  const int64 dim = end - first;
  check_dims(kTypeName<Element>, dim, core::kVectorMaxDims);
  Dense<Element>* const result = make_dense<Element>(static_cast<int>(dim));
  memcpy(result->x, vector.x + (first - 1), sizeof(Element) * static_cast<Size>(dim));
  PG_RETURN_POINTER(result);
}

template <typename Element>
Datum dense_concat(FunctionCallInfo fcinfo) {
  const DenseView<Element> a(PG_GETARG_DATUM(0));
  const DenseView<Element> b(PG_GETARG_DATUM(1));
  check_dims(kTypeName<Element>, a.dim + b.dim, core::kVectorMaxDims);
  Dense<Element>* const result = make_dense<Element>(a.dim + b.dim);
  memcpy(result->x, a.x, sizeof(Element) * static_cast<Size>(a.dim));
  memcpy(result->x + a.dim, b.x, sizeof(Element) * static_cast<Size>(b.dim));
  PG_RETURN_POINTER(result);
}

// An aggregate may change its state in place.
template <typename Element>
Dense<Element>* result_of(FunctionCallInfo fcinfo, const Pair<Element>& pair) {
  const auto* const state = reinterpret_cast<const char*>(DatumGetPointer(PG_GETARG_DATUM(0)));
  auto* const a = reinterpret_cast<Dense<Element>*>(DatumGetPointer(PG_GETARG_DATUM(0)));
  if (AggCheckCallContext(fcinfo, nullptr) &&
      reinterpret_cast<const char*>(pair.a.x) == state + offsetof(Dense<Element>, x)) {
    return a;
  }
  return make_dense<Element>(pair.a.dim);
}

// `operation` of the elements as floats, and `underflows` of the same two: whether a result of 0 means that.
template <typename Element, typename Operation, typename Underflows>
Datum dense_each(FunctionCallInfo fcinfo, Operation operation, Underflows underflows) {
  const Pair<Element> pair(fcinfo);
  Dense<Element>* const result = result_of(fcinfo, pair);
  for (int i = 0; i < pair.a.dim; i++) {
    const float a = to_float(pair.a.x[i]), b = to_float(pair.b.x[i]);
    set_element(operation(a, b), &result->x[i]);
    const float stored = to_float(result->x[i]);
    if (unlikely(std::isinf(stored))) float_overflow_error();
    if (unlikely(stored == 0 && underflows(a, b))) float_underflow_error();
  }
  PG_RETURN_POINTER(result);
}

inline bool never(float, float) { return false; }

template <typename Element>
Datum dense_add(FunctionCallInfo fcinfo) {
  return dense_each<Element>(
      fcinfo, [](float a, float b) { return a + b; }, never);
}
template <typename Element>
Datum dense_sub(FunctionCallInfo fcinfo) {
  return dense_each<Element>(
      fcinfo, [](float a, float b) { return a - b; }, never);
}
template <typename Element>
Datum dense_mul(FunctionCallInfo fcinfo) {
  return dense_each<Element>(
      fcinfo, [](float a, float b) { return a * b; }, [](float a, float b) { return a != 0 && b != 0; });
}

// Element by element, the shorter one first where one begins with the other.
template <typename Element>
int compare_elements(const DenseView<Element>& a, const DenseView<Element>& b) {
  for (int i = 0; i < Min(a.dim, b.dim); i++) {
    const float x = to_float(a.x[i]), y = to_float(b.x[i]);
    if (x < y) return -1;
    if (x > y) return 1;
  }
  return a.dim < b.dim ? -1 : a.dim > b.dim;
}

template <typename Element>
int dense_compare(FunctionCallInfo fcinfo) {
  const DenseView<Element> a(PG_GETARG_DATUM(0));
  const DenseView<Element> b(PG_GETARG_DATUM(1));
  const int order = compare_elements(a, b);
  a.free_copy(PG_GETARG_DATUM(0));
  b.free_copy(PG_GETARG_DATUM(1));
  return order;
}

template <typename Element>
Datum array_to_dense(FunctionCallInfo fcinfo) {
  ArrayType* const array = PG_GETARG_ARRAYTYPE_P(0);
  const int dim = check_number_array(array);
  check_dims(kTypeName<Element>, dim, core::kVectorMaxDims);
  check_expected_dims(PG_GETARG_INT32(1), dim);
  Dense<Element>* const result = make_dense<Element>(dim);
  for_each_number(array, dim, [result](int i, float value) { set_element_checked(value, &result->x[i]); });
  check_elements(result);
  PG_RETURN_POINTER(result);
}

template <typename Element>
Datum dense_to_float4(FunctionCallInfo fcinfo) {
  const DenseView<Element> vector(PG_GETARG_DATUM(0));
  ArrayType* const result = make_float4_array(vector.dim);
  auto* const values = reinterpret_cast<float*>(ARR_DATA_PTR(result));
  for (int i = 0; i < vector.dim; i++) values[i] = to_float(vector.x[i]);
  PG_RETURN_ARRAYTYPE_P(result);
}

inline void copy_elements(const float* from, size_t n, uint16_t* to) {
  core::float_to_half(from, to, n);
  for (size_t i = 0; i < n; i++) {
    if (unlikely((to[i] & 0x7FFF) == 0x7C00)) report_out_of_range("halfvec", from[i]);
  }
}
inline void copy_elements(const uint16_t* from, size_t n, float* to) { core::half_to_float(from, to, n); }

// Between vector and halfvec.
template <typename From, typename To>
Datum dense_cast(FunctionCallInfo fcinfo) {
  const DenseView<From> vector(PG_GETARG_DATUM(0));
  check_expected_dims(PG_GETARG_INT32(1), vector.dim);
  Dense<To>* const result = make_dense<To>(vector.dim);
  copy_elements(vector.x, static_cast<size_t>(vector.dim), result->x);
  PG_RETURN_POINTER(result);
}

// avg()'s transition: the state's sums grow by the vector; the first vector says how many there are.
template <typename Element>
Datum dense_accum(FunctionCallInfo fcinfo, const char* function) {
  ArrayType* state = PG_GETARG_ARRAYTYPE_P(0);
  const double* const before = state_values(state, function);
  const DenseView<Element> vector(PG_GETARG_DATUM(1));
  const int dim = state_dims(state);
  if (dim > 0) check_expected_dims(dim, vector.dim);
  // An aggregate's state may be changed in place.
  if (dim == 0 || !AggCheckCallContext(fcinfo, nullptr)) state = make_float8_array(vector.dim + 1);
  double* const after = state_values(state, function);
  after[0] = before[0] + 1;
  for (int i = 0; i < vector.dim; i++) {
    after[i + 1] = dim == 0 ? to_float(vector.x[i]) : before[i + 1] + to_float(vector.x[i]);
    if (unlikely(std::isinf(after[i + 1]))) float_overflow_error();
  }
  PG_RETURN_ARRAYTYPE_P(state);
}

template <typename Element>
Datum dense_avg(FunctionCallInfo fcinfo, const char* function) {
  ArrayType* const state = PG_GETARG_ARRAYTYPE_P(0);
  const double* const values = state_values(state, function);
  if (values[0] == 0) PG_RETURN_NULL();
  const int dim = state_dims(state);
  check_dims(kTypeName<Element>, dim, core::kVectorMaxDims);
  Dense<Element>* const result = make_dense<Element>(dim);
  for (int i = 0; i < dim; i++) {
    set_element_checked(static_cast<float>(values[i + 1] / values[0]), &result->x[i]);
    check_element(kTypeName<Element>, to_float(result->x[i]));
  }
  PG_RETURN_POINTER(result);
}

}  // namespace cairn
