// A state for people and for programs.
#pragma once

#include <iosfwd>
#include <string>

#include "triage/findings.h"
#include "triage/state.h"

namespace cairn::triage {

void print_state(const State& state, std::ostream& out);
// Parts of it, for the runbook.
void print_finding(const Finding& finding, std::ostream& out);
void print_tree(const State& state, std::ostream& out);
void print_sessions(const State& state, std::ostream& out);

std::string state_json(const State& state);

}  // namespace cairn::triage
