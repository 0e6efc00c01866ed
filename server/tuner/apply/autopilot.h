// `cairn tune autopilot`: profile, advise, prove, apply and verify, again and again, unattended, within the limits that
// were set. Every step says what it did and why; what it changed is in the journal and can be undone.
#pragma once

#include <iosfwd>
#include <set>
#include <string>

#include "tuner/advise/advise.h"
#include "tuner/prove/prove.h"

namespace cairn::tuner {

struct AutopilotOptions {
  std::string connection_string = {};
  std::string state_directory = {};
  std::string log = {};  // as of ProveOptions
  CloneOptions clone = {};
  AdviceLimits limits = {};
  std::set<ChangeKind> allowed = {ChangeKind::kIndex};
  bool unproven = false;      // go by estimates where no clone can be had
  bool dry_run = false;       // changes nothing
  double watch_s = 0;         // count statements for so long; 0: take all that are counted already
  double verify_s = 600;      // wait so long for calls that show the effect
  int rounds = 1;             // 0: until it is stopped
  double interval_s = 86400;  // from the end of a round to the next
  int top = 500;
  bool json = false;  // a line for each step
};

// Leaves in the advice only changes of these kinds, and what rests on them. Those that are on request are in it when
// their kind is not `index`: to allow a kind is to ask for it.
void keep_only(Advice& advice, const std::set<ChangeKind>& allowed);

// Kept indexes, by their positions, all of whose faster statements are answered from a materialized view that the proof
// kept, by an offered and confirmed text. Whoever allows such views means to send that text, and then these indexes
// only cost writes.
std::set<size_t> put_off(const Advice& advice, const Proof& proof);

// Returns the exit code: 0, or 1 when a round could not be finished (no clone, a change that failed, something slower).
int run_autopilot(const AutopilotOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
