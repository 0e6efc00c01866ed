// `cairn tune profile`: what takes the database's time.
#pragma once

#include <iosfwd>
#include <string>

#include "tuner/profile/profile.h"

namespace cairn::tuner {

struct ProfileOptions {
  std::string connection_string = {};
  std::string state_directory = {};
  std::string since = {};  // a snapshot's name, or `last`; empty: all that is counted
  double interval_s = 0;   // look, wait so long, look again; 0: look once
  int64_t top = 20;
  Order order = Order::kTotal;
  std::string log = {};  // the server's, on this machine; empty: it is read through the server
  bool save = false;
  bool tables = false;
  int samples = 0;  // of what sessions wait for, spread over the interval, or a tenth of a second apart
  bool json = false;
};

// Results go to `out`, what happens meanwhile to `progress`. Returns the exit code; throws Error.
int run_profile(const ProfileOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
