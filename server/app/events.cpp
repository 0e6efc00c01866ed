#include "app/events.h"

#include <algorithm>
#include <list>

#include "base/error.h"
#include "base/log.h"

namespace cairn::app {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kMostStreams = 64;
constexpr auto kLongest = 15min;
// By a write to it a client that has gone is noticed.
constexpr auto kBeat = 5s;
constexpr const char* kHello = "retry: 3000\n\n";
constexpr const char* kHeartbeat = ":\n\n";
// Whether somebody has come.
constexpr auto kIdlePoll = 100ms;

// JSON has line ends only between its words.
std::string event_of(const std::string& topic, std::string value) {
  std::ranges::replace(value, '\n', ' ');
  return "event: " + topic + "\ndata: " + value + "\n\n";
}

}  // namespace

struct Events::Topic {
  std::string name;
  std::chrono::milliseconds interval;
  Look look;
  int listeners = 0;
  std::string value;
  std::shared_ptr<const std::string> event;  // null: not looked at yet
  uint64_t version = 0;
};

struct Events::Hub {
  std::list<Topic> topics;
  int streams = 0;
  bool stopped = false;
  uint64_t beats = 0;
  std::vector<OneShot<bool>*> waiting;

  void wake() {
    for (OneShot<bool>* one : std::exchange(waiting, {})) one->set(true);
  }
};

class Events::Stream : public http::BodyStream {
 public:
  Stream(std::shared_ptr<Hub> hub, std::vector<Topic*> topics) : hub_(std::move(hub)), end_(Clock::now() + kLongest) {
    for (Topic* topic : topics) {
      if (topic->listeners++ == 0) topic->event = nullptr;  // it is old
      seen_.push_back({topic, 0});
    }
    ++hub_->streams;
  }
  ~Stream() override {
    for (const Seen& seen : seen_) --seen.topic->listeners;
    --hub_->streams;
  }

  task<std::optional<std::string>> next() override {
    if (!std::exchange(greeted_, true)) co_return kHello;
    for (;;) {
      if (hub_->stopped || Clock::now() > end_) co_return std::nullopt;
      std::string events;
      for (Seen& seen : seen_) {
        if (seen.topic->event == nullptr || seen.version == seen.topic->version) continue;
        seen.version = seen.topic->version;
        events += *seen.topic->event;
      }
      if (events.empty() && std::exchange(beats_, hub_->beats) != hub_->beats) events = kHeartbeat;
      if (!events.empty()) co_return events;
      OneShot<bool> change;
      hub_->waiting.push_back(&change);
      co_await change.wait();
    }
  }

 private:
  struct Seen {
    Topic* topic;
    uint64_t version;
  };
  std::shared_ptr<Hub> hub_;
  std::vector<Seen> seen_;
  Clock::time_point end_;
  uint64_t beats_ = 0;
  bool greeted_ = false;
};

Events::Events() : hub_(std::make_shared<Hub>()) {}

void Events::add_topic(std::string name, std::chrono::milliseconds interval, Look look) {
  Topic& topic = hub_->topics.emplace_back();
  topic.name = std::move(name);
  topic.interval = interval;
  topic.look = std::move(look);
}

void Events::register_routes(http::Router& router) {
  router.add("GET", "/api/v1/events", [hub = hub_](http::Request& request) -> task<http::Response> {
    std::vector<Topic*> topics;
    for (const auto& [key, name] : request.query) {
      if (key != "topic") continue;
      const auto found = std::ranges::find(hub->topics, name, &Topic::name);
      if (found == hub->topics.end()) throw invalid("'topic' is sessions, alerts or action, not '" + name + "'.");
      if (std::ranges::find(topics, &*found) == topics.end()) topics.push_back(&*found);
    }
    if (topics.empty())
      throw invalid("'topic' says of what: sessions, alerts or action; it may be there several times.");
    if (hub->stopped) throw Error(ErrorCode::kTemporarilyUnavailable, "The server is stopping.");
    if (hub->streams >= kMostStreams)
      throw Error(ErrorCode::kRequestLimitExceeded,
                  "So many streams of events are open already that no more are: ask the topics' own routes.");
    http::Response response;
    response.content_type = "text/event-stream";
    response.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
    response.stream = std::make_unique<Stream>(hub, std::move(topics));
    co_return response;
  });
}

task<> Events::keep(std::shared_ptr<Hub> hub, Topic& topic) {
  while (!hub->stopped) {
    if (topic.listeners == 0) {
      co_await sleep_for(kIdlePoll);
      continue;
    }
    try {
      std::string value = co_await topic.look();
      if (topic.event == nullptr || value != topic.value) {
        topic.value = std::move(value);
        topic.event = std::make_shared<const std::string>(event_of(topic.name, topic.value));
        ++topic.version;
        hub->wake();
      }
    } catch (const Error& error) {
      // The database is away. Who listens keeps what it has, as who asks again does.
      log::event(spdlog::level::debug, "events", {{"topic", topic.name}, {"error", error.what()}});
    }
    // In short steps: somebody may come for whom the value is too old.
    const auto next = Clock::now() + topic.interval;
    while (Clock::now() < next && topic.event != nullptr && !hub->stopped)
      co_await sleep_for(std::min<std::chrono::nanoseconds>(kIdlePoll, topic.interval));
    if (topic.event == nullptr) co_await sleep_for(kIdlePoll);
  }
}

task<> Events::beat(std::shared_ptr<Hub> hub) {
  while (!hub->stopped) {
    co_await sleep_for(kBeat);
    ++hub->beats;
    hub->wake();
  }
}

void Events::start(Reactor& reactor) {
  for (Topic& topic : hub_->topics) reactor.spawn("events", keep(hub_, topic));
  reactor.spawn("events", beat(hub_));
}

void Events::stop() {
  hub_->stopped = true;
  hub_->wake();
}

int Events::open() const { return hub_->streams; }

}  // namespace cairn::app
