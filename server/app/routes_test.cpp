#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <string>

#include "access/api.h"
#include "app/app.h"

namespace cairn::app {
namespace {

// Whoever adds a route says which objects it is about.
TEST(Routes, R20_TheTableOfAccessKnowsEveryRoute) {
  const std::string folder = testing::TempDir() + "routes_test_" + std::to_string(getpid());
  {
    Reactor reactor;
    ServerConfig config;
    config.artifact_root = folder;
    config.port = 0;
    const App app(config, reactor, nullptr, nullptr, "host=/nonexistent");
    EXPECT_GT(app.router.routes().size(), 100u);
    for (const auto& route : app.router.routes())
      EXPECT_FALSE(access::rules_of(route->method, route->pattern).empty())
          << route->method << " " << route->pattern << " is not in server/access/rules.cpp: say there which objects it"
          << " is about, or that the caller's role decides";
  }
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(access::rules_of("POST", "/api/2.0/mlflow/runs/no-such-route").empty());
}

}  // namespace
}  // namespace cairn::app
