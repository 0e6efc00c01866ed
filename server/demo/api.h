// `cairn demo`: the platform's main job from one end to the other on real data, against a server of its own.
//
// A child process `cairn serve` runs on a temporary directory; the demonstration speaks to it over HTTP as any client
// does, and reads its database with SQL. Nothing is left behind.
#pragma once

#include <iosfwd>
#include <string>

namespace cairn::demo {

struct Options {
  bool keep = false;  // leave the server up until SIGINT or SIGTERM
  bool json = false;
  int port = 0;              // 0: any free one
  std::string postgres_bin;  // empty: found
};

// Prints the summary to `out`, progress to standard error. Returns 0 when every step held, else 1.
int run_demo(const Options& options, std::ostream& out);

}  // namespace cairn::demo
