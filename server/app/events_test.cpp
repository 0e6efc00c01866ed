#include "app/events.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cairn::app {
namespace {

using namespace std::chrono_literals;
using Piece = std::optional<std::string>;

class EventsTest : public testing::Test {
 protected:
  EventsTest() {
    events_.add_topic("count", 1ms, [this] { return look(); });
    events_.add_topic("still", 1ms, []() -> task<std::string> { co_return "[1,\n 2]"; });
    events_.register_routes(router_);
    events_.start(reactor_);
  }

  std::unique_ptr<http::BodyStream> listen(const std::string& topic) {
    http::Request request;
    request.query = {{"topic", topic}};
    return reactor_.block_on(router_.match("GET", "/api/v1/events").route->handler(request)).stream;
  }
  Piece next(http::BodyStream& stream) { return reactor_.block_on(stream.next()); }
  void wait_for_looks(int64_t number) {
    auto wait = [](const int64_t& looks, int64_t until) -> task<> {
      while (looks < until) co_await sleep_for(1ms);
    };
    reactor_.block_on(wait(looks_, number));
  }

  int64_t looks_ = 0;
  Reactor reactor_;
  http::Router router_;
  Events events_;

 private:
  task<std::string> look() { co_return std::to_string(++looks_); }
};

TEST_F(EventsTest, WhoReadsSlowlyGetsTheNewestValueAndNoneInBetween) {
  const auto stream = listen("count");
  EXPECT_EQ(next(*stream), "retry: 3000\n\n");
  EXPECT_TRUE(next(*stream)->starts_with("event: count\ndata: "));
  wait_for_looks(looks_ + 3);
  const std::string newest = "event: count\ndata: " + std::to_string(looks_) + "\n\n";
  EXPECT_EQ(next(*stream), newest);
}

TEST_F(EventsTest, AValueIsToldOnceAndOnOneLine) {
  const auto still = listen("still"), count = listen("count");
  EXPECT_EQ(next(*still), "retry: 3000\n\n");
  EXPECT_EQ(next(*still), "event: still\ndata: [1,  2]\n\n");
  next(*count);
  for (int i = 0; i < 3; ++i) next(*count);  // each wakes all who wait
  events_.stop();
  EXPECT_EQ(next(*still), std::nullopt);
}

TEST_F(EventsTest, NobodyIsLookedForWhileNobodyListens) {
  { const auto stream = listen("count"); }
  const int64_t looks = looks_;
  const auto other = listen("still");
  for (int i = 0; i < 2; ++i) next(*other);
  EXPECT_EQ(looks_, looks);
}

TEST_F(EventsTest, StreamsAreBounded) {
  std::vector<std::unique_ptr<http::BodyStream>> streams;
  EXPECT_THROW(
      {
        for (int i = 0; i < 100; ++i) streams.push_back(listen("count"));
      },
      Error);
  const int most = events_.open();
  EXPECT_EQ(size_t(most), streams.size());
  streams.pop_back();
  EXPECT_NO_THROW(streams.push_back(listen("count")));
}

TEST_F(EventsTest, AStopEndsStreamsAndRefusesNewOnes) {
  const auto stream = listen("still");
  next(*stream);
  next(*stream);
  events_.stop();
  EXPECT_EQ(next(*stream), std::nullopt);
  EXPECT_THROW(listen("still"), Error);
}

}  // namespace
}  // namespace cairn::app
