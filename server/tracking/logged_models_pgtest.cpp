#include "base/json.h"
#include "tracking/testing.h"

namespace cairn::tracking {
namespace {

std::string text_at(const std::string& document, const std::string& pointer) {
  const json::Document parsed(document);
  return std::string(std::string_view(parsed.root().at_pointer(pointer)));
}

class LoggedModelTest : public ApiTest {
 protected:
  LoggedModelTest() { run_ = text_at(post("runs/create", R"({"experiment_id":"0"})"), "/run/info/run_id"); }

  std::string make(const std::string& name) {
    return text_at(post("logged-models", R"({"experiment_id":"0","name":")" + name + "\"}"), "/model/info/model_id");
  }
  std::string log(const std::string& model, const std::string& value, int timestamp, const std::string& more = "") {
    return post("runs/log-metric", R"({"run_id":")" + run_ + R"(","key":"m","value":)" + value + R"(,"timestamp":)" +
                                       std::to_string(timestamp) + R"(,"model_id":")" + model + "\"" + more + "}");
  }
  // The names found, with the next page's token left in token_.
  std::string names(const std::string& more) {
    const std::string answer = post("logged-models/search", R"({"experiment_ids":["0"])" + more + "}");
    const json::Document document(answer);
    std::string out;
    simdjson::dom::array models;
    if (!document.root()["models"].get(models)) {
      for (const auto model : models) out += std::string_view(model["info"]["name"]);
    }
    std::string_view token;
    token_ = document.root()["next_page_token"].get(token) ? "" : std::string(token);
    return out;
  }
  std::string paged(const std::string& order, int size) {
    const std::string more = R"(,"order_by":[)" + order + R"(],"max_results":)" + std::to_string(size);
    std::string out = names(more);
    for (int page = 0; page < 10 && !token_.empty(); ++page) {
      out += " " + names(more + R"(,"page_token":)" + json::quote(token_));
    }
    return out;
  }

  std::string run_, token_;
};

// a: 5 then 1; b: 2, and 3 that is older though of a later step; c: NaN; d: 4 on a dataset, then 9; e: none.
class LoggedModelSearch : public LoggedModelTest {
 protected:
  LoggedModelSearch() {
    int creation_time = 0;
    for (const std::string name : {"a", "b", "c", "d", "e"}) {
      id_[name[0]] = make(name);
      database_.execute("UPDATE tracking.logged_models SET creation_time = " + std::to_string(++creation_time) +
                        " WHERE name = '" + name + "'");
    }
    log(id_['a'], "5", 10);
    log(id_['a'], "1", 20);
    log(id_['b'], "2", 30);
    log(id_['b'], "3", 20, R"(,"step":5)");
    log(id_['c'], "\"NaN\"", 1);
    log(id_['d'], "4", 1, R"(,"dataset_name":"ds","dataset_digest":"dg")");
    log(id_['d'], "9", 2);
  }
  std::map<char, std::string> id_;
};

TEST_F(LoggedModelSearch, ComparesWithAnyPoint) {
  EXPECT_EQ(names(R"(,"filter":"metrics.m > 3")"), "da");
  EXPECT_EQ(names(R"(,"filter":"metrics.m < 2")"), "a");
  EXPECT_EQ(names(R"(,"filter":"metrics.m = 9 AND name != 'x'")"), "d");
  EXPECT_EQ(names(R"(,"filter":"metrics.none > 0")"), "");
}

TEST_F(LoggedModelSearch, ComparesOnlyOnTheDatasetsThatAreAskedFor) {
  const std::string on = R"(,"datasets":[{"dataset_name":"none"},{"dataset_name":"ds")";
  EXPECT_EQ(names(on + "}]"), "d");
  EXPECT_EQ(names(on + R"(,"dataset_digest":"dg"}],"filter":"metrics.m > 3")"), "d");
  EXPECT_EQ(names(on + R"(,"dataset_digest":"dg"}],"filter":"metrics.m > 5")"), "");
  EXPECT_EQ(names(on + R"(,"dataset_digest":"other"}])"), "");
}

TEST_F(LoggedModelSearch, OrdersByTheLatestPointPageByPage) {
  const std::string up = R"({"field_name":"metrics.m"})", down = R"({"field_name":"metrics.m","ascending":false})";
  EXPECT_EQ(paged(up, 100), "abdce") << "numbers, then NaN, then models without the metric";
  EXPECT_EQ(paged(down, 100), "dbace");
  EXPECT_EQ(paged(up, 1), "a b d c e");
  EXPECT_EQ(paged(down, 2), "db ac e");
  EXPECT_EQ(paged(R"({"field_name":"metrics.m","dataset_name":"ds"})", 1), "d e c b a");
  EXPECT_EQ(paged(R"({"field_name":"model_type"},{"field_name":"name","ascending":false})", 2), "ed cb a");
}

