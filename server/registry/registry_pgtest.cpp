// The registry as a client sees it: requests through the router, answers and error bodies.
#include <gtest/gtest.h>

#include "base/reactor.h"
#include "http/router.h"
#include "registry/api.h"
#include "schema/testing.h"

namespace cairn::registry {
namespace {

class RegistryTest : public testing::Test {
 protected:
  struct Answer {
    int status;
    std::string body;
    bool has(std::string_view text) const { return body.find(text) != std::string::npos; }
  };

  RegistryTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 4;
    pool_ = std::make_unique<db::Pool>(options);
    register_routes(router_, *pool_);
  }

  task<Answer> call(std::string method, std::string path, std::string input) {
    const http::Router::Match match = router_.match(method, path);
    if (match.route == nullptr) throw std::logic_error("no route " + method + " " + path);
    http::Request request;
    request.method = method;
    request.path = path;
    request.user = "ada";
    request.request_id = "r1";
    request.captures = match.captures;
    if (method == "GET")
      request.query = http::parse_query(input).value();
    else
      request.body = input;
    request.headers = {{"content-type", "application/json"}};
    http::Response response = co_await http::dispatch(*match.route, request);
    // PostgreSQL writes some of its JSON with spaces.
    std::string body = response.body;
    for (size_t at; (at = body.find("\" : ")) != std::string::npos;) body.replace(at, 4, "\":");
    co_return Answer{response.status, body};
  }
  Answer mlflow(const std::string& method, const std::string& path, const std::string& input = "") {
    return reactor_.block_on(call(method, "/api/2.0/mlflow/" + path, input));
  }
  Answer v1(const std::string& method, const std::string& path, const std::string& input = "") {
    return reactor_.block_on(call(method, "/api/v1/" + path, input));
  }
  int64_t count(std::string_view sql) { return reactor_.block_on(pool_->query({"", sql})).integer(0, 0); }
  void make_versions(const std::string& name, int versions) {
    ASSERT_EQ(mlflow("POST", "registered-models/create", R"({"name":")" + name + R"("})").status, 200);
    for (int i = 0; i < versions; ++i) {
      const Answer made = mlflow("POST", "model-versions/create", R"({"name":")" + name + R"(","source":"s3://b/x"})");
      ASSERT_EQ(made.status, 200) << made.body;
    }
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
  http::Router router_;
};

#define EXPECT_ANSWER(answer_, status_, text_)  \
  do {                                          \
    const Answer got = answer_;                 \
    EXPECT_EQ(got.status, status_) << got.body; \
    EXPECT_TRUE(got.has(text_)) << got.body;    \
  } while (false)

TEST_F(RegistryTest, AModelIsMadeReadRenamedAndDeleted) {
  EXPECT_ANSWER(mlflow("POST", "registered-models/create",
                       R"({"name":"M1","description":"d","tags":[{"key":"a","value":"1"},{"key":"a","value":"b"}]})"),
                200, R"("tags":[{"key":"a","value":"b"}])");
  EXPECT_ANSWER(mlflow("POST", "registered-models/create", R"({"name":"M1"})"), 400,
                "Registered Model (name=M1) already exists.");
  EXPECT_ANSWER(mlflow("POST", "registered-models/create", R"({"name":"a/b"})"), 400,
                "Invalid model name 'a/b'. Names cannot contain '/' or ':'.");
  EXPECT_ANSWER(mlflow("POST", "registered-models/create", R"({})"), 400,
                "Missing value for required parameter 'name'");
  EXPECT_ANSWER(mlflow("GET", "registered-models/get", "name=nope"), 404, "Registered Model with name=nope not found");
  EXPECT_ANSWER(mlflow("PATCH", "registered-models/update", R"({"name":"M1","description":"d2"})"), 200, "d2");
  EXPECT_ANSWER(mlflow("POST", "registered-models/set-tag", R"({"name":"M1","key":"t","value":"v"})"), 200, "{}");
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/delete-tag", R"({"name":"M1","key":"a"})"), 200, "{}");
  EXPECT_ANSWER(mlflow("GET", "registered-models/get", "name=M1"), 200, R"("tags":[{"key":"t","value":"v"}])");
  make_versions("M2", 0);
  EXPECT_ANSWER(mlflow("POST", "registered-models/rename", R"({"name":"M2","new_name":"M1"})"), 400,
                "RESOURCE_ALREADY_EXISTS");
  EXPECT_ANSWER(mlflow("POST", "registered-models/rename", R"({"name":"M2","new_name":"M3"})"), 200, "M3");
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/delete", R"({"name":"M3"})"), 200, "{}");
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/delete", R"({"name":"M3"})"), 404, "name=M3 not found");
  EXPECT_EQ(count("SELECT count(*) FROM audit.events WHERE actor = 'ada' AND request_id = 'r1'"), 7)
      << "one event for every change, none for what was refused";
}

TEST_F(RegistryTest, VersionNumbersRiseAndAreNeverGivenAgain) {
  make_versions("M", 3);
  EXPECT_ANSWER(mlflow("GET", "model-versions/get", "name=M&version=3"), 200, R"("current_stage":"None")");
  EXPECT_ANSWER(mlflow("DELETE", "model-versions/delete", R"({"name":"M","version":"3"})"), 200, "{}");
  EXPECT_ANSWER(mlflow("GET", "model-versions/get", "name=M&version=3"), 404,
                "Model Version (name=M, version=3) not found");
  EXPECT_ANSWER(mlflow("POST", "model-versions/create", R"({"name":"M","source":"s3://b/x"})"), 200,
                R"("version":"4")");
  EXPECT_EQ(count("SELECT count(*) FROM registry.model_versions WHERE version = 4 AND semver = '4.0.0'"), 1);
  EXPECT_ANSWER(mlflow("GET", "model-versions/get", "name=M&version=abc"), 400,
                "Parameter 'version' must be an integer, got 'abc'.");
  EXPECT_ANSWER(mlflow("GET", "model-versions/get", "name=M&version=99999999999999999999"), 404, "not found");
  EXPECT_ANSWER(mlflow("PATCH", "model-versions/update", R"({"name":"M","version":"1","description":"nd"})"), 200,
                "nd");
  EXPECT_ANSWER(mlflow("POST", "model-versions/set-tag", R"({"name":"M","version":"1","key":"k","value":"v"})"), 200,
                "{}");
  EXPECT_ANSWER(mlflow("GET", "model-versions/get-download-uri", "name=M&version=1"), 200, "s3://b/x");
}

TEST_F(RegistryTest, AVersionLinksItsRunAndItsSourceMustBeThatRuns) {
  make_versions("M", 0);
  database_.execute(
      "INSERT INTO tracking.training_runs (run_id, experiment_id, artifact_uri) VALUES ('r1', 0, "
      "'mlflow-artifacts:/0/r1/artifacts')");
  EXPECT_ANSWER(
      mlflow("POST", "model-versions/create", R"({"name":"M","source":"mlflow-artifacts:/0/r1/artifacts/m"})"), 400,
      "The run_id request parameter must identify the resource that contains the source.");
  EXPECT_ANSWER(mlflow("POST", "model-versions/create",
                       R"({"name":"M","source":"mlflow-artifacts:/0/r1/artifacts/m","run_id":"r1"})"),
                200, R"("version":"1")");
  EXPECT_EQ(count("SELECT count(*) FROM tracking.training_runs r JOIN registry.model_versions v USING (version_id) "
                  "WHERE r.model_name = 'M' AND v.version = 1"),
            1);
  EXPECT_ANSWER(mlflow("POST", "model-versions/create", R"({"name":"M","source":"models:/M/1"})"), 200,
                R"("run_id":"r1")");
  EXPECT_ANSWER(mlflow("GET", "model-versions/get-download-uri", "name=M&version=2"), 200,
                "mlflow-artifacts:/0/r1/artifacts/m");
  for (const char* source : {"/tmp/x", "file:///tmp/x", "relative/path", "mlflow-artifacts:/../x", "s3://b/%2e%2e/x",
                             "s3://b/%252e%252e/x", "https://h/x", "runs:/r1/m", "models:/m-nope"})
    EXPECT_ANSWER(mlflow("POST", "model-versions/create", R"({"name":"M","source":")" + std::string(source) + R"("})"),
                  400, "INVALID_PARAMETER_VALUE");
  EXPECT_ANSWER(mlflow("POST", "registered-models/rename", R"({"name":"M","new_name":"N"})"), 200, "N");
  EXPECT_EQ(count("SELECT count(*) FROM tracking.training_runs WHERE model_name = 'N'"), 1);
}

TEST_F(RegistryTest, ARunPointsAtTheNewestVersionThatIsLeftOfIt) {
  database_.execute("INSERT INTO tracking.training_runs (run_id, experiment_id) VALUES ('r1', 0)");
  const auto newest = [this](const std::string& model_and_version) {
    return count(
        "SELECT count(*) FROM tracking.training_runs r LEFT JOIN registry.model_versions v USING (version_id) "
        "WHERE concat(r.model_name, v.version) = '" +
        model_and_version + "'");
  };
  for (const std::string name : {"M", "N"}) {
    make_versions(name, 0);
    for (int i = 0; i < 2; ++i)
      EXPECT_ANSWER(
          mlflow("POST", "model-versions/create", R"({"name":")" + name + R"(","source":"s3://b/x","run_id":"r1"})"),
          200, R"("run_id":"r1")");
  }
  EXPECT_EQ(newest("N2"), 1);
  EXPECT_ANSWER(mlflow("DELETE", "model-versions/delete", R"({"name":"M","version":"2"})"), 200, "{}");
  EXPECT_EQ(newest("N2"), 1);
  EXPECT_ANSWER(mlflow("DELETE", "model-versions/delete", R"({"name":"N","version":"2"})"), 200, "{}");
  EXPECT_EQ(newest("N1"), 1);
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/delete", R"({"name":"N"})"), 200, "{}");
  EXPECT_EQ(newest("M1"), 1);
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/delete", R"({"name":"M"})"), 200, "{}");
  EXPECT_EQ(newest(""), 1);
}

TEST_F(RegistryTest, StagesMoveAndArchiveOthers) {
  make_versions("M", 3);
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage", R"({"name":"M","version":"1","stage":"staging"})"),
                200, R"("current_stage":"Staging")");
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage",
                       R"({"name":"M","version":"2","stage":"Staging","archive_existing_versions":true})"),
                200, "Staging");
  EXPECT_ANSWER(mlflow("GET", "model-versions/get", "name=M&version=1"), 200, "Archived");
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage", R"({"name":"M","version":"2","stage":"BOGUS"})"), 400,
                "Invalid Model Version stage: BOGUS. Value must be one of None, Staging, Production, Archived.");
  EXPECT_ANSWER(mlflow("GET", "registered-models/get-latest-versions", "name=M&stages=Staging"), 200,
                R"("version":"2")");
  EXPECT_EQ(count("SELECT count(*) FROM registry.models WHERE status = 'staging'"), 1);
  EXPECT_ANSWER(mlflow("DELETE", "model-versions/delete", R"({"name":"M","version":"2"})"), 200, "{}");
  EXPECT_EQ(count("SELECT count(*) FROM registry.models WHERE status = 'draft'"), 1)
      << "a model without its foremost version stands where the next one stands";
}

TEST_F(RegistryTest, AliasesAreCaseSensitiveAndGoWithTheirVersion) {
  make_versions("M", 2);
  EXPECT_ANSWER(mlflow("POST", "registered-models/alias", R"({"name":"M","alias":"champion","version":"1"})"), 200,
                "{}");
  EXPECT_ANSWER(mlflow("POST", "registered-models/alias", R"({"name":"M","alias":"champion","version":"2"})"), 200,
                "{}");
  EXPECT_ANSWER(mlflow("POST", "registered-models/alias", R"({"name":"M","alias":"V12","version":"1"})"), 400,
                "Version alias name 'V12' is reserved.");
  EXPECT_ANSWER(mlflow("POST", "registered-models/alias", R"({"name":"M","alias":"x","version":"9"})"), 404,
                "Model Version (name=M, version=9) not found");
  EXPECT_ANSWER(mlflow("GET", "registered-models/alias", "name=M&alias=champion"), 200, R"("aliases":["champion"])");
  EXPECT_ANSWER(mlflow("GET", "registered-models/alias", "name=M&alias=Champion"), 400,
                "Registered model alias Champion not found.");
  EXPECT_ANSWER(mlflow("GET", "registered-models/alias", "name=M&alias=latest"), 200, R"("version":"2")");
  EXPECT_ANSWER(mlflow("DELETE", "model-versions/delete", R"({"name":"M","version":"2"})"), 200, "{}");
  EXPECT_ANSWER(mlflow("GET", "registered-models/alias", "name=M&alias=champion"), 400, "not found");
  EXPECT_ANSWER(mlflow("DELETE", "registered-models/alias", R"({"name":"M","alias":"champion"})"), 200, "{}");
}

TEST_F(RegistryTest, SearchesFilterOrderAndPage) {
  for (const char* name : {"a1", "a2", "b1"}) make_versions(name, 2);
  mlflow("POST", "registered-models/create",
         R"({"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]})");
  mlflow("POST", "registered-models/set-tag", R"({"name":"a2","key":"odd key","value":"x"})");
  const Answer page = mlflow("GET", "registered-models/search", "max_results=2&order_by=name+DESC");
  EXPECT_TRUE(page.has("b1") && page.has("a2") && !page.has("a1")) << page.body;
  const size_t at = page.body.find("next_page_token\":\"") + 18;
  const std::string token = page.body.substr(at, page.body.find('"', at) - at);
  const Answer rest = mlflow("GET", "registered-models/search", "max_results=2&order_by=name+DESC&page_token=" + token);
  EXPECT_TRUE(rest.has("a1") && !rest.has("a2") && !rest.has("next_page_token")) << rest.body;
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "page_token=junk"), 400, "Invalid page token");
  const Answer tagged = mlflow("GET", "registered-models/search", "filter=tags.`odd+key`='x'+AND+name+LIKE+'a%25'");
  EXPECT_TRUE(tagged.has("a2") && !tagged.has("a1")) << tagged.body;
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "filter=tag.`mlflow.prompt.is_prompt`+%3D+'true'"), 200,
                R"("p")");
  EXPECT_FALSE(mlflow("GET", "registered-models/search").has(R"("name":"p")"));
  const Answer either = mlflow("GET", "model-versions/search", "filter=(name='a1'+OR+name='b1')+AND+version_number>1");
  EXPECT_TRUE(either.has("a1") && either.has("b1") && !either.has(R"("version":"1")")) << either.body;
  EXPECT_ANSWER(mlflow("GET", "model-versions/search", "filter=run_id+IN+()"), 400, "empty list");
  EXPECT_ANSWER(mlflow("GET", "model-versions/search", "filter=version_number+IN+(1)"), 400,
                "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.");
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "filter=description='x'"), 400,
                "Invalid attribute key 'description' specified. Valid keys are '{'name'}'");
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "filter=name+=+sm1"), 400, "string value sm1. Use either");
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "filter=name='x'';DROP+TABLE'"), 200, "{}");
  EXPECT_ANSWER(mlflow("GET", "registered-models/search", "filter=name+LIKE+'a\\'"), 400, "ends with a backslash");
  EXPECT_ANSWER(mlflow("GET", "model-versions/search", "filter=tag.k+ILIKE+'a\\'"), 400, "ends with a backslash");
  EXPECT_ANSWER(mlflow("GET", "model-versions/search", "filter=name+=+'a\\'"), 200, "{}");
  EXPECT_ANSWER(mlflow("GET", "model-versions/search", "max_results=0"), 400,
                "It must be a positive integer, but got 0");
}

