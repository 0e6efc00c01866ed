// See input_error.h.
#include "types/input_error.h"

namespace cairn {

using core::InputError;
using core::InputResult;

namespace {

[[noreturn]] void report_text(InputError error, const char* type, const char* text, bool sparse) {
  const char* detail = nullptr;
  if (error == InputError::kNoOpening) {
    detail = sparse ? "Vector contents must start with \"{\"." : "Vector contents must start with \"[\".";
  } else if (error == InputError::kJunkAfter) {
    detail = sparse ? "Junk after closing." : "Junk after closing right brace.";
  } else if (error == InputError::kUnexpectedEnd) {
    detail = "Unexpected end of input.";
  }
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("invalid input syntax for type %s: \"%s\"", type, text),
           detail ? errdetail("%s", detail) : 0));
}

[[noreturn]] void report_data(const char* message) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("%s", message)));
}

[[noreturn]] void report_limit(const char* message) {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s", message)));
}

}  // namespace

void report_input_error(const InputResult& result, const char* type, const char* text, int expected_dims) {
  const bool sparse = strcmp(type, "sparsevec") == 0;
  switch (result.error) {
    case InputError::kOutOfRange:
      ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                      errmsg("\"%s\" is out of range for type %s", pnstrdup(result.at, result.length), type)));
    case InputError::kNoDims:
      report_no_dims(type);
    case InputError::kTooManyDims:
      report_too_many_dims(type, sparse ? core::kSparseMaxDims : core::kVectorMaxDims);
    case InputError::kTooManyElements:
      report_too_many_elements();
    case InputError::kNaN:
      report_nan(type);
    case InputError::kInfinite:
      report_infinite(type);
    case InputError::kIndexOutOfBounds:
      report_data("sparsevec index out of bounds");
    case InputError::kDuplicateIndex:
      report_data("sparsevec indices must not contain duplicates");
    case InputError::kIndexOrder:
      report_data("sparsevec indices must be in ascending order");
    case InputError::kZeroValue:
      report_data("binary representation of sparsevec cannot contain zero values");
    case InputError::kNegativeElements:
      report_data("sparsevec cannot have negative number of elements");
    case InputError::kMoreElementsThanDims:
      report_limit("sparsevec cannot have more elements than dimensions");
    case InputError::kUnexpectedDims:
      report_unexpected_dims(expected_dims, result.dims);
    case InputError::kUnusedNotZero:
      ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected unused to be 0, not %d", result.unused)));
    case InputError::kCutOff:
      ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("insufficient data left in message")));
    case InputError::kNone:
    case InputError::kSyntax:
    case InputError::kNoOpening:
    case InputError::kJunkAfter:
    case InputError::kUnexpectedEnd:
      break;
  }
  report_text(result.error, type, text, sparse);
}

void report_no_dims(const char* type) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("%s must have at least 1 dimension", type)));
}

void report_too_many_dims(const char* type, int max_dims) {
  ereport(ERROR,
          (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s cannot have more than %d dimensions", type, max_dims)));
}

void report_too_many_elements() {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                  errmsg("sparsevec cannot have more than %d non-zero elements", core::kSparseMaxElements)));
}

void report_unexpected_dims(int expected_dims, int dims) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %d dimensions, not %d", expected_dims, dims)));
}

void report_different_dims(const char* type, int a, int b) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("different %s dimensions %d and %d", type, a, b)));
}

void report_nan(const char* type) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("NaN not allowed in %s", type)));
}

void report_infinite(const char* type) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("infinite value not allowed in %s", type)));
}

void report_out_of_range(const char* type, float value) {
  char text[FLOAT_SHORTEST_DECIMAL_LEN];
  float_to_shortest_decimal_buf(value, text);
  ereport(ERROR,
          (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("\"%s\" is out of range for type %s", text, type)));
}

int32 parse_type_modifier(ArrayType* modifiers, const char* type, int max_dims) {
  int count;
  const int32* const values = ArrayGetIntegerTypmods(modifiers, &count);
  if (count != 1) ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid type modifier")));
  if (values[0] < 1) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("dimensions for type %s must be at least 1", type)));
  }
  if (values[0] > max_dims) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("dimensions for type %s cannot exceed %d", type, max_dims)));
  }
  return values[0];
}

}  // namespace cairn
