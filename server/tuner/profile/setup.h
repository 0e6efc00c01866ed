// `cairn tune setup`: what a database needs so that the tuner can see what runs in it.
#pragma once

#include <iosfwd>
#include <string>

namespace cairn::tuner {

struct SetupOptions {
  std::string connection_string = {};
  // Make or update the extension. Settings are never changed: the one that matters needs a restart.
  bool apply = false;
  bool json = false;
};

// Returns the exit code: 0 when nothing is missing, 1 otherwise. Throws Error.
int run_setup(const SetupOptions& options, std::ostream& out);

}  // namespace cairn::tuner