TEST_F(RegistryTest, ProductionNeedsAnApprovalWhereTheModelSaysSo) {
  make_versions("M", 1);
  EXPECT_ANSWER(v1("PATCH", "models/M", R"({"requires_approval":false})"), 200, R"("requires_approval":false}})");
  EXPECT_ANSWER(v1("PATCH", "models/M", R"({"requires_approval":true})"), 200, R"("requires_approval":true}})");
  const std::string promote = R"({"name":"M","version":"1","stage":"Production"})";
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage", promote), 403, "PERMISSION_DENIED");
  EXPECT_ANSWER(v1("POST", "approvals", R"({"model":"M","version":"1"})"), 200, R"("status":"pending")");
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage", promote), 403, "has no approval for Production");
  EXPECT_ANSWER(v1("POST", "approvals/1/approve", R"({"comment":"fine"})"), 200, R"("decided_by":"ada")");
  EXPECT_ANSWER(v1("POST", "approvals/1/reject", "{}"), 409, "already approved");
  EXPECT_ANSWER(mlflow("POST", "model-versions/transition-stage", promote), 200, "Production");
  EXPECT_ANSWER(v1("GET", "audit", "object_type=approval"), 200, R"("action":"approve")");
  EXPECT_ANSWER(v1("GET", "approvals", "model=M&status=approved"), 200, R"("approval_id":1)");
  EXPECT_ANSWER(v1("POST", "deployments", R"({"model":"M","version":"1","environment":"production"})"), 200, "active");
}

