#include "base/error.h"

namespace cairn {
namespace {

struct Row {
  ErrorCode code;
  std::string_view name;
  int http_status;
  int exit_code;
};

constexpr Row kTable[] = {
    {ErrorCode::kBadRequest, "BAD_REQUEST", 400, 2},
    {ErrorCode::kInvalidParameterValue, "INVALID_PARAMETER_VALUE", 400, 2},
    {ErrorCode::kUnauthenticated, "UNAUTHENTICATED", 401, 6},
    {ErrorCode::kPermissionDenied, "PERMISSION_DENIED", 403, 6},
    {ErrorCode::kResourceDoesNotExist, "RESOURCE_DOES_NOT_EXIST", 404, 3},
    {ErrorCode::kEndpointNotFound, "ENDPOINT_NOT_FOUND", 404, 3},
    {ErrorCode::kMethodNotAllowed, "BAD_REQUEST", 405, 2},
    {ErrorCode::kRequestTimeout, "BAD_REQUEST", 408, 5},
    {ErrorCode::kResourceAlreadyExists, "RESOURCE_ALREADY_EXISTS", 400, 4},
    {ErrorCode::kResourceConflict, "RESOURCE_CONFLICT", 409, 4},
    {ErrorCode::kAborted, "ABORTED", 409, 4},
    {ErrorCode::kPayloadTooLarge, "BAD_REQUEST", 413, 2},
    {ErrorCode::kHeaderTooLarge, "BAD_REQUEST", 431, 2},
    {ErrorCode::kInvalidState, "INVALID_STATE", 500, 4},
    {ErrorCode::kRequestLimitExceeded, "REQUEST_LIMIT_EXCEEDED", 429, 5},
    {ErrorCode::kNotImplemented, "NOT_IMPLEMENTED", 501, 1},
    {ErrorCode::kTemporarilyUnavailable, "TEMPORARILY_UNAVAILABLE", 503, 5},
    {ErrorCode::kInsufficientStorage, "INSUFFICIENT_STORAGE", 507, 5},
    {ErrorCode::kInternalError, "INTERNAL_ERROR", 500, 1},
};

const Row& row(ErrorCode code) {
  for (const Row& candidate : kTable) {
    if (candidate.code == code) return candidate;
  }
  return kTable[std::size(kTable) - 1];
}

}  // namespace

std::string_view error_name(ErrorCode code) { return row(code).name; }
int http_status(ErrorCode code) { return row(code).http_status; }
int exit_code(ErrorCode code) { return row(code).exit_code; }

}  // namespace cairn
