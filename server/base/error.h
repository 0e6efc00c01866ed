// What can go wrong, in one type that every layer throws and that one table maps to HTTP status, MLflow's error code
// and the process's exit code.
//
// Errors are exceptions because nearly all of the server is coroutines that validate dozens of fields: a handler reads
// as the rule it implements, and the happy path pays nothing. Functions for which failure is an ordinary answer return
// std::optional.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace cairn {

enum class ErrorCode {
  kBadRequest,
  kInvalidParameterValue,
  kUnauthenticated,
  kPermissionDenied,
  kResourceDoesNotExist,
  kEndpointNotFound,
  kMethodNotAllowed,
  kRequestTimeout,
  kResourceAlreadyExists,
  kResourceConflict,
  kAborted,
  kPayloadTooLarge,
  kHeaderTooLarge,
  kInvalidState,
  kRequestLimitExceeded,
  kNotImplemented,
  kTemporarilyUnavailable,
  kInsufficientStorage,
  kInternalError,
};

// MLflow's name of the code, as it stands in the `error_code` field of an error body.
std::string_view error_name(ErrorCode code);
int http_status(ErrorCode code);
// Exit codes of the command line: 0 done, 1 internal, 2 usage or invalid input, 3 not found, 4 conflict, 5 unavailable,
// 6 denied.
int exit_code(ErrorCode code);

// An error with a message for the person who reads it: what happened, to what, and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

inline Error invalid(const std::string& message) { return Error(ErrorCode::kInvalidParameterValue, message); }
inline Error not_found(const std::string& message) { return Error(ErrorCode::kResourceDoesNotExist, message); }

}  // namespace cairn