TEST_F(RegistryTest, DeploymentsKeepTheirHistoryAndRollBackStepByStep) {
  make_versions("M", 3);
  for (const char* version : {"1", "2", "3"})
    EXPECT_ANSWER(
        v1("POST", "deployments",
           R"({"model":"M","environment":"staging","replicas":2,"version":")" + std::string(version) + R"("})"),
        200, R"("status":"active")");
  const std::string where = R"({"model":"M","environment":"staging"})";
  EXPECT_ANSWER(v1("POST", "deployments/rollback", where), 200, R"("version":"2")");
  EXPECT_ANSWER(v1("GET", "deployments/3"), 200, "rolled_back");
  EXPECT_ANSWER(v1("POST", "deployments/rollback", where), 200, R"("version":"1")");
  EXPECT_ANSWER(v1("POST", "deployments/rollback", where), 409, "nothing to roll back to");
  EXPECT_ANSWER(v1("GET", "deployments", "model=M&status=active"), 200, R"("deployment_id":5)");
  EXPECT_ANSWER(v1("POST", "environments", R"({"name":"eu","requires_approval":true})"), 200, "eu");
  EXPECT_ANSWER(v1("POST", "environments", R"({"name":"eu"})"), 400, "already exists");
  EXPECT_ANSWER(v1("POST", "deployments", R"({"model":"M","version":"1","environment":"eu"})"), 403,
                "has no approval for 'eu'");
  EXPECT_ANSWER(v1("POST", "deployments", R"({"model":"M","version":"1","environment":"mars"})"), 404,
                "Environment 'mars' not found");
  EXPECT_ANSWER(v1("GET", "environments"), 200, R"("name":"eu")");
}

