#include "workload/server_cpu.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace cairn::workload {
namespace {

namespace fs = std::filesystem;

struct Process {
  std::string name;
  int parent = 0;
  double own_ticks = 0;
  double ended_children_ticks = 0;
};

std::optional<Process> process(const fs::path& directory) {
  std::ifstream file(directory / "stat");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  // The name, in brackets, may hold anything.
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  Process found;
  found.name = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  std::string skipped;
  rest >> skipped >> found.parent;
  for (int i = 0; i < 9; ++i) rest >> skipped;
  double user = 0, system = 0, children_user = 0, children_system = 0;
  rest >> user >> system >> children_user >> children_system;
  found.own_ticks = user + system;
  found.ended_children_ticks = children_user + children_system;
  return rest ? std::optional(found) : std::nullopt;
}

}  // namespace

ServerCpu::ServerCpu(int backend_pid) {
  const auto backend = process(fs::path("/proc") / std::to_string(backend_pid));
  if (backend && backend->name.starts_with("postgres")) postmaster_ = backend->parent;
}

std::optional<double> ServerCpu::seconds() const {
  if (postmaster_ == 0) return std::nullopt;
  const auto postmaster = process(fs::path("/proc") / std::to_string(postmaster_));
  if (!postmaster || !postmaster->name.starts_with("postgres")) return std::nullopt;
  double ticks = postmaster->own_ticks + postmaster->ended_children_ticks;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", failure)) {
    const std::string name = entry.path().filename().string();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    const auto child = process(entry.path());
    if (child && child->parent == postmaster_) ticks += child->own_ticks;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace cairn::workload
