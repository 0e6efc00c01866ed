#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "app/app.h"
#include "base/json.h"
#include "embedded/openapi.h"

namespace cairn::app {
namespace {

std::set<std::string> documented(const json::Document& document) {
  std::set<std::string> operations;
  for (const auto path : document.root()["paths"].get_object()) {
    for (const auto operation : path.value.get_object()) {
      std::string method(operation.key);
      for (char& c : method) c = static_cast<char>(toupper(c));
      operations.insert(method + " " + std::string(path.key));
    }
  }
  return operations;
}

TEST(OpenApi, DescribesEveryRouteOfApiV1AndNoOther) {
  const std::string folder = testing::TempDir() + "openapi_test_" + std::to_string(getpid());
  std::set<std::string> served;
  {
    Reactor reactor;
    ServerConfig config;
    config.artifact_root = folder;
    config.port = 0;
    const App app(config, reactor, nullptr, nullptr, "host=/nonexistent");
    for (const auto& route : app.router.routes()) {
      if (route->pattern.starts_with("/api/v1/")) served.insert(route->method + " " + route->pattern);
    }
  }
  std::filesystem::remove_all(folder);
  const json::Document document(embedded_openapi("openapi.json"));
  EXPECT_EQ(documented(document), served);
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
  const std::string text(embedded_openapi("openapi.json"));
  const json::Document document(text);
  const std::string mark = "\"#/components/schemas/";
  size_t references = 0;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1), ++references) {
    const size_t begin = at + mark.size();
    const std::string name = text.substr(begin, text.find('"', begin) - begin);
    EXPECT_FALSE(document.root()["components"]["schemas"][name].error()) << name;
  }
  EXPECT_GT(references, 0u);
}

}  // namespace
}  // namespace cairn::app
