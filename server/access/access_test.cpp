#include <gtest/gtest.h>

#include "access/answer.h"
#include "access/find.h"
#include "access/rules.h"
#include "base/error.h"

namespace cairn::access {
namespace {

using http::Permission;
using http::Permissions;

http::Request post(std::string body) {
  http::Request request;
  request.method = "POST";
  request.headers.emplace_back("content-type", "application/json");
  request.body = std::move(body);
  return request;
}

std::vector<std::string> values(std::string_view route, const http::Request& request, size_t rule = 0) {
  const size_t space = route.find(' ');
  return values_of(rules_of(route.substr(0, space), route.substr(space + 1))[rule], request);
}

using Texts = std::vector<std::string>;

TEST(Access, R20_AListIsLeftWithWhatMayBeRead) {
  Permissions permissions;
  permissions.set("5", Permission::kNone);
  permissions.set("6", Permission::kEdit);
  std::string body = R"({"runs":[{"info":{"experiment_id":"5","x":"a"}},{"info":{"experiment_id":"6"},"d":1.5},)"
                     R"({"info":{"experiment_id":5}},{"info":{}}],"next_page_token":"t"})";
  leave_out_unreadable(body, "runs.info.experiment_id", permissions);
  EXPECT_EQ(body, R"({"runs":[{"info":{"experiment_id":"6"},"d":1.5},{"info":{}}],"next_page_token":"t"})");
  std::string none = "{}";
  leave_out_unreadable(none, "runs.info.experiment_id", permissions);
  EXPECT_EQ(none, "{}");
}

TEST(Access, R20_BoundsOfPermissions) {
  Permissions permissions;
  EXPECT_EQ(permissions.find("a"), std::nullopt);
  permissions.set("a", Permission::kEdit);
  EXPECT_EQ(permissions.least, Permission::kEdit);
  EXPECT_EQ(permissions.most, Permission::kEdit);
  permissions.set("b", Permission::kNone);
  EXPECT_EQ(permissions.least, Permission::kNone);
  EXPECT_EQ(permissions.find("b"), Permission::kNone);
}

TEST(Access, R20_WhatARequestNames) {
  const std::string api = "POST /api/2.0/mlflow/";
  // As the handler reads it: numbers in any form, either name of a run, the first of two equal keys.
  EXPECT_EQ(values(api + "runs/create", post(R"({"experiment_id":"007"})")), Texts{"7"});
  EXPECT_EQ(values(api + "runs/create", post(R"({"experiment_id":"7","experiment_id":"8"})")), Texts{"7"});
  EXPECT_EQ(values(api + "runs/log-batch", post(R"({"run_id":"a","run_uuid":"b"})")), (Texts{"a", "b"}));
  EXPECT_EQ(values("POST /ajax-api/2.0/mlflow/experiments/search-datasets", post(R"({"experiment_ids":["1","02"]})")),
            (Texts{"1", "2"}));
  EXPECT_EQ(values("POST /get-online-features", post(R"({"features":["v:x","w@latest:y"],"feature_service":"s"})")),
            (Texts{"v", "w", ":s"}));
  EXPECT_EQ(values("POST /api/v1/features/apply", post(R"({"feature_views":[{"name":"v"},{"x":1}]})")), Texts{"v"});
  EXPECT_EQ(values("POST /materialize", post(R"({"feature_views":["v"]})")), Texts{"v"});
  const std::string create = api + "model-versions/create";
  const auto source = [](const std::string& text) { return post(R"({"name":"n","source":")" + text + "\"}"); };
  EXPECT_EQ(values(create, source("mlflow-artifacts:/5/x"), 3), Texts{"mlflow-artifacts:/5/x"});
  EXPECT_EQ(values(create, source("s3://x"), 3), Texts{});
  EXPECT_EQ(values(create, source("models:/a@b/3"), 4), Texts{"a@b"});
  EXPECT_EQ(values(create, source("models:/a@b@latest"), 4), Texts{"a@b"});
  EXPECT_THROW(values(api + "runs/create", post("[]")), Error);
  http::Request get;
  get.method = "GET";
  EXPECT_EQ(values("GET /api/2.0/mlflow-artifacts/artifacts", get), Texts{""});  // the root
  get.query = {{"run_id", "a"}, {"run_id", "b"}};
  EXPECT_EQ(values("GET /api/v1/runs/compare", get), (Texts{"a", "b"}));
  get.captures["name"] = "c";
  EXPECT_EQ(values("DELETE /api/v1/collections/{name}", get), Texts{"c"});
}

}  // namespace
}  // namespace cairn::access
