// See input.h: the text formats.
#include <algorithm>
#include <climits>
#include <cstring>

#include "kernels/half.h"
#include "types/input.h"
#include "types/number.h"

namespace cairn::core {
namespace {

InputResult failed_number(const char* text, const Number& number) {
  InputResult result = InputResult::failed(InputError::kOutOfRange);
  result.at = text;
  result.length = static_cast<size_t>(number.end - text);
  return result;
}

// How a number becomes an element: false if it is too large for one.
bool convert(const Number& number, float* value) {
  *value = number.value;
  return !(number.out_of_range && number.value != 0);
}

bool convert(const Number& number, uint16_t* value) {
  *value = float_to_half(number.value);
  const bool written_infinite = std::isinf(number.value) && !number.out_of_range;
  return (*value & 0x7FFF) != 0x7C00 || written_infinite;
}

template <typename Element>
InputResult parse_dense(const char* text, Element* values) {
  const char* const text_end = text + strlen(text);
  const char* p = skip_spaces(text);
  if (*p != '[') return InputResult::failed(InputError::kNoOpening);
  p = skip_spaces(p + 1);
  if (*p == ']') return InputResult::failed(InputError::kNoDims);

  InputResult result;
  for (;;) {
    if (result.dims == kVectorMaxDims) return InputResult::failed(InputError::kTooManyDims);
    p = skip_spaces(p);
    const Number number = parse_number(p, text_end);
    if (number.end == p) return InputResult::failed(InputError::kSyntax);
    if (!convert(number, &values[result.dims])) return failed_number(p, number);
    if (std::isnan(number.value)) return InputResult::failed(InputError::kNaN);
    if (std::isinf(number.value)) return InputResult::failed(InputError::kInfinite);
    result.dims++;
    p = skip_spaces(number.end);
    if (*p == ']') break;
    if (*p != ',') return InputResult::failed(InputError::kSyntax);
    p++;
  }
  p = skip_spaces(p + 1);
  if (*p != '\0') return InputResult::failed(InputError::kJunkAfter);
  return result;
}

// An integer by the rules of strtol, saturating; false if there is none.
bool parse_integer(const char** text, int64_t* value) {
  char* end = nullptr;
  *value = std::clamp<int64_t>(strtol(*text, &end, 10), INT_MIN, INT_MAX);
  if (end == *text) return false;
  *text = end;
  return true;
}

struct Element {
  int32_t index;  // as written: from 1
  float value;
};

// Ascending, within the dimensions, each once; moved to the caller's arrays, from 0.
InputResult order_elements(Element* elements, InputResult result, int32_t* indices, float* values) {
  const auto before = [](const Element& a, const Element& b) { return a.index < b.index; };
  if (!std::is_sorted(elements, elements + result.elements, before)) {
    std::sort(elements, elements + result.elements, before);
  }
  for (int i = 0; i < result.elements; i++) {
    const int32_t index = elements[i].index;
    if (index < 1 || index > result.dims) return InputResult::failed(InputError::kIndexOutOfBounds);
    if (i > 0 && index == elements[i - 1].index) return InputResult::failed(InputError::kDuplicateIndex);
    indices[i] = index - 1;
    values[i] = elements[i].value;
  }
  return result;
}

// "index:value" and what follows it, from *p on; a zero is not kept.
InputError parse_element(const char** p, const char* text_end, Element* element, InputResult* result) {
  int64_t index;
  if (!parse_integer(p, &index)) return InputError::kSyntax;
  *p = skip_spaces(*p);
  if (**p != ':') return InputError::kSyntax;
  *p = skip_spaces(*p + 1);
  const Number number = parse_number(*p, text_end);
  if (number.end == *p) return InputError::kSyntax;
  if (number.out_of_range) {
    *result = failed_number(*p, number);
    return InputError::kOutOfRange;
  }
  if (std::isnan(number.value)) return InputError::kNaN;
  if (std::isinf(number.value)) return InputError::kInfinite;
  *element = {static_cast<int32_t>(index), number.value};
  *p = skip_spaces(number.end);
  return InputError::kNone;
}

}  // namespace

InputResult parse_vector(const char* text, float* values) { return parse_dense(text, values); }
InputResult parse_halfvec(const char* text, uint16_t* values) { return parse_dense(text, values); }

InputResult parse_sparsevec(const char* text, int32_t* indices, float* values) {
  const char* const text_end = text + strlen(text);
  // Zeros count too, and so do commas in the wrong place: the elements' array is never too small.
  if (std::count(text, text_end, ',') >= kSparseMaxElements) return InputResult::failed(InputError::kTooManyElements);
  Element elements[kSparseMaxElements];

  InputResult result;
  const char* p = skip_spaces(text);
  if (*p != '{') return InputResult::failed(InputError::kNoOpening);
  p = skip_spaces(p + 1);
  while (*p != '}') {
    Element* const element = &elements[result.elements];
    const InputError error = parse_element(&p, text_end, element, &result);
    if (error == InputError::kOutOfRange) return result;
    if (error != InputError::kNone) return InputResult::failed(error);
    if (element->value != 0) result.elements++;
    if (*p == '}') break;
    if (*p != ',') return InputResult::failed(InputError::kSyntax);
    p = skip_spaces(p + 1);
    if (*p == '}') return InputResult::failed(InputError::kSyntax);
  }
  p = skip_spaces(p + 1);
  if (*p != '/') return InputResult::failed(InputError::kUnexpectedEnd);
  p = skip_spaces(p + 1);
  int64_t dims;
  if (!parse_integer(&p, &dims)) return InputResult::failed(InputError::kSyntax);
  p = skip_spaces(p);
  if (*p != '\0') return InputResult::failed(InputError::kJunkAfter);
  if (dims < 1) return InputResult::failed(InputError::kNoDims);
  if (dims > kSparseMaxDims) return InputResult::failed(InputError::kTooManyDims);
  result.dims = static_cast<int32_t>(dims);
  return order_elements(elements, result, indices, values);
}

}  // namespace cairn::core
