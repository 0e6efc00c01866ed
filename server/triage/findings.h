// What in a state needs somebody, and what to do about it. Pure.
#pragma once

#include <string>
#include <vector>

#include "triage/state.h"

namespace cairn::triage {

struct Finding {
  bool critical = false;
  std::string subject = {};  // "blocking", "transaction", "statement", "connections", …: as the sections are called
  std::string what = {};
  std::string to_do = {};
};

// Critical ones first.
std::vector<Finding> find_trouble(const State& state);

std::string shown_age(double seconds);
std::string shown_bytes(double bytes);
// One line, at most `most` characters.
std::string shortened(const std::string& text, size_t most);
// "process 712 (role ml, app)"; the prepared transaction's name where there is no process.
std::string shown_session(const Session& session);
const Session* find_session(const State& state, int64_t pid);

}  // namespace cairn::triage
