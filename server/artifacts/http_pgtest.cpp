#include <gtest/gtest.h>

#include "artifacts/testing.h"
#include "schema/testing.h"

namespace cairn::artifacts {
namespace {

using testing::Answer;

const std::string kModel = "m-0123456789abcdef0123456789abcdef";

class Located : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    ASSERT_EQ(caller_.call("PUT", "/api/2.0/mlflow-artifacts/artifacts/" + path, {text}).status, 200);
  }
  Answer get(const std::string& target) { return caller_.call("GET", target); }

  schema::MigratedDatabase database_;
  testing::Caller caller_{database_.url()};
};

TEST_F(Located, FilesOfARun) {
  database_.execute(
      "INSERT INTO tracking.training_runs (run_id, experiment_id, experiment_name, artifact_uri) VALUES "
      "('r1', 0, 'Default', 'mlflow-artifacts:/0/r1/artifacts'), ('r2', 0, 'Default', ''), "
      "('r3', 0, 'Default', 's3://bucket/r3'), ('r4', 0, 'Default', 'mlflow-artifacts://host:5000/0/r1/artifacts'), "
      "('r5', 0, 'Default', 'mlflow-artifacts:/../..')");
  const std::string list = "/api/2.0/mlflow/artifacts/list";
  EXPECT_EQ(get(list + "?run_id=r1").body, R"({"root_uri":"mlflow-artifacts:/0/r1/artifacts"})");
  put("0/r1/artifacts/a.txt", "hello");
  put("0/r1/artifacts/d/e", "x");
  EXPECT_EQ(get(list + "?run_id=r1").body,
            R"({"root_uri":"mlflow-artifacts:/0/r1/artifacts","files":[)"
            R"({"path":"a.txt","is_dir":false,"file_size":5},{"path":"d","is_dir":true}]})");
  EXPECT_EQ(get("/ajax-api/2.0/mlflow/artifacts/list?run_uuid=r1&path=d/").body,
            R"({"root_uri":"mlflow-artifacts:/0/r1/artifacts","files":[{"path":"d/e","is_dir":false,"file_size":1}]})");
  EXPECT_EQ(get("/get-artifact?run_id=r1&path=a.txt").body, "hello");
  EXPECT_EQ(get("/get-artifact?run_uuid=r4&path=d/e").body, "x");
  EXPECT_EQ(get(list + "?run_id=r2").body, R"({"root_uri":"mlflow-artifacts:/0/r2/artifacts"})");
  EXPECT_EQ(get(list + "?run_id=nope").body,
            R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Run with id=nope not found"})");
  EXPECT_EQ(get("/get-artifact?run_id=r1&path=nope").body,
            R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No such artifact: '0/r1/artifacts/nope'"})");
  for (const std::string target : {"?run_id=r1&path=..", "?run_id=r3", "?run_id=r5", "?run_id=", ""}) {
    EXPECT_EQ(get(list + target).status, 400) << target;
  }
  for (const std::string target : {"?run_id=r1", "?run_id=r1&path=../../r2/artifacts/x", "?run_id=r1&path=d"}) {
    EXPECT_EQ(get("/get-artifact" + target).status, 400) << target;
  }
}

TEST_F(Located, FilesOfALoggedModelAndOfItsVersion) {
  const std::string root = "mlflow-artifacts:/0/models/" + kModel + "/artifacts";
  database_.execute("INSERT INTO tracking.logged_models (model_id, experiment_id, name, artifact_location) VALUES ('" +
                    kModel + "', 0, 'm', '" + root + "')");
  put("0/models/" + kModel + "/artifacts/MLmodel", "hi");
  put("0/models/" + kModel + "/artifacts/d/x.txt", "x");
  const std::string base = "/api/2.0/mlflow/logged-models/" + kModel + "/artifacts";
  EXPECT_EQ(get(base + "/directories?artifact_directory_path=d").body,
            R"({"root_uri":")" + root + R"(","files":[{"path":"d/x.txt","is_dir":false,"file_size":1}]})");
  const Answer file =
      get("/ajax-api/2.0/mlflow/logged-models/" + kModel + "/artifacts/files?artifact_file_path=MLmodel");
  EXPECT_EQ(file.body, "hi");
  EXPECT_EQ(file.content_type, "text/plain");
  EXPECT_EQ(get(base + "/files").status, 400);
  EXPECT_EQ(get(base + "/directories?artifact_directory_path=../..").status, 400);

  database_.execute(
      "INSERT INTO registry.models (model_name) VALUES ('reg'); "
      "INSERT INTO registry.model_versions (model_id, version, source, storage_location) "
      "SELECT model_id, v, source, storage FROM registry.models, (VALUES (1, 'models:/" +
      kModel +
      "', ''), "
      "(2, 'models:/" +
      kModel + "', 'models:/" + kModel + "'), (3, '" + root +
      "/d', ''), "
      "(4, 'models:/" +
      kModel + "', '" + root + "/d')) s (v, source, storage)");
  const std::string version = "/model-versions/get-artifact?name=reg&version=";
  EXPECT_EQ(get(version + "1&path=MLmodel").body, "hi");
  EXPECT_EQ(get(version + "2&path=MLmodel").body, "hi");
  EXPECT_EQ(get(version + "3&path=x.txt").body, "x");
  EXPECT_EQ(get(version + "4&path=x.txt").body, "x");
  EXPECT_EQ(get(version + "9&path=x").body,
            R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Model Version (name=reg, version=9) not found"})");
  EXPECT_EQ(get(version + "x&path=x").status, 400);
  EXPECT_EQ(get(version + "1").status, 400);

  database_.execute("UPDATE tracking.logged_models SET lifecycle_stage = 'deleted'");
  EXPECT_EQ(
      get(base + "/directories").body,
      R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Logged model with ID ')" + kModel + R"(' not found."})");
}

}  // namespace
}  // namespace cairn::artifacts
