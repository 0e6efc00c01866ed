// `cairn doctor`: looks at what the server needs and says what to do about each thing that is not right.
#pragma once

#include <iosfwd>

#include "base/config.h"

namespace cairn::app {

// Prints the findings. Returns 0 when nothing is wrong (warnings may be), 5 when something is.
int run_doctor(const ServerConfig& config, bool as_json, std::ostream& out);

}  // namespace cairn::app
