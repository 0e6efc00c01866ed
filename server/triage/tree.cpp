#include "triage/tree.h"

#include <algorithm>
#include <map>
#include <set>

namespace cairn::triage {
namespace {

using Graph = std::map<int64_t, std::set<int64_t>>;

class Tree {
 public:
  explicit Tree(const std::vector<Session>& sessions) {
    for (const Session& session : sessions) {
      for (const int64_t blocker : session.blocked_by) {
        if (blocker == session.pid) continue;  // a parallel worker's leader, say
        waits_for_[session.pid].insert(blocker);
        waiters_[blocker].insert(session.pid);
        waits_for_[blocker];
      }
    }
  }

  std::vector<TreeLine> lines() {
    std::vector<std::pair<int64_t, int64_t>> roots;  // by how many they hold back, most first
    for (const auto& [pid, blockers] : waits_for_)
      if (blockers.empty()) roots.emplace_back(-held_back(pid), pid);
    std::sort(roots.begin(), roots.end());
    for (const auto& [most, pid] : roots) descend(pid, false);
    // What no root leads to waits in a circle.
    for (const auto& [pid, blockers] : waits_for_)
      if (!shown_.contains(pid)) descend(pid, true);
    return std::move(lines_);
  }

 private:
  int64_t held_back(int64_t pid) const {
    std::set<int64_t> found;
    std::vector<int64_t> open{pid};
    while (!open.empty()) {
      const auto next = waiters_.find(open.back());
      open.pop_back();
      if (next == waiters_.end()) continue;
      for (const int64_t waiter : next->second)
        if (waiter != pid && found.insert(waiter).second) open.push_back(waiter);
    }
    return static_cast<int64_t>(found.size());
  }

  // Not recursive: a queue of sessions may be long.
  void descend(int64_t root, bool in_cycle) {
    struct Step {
      int64_t pid, above;
      int depth;
    };
    std::vector<Step> open{{root, root, 0}};
    while (!open.empty()) {
      const Step step = open.back();
      open.pop_back();
      if (!shown_.insert(step.pid).second) continue;
      TreeLine line{.pid = step.pid, .depth = step.depth, .holds_back = held_back(step.pid)};
      for (const int64_t blocker : waits_for_[step.pid])
        if (blocker != step.above || step.depth == 0) line.waits_also.push_back(blocker);
      line.in_cycle = in_cycle && step.depth == 0;
      lines_.push_back(std::move(line));
      const auto& waiters = waiters_[step.pid];
      for (auto waiter = waiters.rbegin(); waiter != waiters.rend(); ++waiter)
        if (!shown_.contains(*waiter)) open.push_back({*waiter, step.pid, step.depth + 1});
    }
  }

  Graph waits_for_, waiters_;
  std::set<int64_t> shown_;
  std::vector<TreeLine> lines_;
};

}  // namespace

std::vector<TreeLine> blocking_tree(const std::vector<Session>& sessions) { return Tree(sessions).lines(); }

}  // namespace cairn::triage
