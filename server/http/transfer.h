// One HTTP request to somebody else's server: libcurl, driven from the reactor by short sleeps, so that no thread
// waits. Connections are kept and used again.
//
// All on one thread: each has its own connections.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"

namespace cairn::http {

struct Transfer {
  std::string url;
  std::vector<std::string> headers;
  std::string body;
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  size_t max_answer = 32u << 20;
};

struct TransferResult {
  std::string failure;     // why there is no answer; empty: there is one
  bool can_repeat = true;  // with a failure: whether another try may succeed
  int status = 0;
  std::string body;
  std::optional<std::chrono::seconds> retry_after;
};

// POSTs JSON. Redirects are not followed: the key would go to wherever they lead.
task<TransferResult> post_json(Transfer transfer);

}  // namespace cairn::http
