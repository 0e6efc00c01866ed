// `cairn tune prove`.
#pragma once

#include <iosfwd>
#include <string>

#include "tuner/prove/prove.h"

namespace cairn::tuner {

struct ProveCommand {
  ProveOptions prove;
  std::string advice = "last";
  std::string state_directory;
  bool json = false;
};

// The proof goes to `out`, and into a file of its own below the state directory. Returns the exit code: 0 when
// something was kept, else 1; throws Error.
int run_prove(const ProveCommand& command, std::ostream& out, std::ostream& progress);

void print(const Advice& advice, const Proof& proof, std::ostream& out);

}  // namespace cairn::tuner