TEST_F(RegistryTest, RollingBackNeedsTheApprovalThatDeployingDid) {
  make_versions("M", 2);
  EXPECT_ANSWER(v1("POST", "environments", R"({"name":"eu","requires_approval":true})"), 200, "eu");
  int approval = 0;
  for (const std::string version : {"1", "2"}) {
    const std::string wanted = R"({"model":"M","version":")" + version + R"(",)";
    EXPECT_ANSWER(v1("POST", "approvals", wanted + R"("target":"eu"})"), 200, "pending");
    EXPECT_ANSWER(v1("POST", "approvals/" + std::to_string(++approval) + "/approve", "{}"), 200, "approved");
    EXPECT_ANSWER(v1("POST", "deployments", wanted + R"("environment":"eu"})"), 200, "active");
  }
  EXPECT_ANSWER(v1("POST", "approvals", R"({"model":"M","version":"1","target":"eu"})"), 200, "pending");
  EXPECT_ANSWER(v1("POST", "approvals/3/reject", "{}"), 200, "rejected");
  const std::string where = R"({"model":"M","environment":"eu"})";
  EXPECT_ANSWER(v1("POST", "deployments/rollback", where), 403, "Version 1 of model 'M' has no approval for 'eu'");
  EXPECT_ANSWER(v1("GET", "deployments/2"), 200, R"("status":"active")");
  EXPECT_ANSWER(v1("POST", "approvals", R"({"model":"M","version":"1","target":"eu"})"), 200, "pending");
  EXPECT_ANSWER(v1("POST", "approvals/4/approve", "{}"), 200, "approved");
  EXPECT_ANSWER(v1("POST", "deployments/rollback", where), 200, R"("version":"1")");
}

TEST_F(RegistryTest, VersionsMadeAtOnceGetNumbersOfTheirOwn) {
  make_versions("M", 0);
  int done = 0;
  auto create = [&]() -> task<> {
    const Answer made =
        co_await call("POST", "/api/2.0/mlflow/model-versions/create", R"({"name":"M","source":"s3://b/x"})");
    EXPECT_EQ(made.status, 200) << made.body;
    ++done;
  };
  auto all = [&]() -> task<> {
    for (int i = 0; i < 20; ++i) reactor_.spawn("create", create());
    while (done < 20) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor_.block_on(all());
  EXPECT_EQ(count("SELECT count(DISTINCT version) FROM registry.model_versions WHERE version BETWEEN 1 AND 20"), 20);
}

}  // namespace
}  // namespace cairn::registry
