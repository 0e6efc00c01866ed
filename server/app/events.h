// GET /api/v1/events: server-sent events, by which the page sees what changes without asking again and again.
//
// Topics: `sessions` (as /api/v1/database/activity), `alerts` (as /api/v1/monitor/alerts), `action` (as
// /api/v1/database/action). An event has the topic's whole value. A topic is looked at only while somebody listens,
// once for all, and its newest value is all that is kept: who reads slowly gets fewer events, and costs no memory.
// Streams are bounded in number, and each ends after a while, so that the credentials it was opened with are asked for
// again.
//
// Threads: reactor only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "http/router.h"

namespace cairn::app {

class Events {
 public:
  using Look = std::function<task<std::string>()>;

  Events();
  // To be called before anything else. `look` gives JSON.
  void add_topic(std::string name, std::chrono::milliseconds interval, Look look);
  void register_routes(http::Router& router);
  // Begins to look, in coroutines without end.
  void start(Reactor& reactor);
  // Ends all streams; no new ones are opened.
  void stop();
  int open() const;

 private:
  struct Topic;
  struct Hub;
  class Stream;
  static task<> keep(std::shared_ptr<Hub> hub, Topic& topic);
  static task<> beat(std::shared_ptr<Hub> hub);

  // Shared with the streams, which end when their connections do.
  std::shared_ptr<Hub> hub_;
};

}  // namespace cairn::app
