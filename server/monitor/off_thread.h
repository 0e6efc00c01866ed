// Work that a thread of offload() does on an object, which may be destroyed meanwhile when the server stops: then the
// object waits for the work under way, and what has not begun is left out.
#pragma once

#include <memory>
#include <mutex>

namespace cairn::monitor {

class OffThread {
 public:
  ~OffThread() {
    const std::lock_guard lock(state_->mutex);
    state_->alive = false;
  }
  OffThread() = default;
  OffThread(const OffThread&) = delete;
  OffThread& operator=(const OffThread&) = delete;

  // `fn` for offload(). Declare the OffThread as the last member, so that it goes first.
  template <class F>
  auto guard(F fn) const {
    return [state = state_, fn] {
      const std::lock_guard lock(state->mutex);
      return state->alive ? fn() : decltype(fn())();
    };
  }

 private:
  struct State {
    std::mutex mutex;
    bool alive = true;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace cairn::monitor
