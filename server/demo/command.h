// The program's own commands, each in a process of its own, as a user would type them.
#pragma once

#include <string>
#include <vector>

namespace cairn::demo {

// Runs `cairn ARGUMENTS --json` and gives the JSON that it printed. What it says meanwhile goes to a file in the
// directory. A signal to this process ends it too, and it cleans up. Throws Error with the end of what it said when its
// exit code is not 0.
std::string run_command(const std::string& directory, std::vector<std::string> arguments);

}  // namespace cairn::demo
