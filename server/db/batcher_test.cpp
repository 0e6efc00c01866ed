#include "db/batcher.h"

#include <gtest/gtest.h>

namespace cairn::db {
namespace {

using Numbers = Batcher<int, int>;

size_t one(const int&) { return 1; }

// The errors of so many requests that come at once, in their order; "" for those that were done.
std::vector<std::string> submit(Reactor& reactor, Numbers& numbers, int count) {
  std::vector<std::string> errors(static_cast<size_t>(count));
  int left = count;
  auto request = [&](int number) -> task<> {
    try {
      co_await numbers.submit(number);
    } catch (const Error& error) {
      errors[static_cast<size_t>(number)] = error.what();
    }
    --left;
  };
  auto all = [&]() -> task<> {
    for (int i = 0; i < count; ++i) reactor.spawn("request", request(i));
    while (left > 0) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor.block_on(all());
  return errors;
}

TEST(Batcher, WhatATimeOutStopsIsTriedAlone) {
  for (const char* sqlstate : {"55P03", "57014", "22000"}) {
    Reactor reactor;
    Numbers numbers("numbers", 100, one, [&](Numbers::Group& group) -> task<> {
      co_await sleep_for(std::chrono::milliseconds(1));  // the others come meanwhile
      for (const auto& item : group) {
        if (item->input == 3) throw DbError(sqlstate, "three", "");
      }
    });
    const std::vector<std::string> errors = submit(reactor, numbers, 6);
    for (size_t i = 0; i < errors.size(); ++i) EXPECT_EQ(errors[i].empty(), i != 3) << sqlstate << " " << errors[i];
  }
}

TEST(Batcher, RefusesWhatWouldWaitTooLong) {
  Reactor reactor;
  Numbers numbers("numbers", 2, one,
                  [](Numbers::Group&) -> task<> { co_await sleep_for(std::chrono::milliseconds(1)); });
  const std::vector<std::string> errors = submit(reactor, numbers, 1000);
  EXPECT_EQ(errors.front(), "");
  EXPECT_NE(errors.back().find("Too many requests wait"), std::string::npos);
  EXPECT_EQ(submit(reactor, numbers, 1).front(), "") << "when the others are done";
}

}  // namespace
}  // namespace cairn::db
