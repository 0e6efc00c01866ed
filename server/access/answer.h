// What may not be read, left out of a list.
#pragma once

#include <string>
#include <string_view>

#include "http/auth.h"

namespace cairn::access {

// `where` is the list's name in the JSON object `body`, and where in its items the object's name is: "runs.info.id".
// A page may become shorter, and its token still leads on: where the handler did not look at Request::hidden.
void leave_out_unreadable(std::string& body, std::string_view where, const http::Permissions& permissions);

}  // namespace cairn::access