TEST_F(LoggedModelSearch, ATokenIsOfOneOrder) {
  names(R"(,"max_results":1)");
  const std::string other = R"({"experiment_ids":["0"],"order_by":[{"field_name":"name"}],"page_token":)";
  EXPECT_EQ(post("logged-models/search", other + json::quote(token_) + "}").substr(0, 4), "400 ");
  const std::string on =
      R"({"experiment_ids":["0"],"max_results":1,"order_by":[{"field_name":"metrics.m","dataset_name":")";
  const json::Document page(post("logged-models/search", on + "ds\"}]}"));
  const std::string token = json::quote(std::string_view(page.root()["next_page_token"]));
  EXPECT_EQ(post("logged-models/search", on + R"(other"}],"page_token":)" + token + "}").substr(0, 4), "400 ");
  EXPECT_NE(post("logged-models/search", on + R"(ds"}],"page_token":)" + token + "}").substr(0, 4), "400 ");
}

TEST_F(LoggedModelTest, APointOfAnUnknownModelIsNotWrittenToTheRunEither) {
  EXPECT_EQ(log("m-" + std::string(32, '0'), "1", 1).substr(0, 4), "404 ");
  EXPECT_EQ(call("GET", "metrics/get-history?metric_key=m&run_id=" + run_), "{}");
}

TEST_F(LoggedModelTest, ParamsKeepTheirFirstValue) {
  const std::string model = "logged-models/" + make("a");
  const std::string path = model + "/params";
  EXPECT_EQ(post(path, R"({"params":[{"key":"p","value":"1"}]})"), "{}");
  EXPECT_EQ(post(path, R"({"params":[{"key":"p","value":"1"},{"key":"q","value":"2"}]})"), "{}");
  const std::string refusal = post(path, R"({"params":[{"key":"p","value":"3"},{"key":"r","value":"4"}]})");
  EXPECT_EQ(refusal.substr(0, 4), "400 ");
  EXPECT_NE(refusal.find("key='p' was already logged with value='1'"), refusal.npos) << refusal;
  const json::Document after(call("GET", model));
  EXPECT_EQ(simdjson::minify(after.root().at_pointer("/model/data/params")),
            R"([{"key":"p","value":"1"},{"key":"q","value":"2"}])");
}

TEST_F(LoggedModelTest, ModelsOfARunMustBeThere) {
  const std::string model = make("a");
  const std::string body = R"({"run_id":")" + run_ + R"(","models":[{"model_id":")" + model + R"("},{"model_id":")";
  EXPECT_EQ(post("runs/outputs", body + "m-x\"}]}").substr(0, 4), "404 ");
  EXPECT_EQ(call("GET", "runs/get?run_id=" + run_).find("model_outputs"), std::string::npos);
  EXPECT_EQ(post("runs/outputs", body + model + R"(","step":2}]})"), "{}");
}

TEST_F(LoggedModelTest, TheModelsThatMlflow2LogsAreATagOfTheRun) {
  const auto logged = [&](const std::string& path) {
    const std::string model =
        R"({"artifact_path":")" + path + R"(","flavors":{"f":{}},"utc_time_created":"t","run_id":"r"})";
    return post("runs/log-model", R"({"run_id":")" + run_ + R"(","model_json":)" + json::quote(model) + "}");
  };
  EXPECT_EQ(logged("a"), "{}");
  EXPECT_EQ(logged("b"), "{}");
  const json::Document run(call("GET", "runs/get?run_id=" + run_));
  for (const auto tag : run.root().at_pointer("/run/data/tags").get_array()) {
    if (std::string_view(tag["key"]) != "mlflow.log-model.history") continue;
    const json::Document history{std::string_view(tag["value"])};
    EXPECT_EQ(std::string_view(history.root().at_pointer("/0/artifact_path")), "a");
    EXPECT_EQ(std::string_view(history.root().at_pointer("/1/artifact_path")), "b");
    return;
  }
  FAIL() << "no such tag";
}

TEST_F(LoggedModelTest, AHistoryOfTooManyPointsIsSampledWithItsEnds) {
  std::string points;
  for (int i = 0; i < 8; ++i) {
    points +=
        (i == 0 ? "" : ",") + std::string(R"({"key":"k","timestamp":1,"value":0,"step":)") + std::to_string(i) + "}";
  }
  EXPECT_EQ(post("runs/log-batch", R"({"run_id":")" + run_ + R"(","metrics":[)" + points + "]}"), "{}");
  const auto steps = [&](int count) {
    const json::Document document(call("GET", "metrics/get-history-bulk-interval?metric_key=k&run_ids=" + run_ +
                                                  "&max_results=" + std::to_string(count)));
    std::string out;
    for (const auto point : document.root()["metrics"].get_array()) out += simdjson::minify(point["step"]);
    return out;
  };
  EXPECT_EQ(steps(1), "7");
  EXPECT_EQ(steps(2), "07");
  EXPECT_EQ(steps(4), "0247");
  EXPECT_EQ(steps(6), "024567");
  EXPECT_EQ(steps(8), "01234567");
}

}  // namespace
}  // namespace cairn::tracking
