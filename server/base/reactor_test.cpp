#include "base/reactor.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>

namespace cairn {
namespace {

using namespace std::chrono_literals;

task<int> add(int a, int b) {
  co_await sleep_for(1ms);
  co_return a + b;
}

TEST(Reactor, BlockOnGivesTheResultOrTheException) {
  Reactor reactor;
  EXPECT_EQ(reactor.block_on(add(2, 3)), 5);
  auto fails = []() -> task<int> {
    co_await sleep_for(1ms);
    throw std::runtime_error("no");
  };
  EXPECT_THROW(reactor.block_on(fails()), std::runtime_error);
}

TEST(Reactor, OffloadRunsElsewhereAndResumesHere) {
  Reactor reactor;
  auto body = []() -> task<bool> {
    const auto here = std::this_thread::get_id();
    auto work = [here] { return std::this_thread::get_id() != here; };
    const bool elsewhere = co_await offload(work);
    co_return elsewhere&& std::this_thread::get_id() == here;
  };
  EXPECT_TRUE(reactor.block_on(body()));
  auto fails = []() -> task<> {
    auto work = [] { throw std::runtime_error("disk"); };
    co_await offload(work);
  };
  EXPECT_THROW(reactor.block_on(fails()), std::runtime_error);
}

TEST(Reactor, OneShotWakesItsWaiterOnce) {
  Reactor reactor;
  OneShot<std::string> slot;
  auto setter = [&]() -> task<> {
    co_await sleep_for(1ms);
    slot.set("done");
  };
  auto body = [&]() -> task<std::string> {
    reactor.spawn("setter", setter());
    co_return co_await slot.wait();
  };
  EXPECT_EQ(reactor.block_on(body()), "done");
}

TEST(Reactor, DeepChainsOfTasksDoNotGrowTheStack) {
  Reactor reactor;
  auto immediate = []() -> task<int> { co_return 1; };
  auto body = [&]() -> task<int> {
    int sum = 0;
    for (int i = 0; i < 200000; ++i) sum += co_await immediate();
    co_return sum;
  };
  EXPECT_EQ(reactor.block_on(body()), 200000);
}

}  // namespace
}  // namespace cairn
