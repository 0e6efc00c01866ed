#include "tracking/search.h"

#include "base/json.h"
#include "tracking/testing.h"

namespace cairn::tracking {
namespace {

// Runs run0..run4 of experiment 1, started at 1000 + i. acc is i / 10, but NaN for run3 and infinite for run4.
constexpr const char* kData = R"sql(
  INSERT INTO tracking.experiments (experiment_id, name, creation_time, tags) VALUES
    (1, 'one', 9000000000001, '{"g": "1"}'), (2, 'two', 9000000000002, '{}'), (3, 'gone', 9000000000003, '{}');
  UPDATE tracking.experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 3;
  INSERT INTO tracking.training_runs (run_id, run_name, experiment_id, status, user_id, start_time, end_time)
  SELECT 'id' || i, 'run' || i, 1, CASE WHEN i < 2 THEN 'succeeded' ELSE 'running' END, 'u' || i % 2, 1000 + i,
         CASE WHEN i < 2 THEN 2000 + i END FROM generate_series(0, 4) i;
  INSERT INTO tracking.training_runs (run_id, run_name, experiment_id, start_time) VALUES ('other', 'other', 2, 1);
  INSERT INTO tracking.keys (name) VALUES ('acc'), ('only1'), ('lr'), ('opt'), ('odd'), ('has space');
  SELECT tracking.append_metrics(array_agg(r.id), array_agg(k.key_id), array_agg(7::bigint), array_agg(8::bigint),
         array_agg(CASE r.run_id WHEN 'id3' THEN 'NaN' WHEN 'id4' THEN 'Infinity' ELSE right(run_id, 1)::float8 / 10 END))
  FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'acc' AND r.experiment_id = 1;
  SELECT tracking.append_metrics(ARRAY[r.id], ARRAY[k.key_id], ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[-5::float8])
  FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'only1' AND r.run_id = 'id1';
  INSERT INTO tracking.params SELECT r.id, k.key_id, right(run_id, 1) || repeat('x', 200)
  FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'lr' AND r.experiment_id = 1;
  INSERT INTO tracking.params SELECT r.id, k.key_id, CASE right(run_id, 1)::int % 2 WHEN 0 THEN 'adam' ELSE 'SGD' END
  FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'opt' AND r.experiment_id = 1;
  UPDATE tracking.training_runs SET hyperparameters = '{"lr": 0.10, "opt": "adam"}' WHERE run_id = 'id0';
  INSERT INTO tracking.tags SELECT r.id, k.key_id, (right(run_id, 1)::int % 2)::text
  FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'odd' AND r.experiment_id = 1;
  INSERT INTO tracking.tags SELECT r.id, k.key_id, 'x' FROM tracking.training_runs r, tracking.keys k
  WHERE k.name = 'has space' AND r.run_id = 'id2';
  INSERT INTO tracking.datasets (experiment_id, name, digest, source_type, source) VALUES (1, 'iris', 'abc', 'local', 'x');
  INSERT INTO tracking.inputs SELECT r.id, d.dataset_id, '{"mlflow.data.context": "train"}'
  FROM tracking.training_runs r, tracking.datasets d WHERE r.run_id = 'id0';
)sql";

class SearchTest : public testing::Test {
 protected:
  SearchTest() : pool_(options()) { database_.execute(kData); }

  std::string answer(const std::string& body, bool experiments = false) {
    http::Request request;
    request.method = "POST";
    request.body = body;
    request.headers = {{"content-type", "application/json"}};
    return reactor_.block_on(experiments ? search_experiments(pool_, request) : search_runs(pool_, request)).body;
  }
  // The names found, with the next page's token left in token_.
  std::string names(const std::string& body, bool experiments = false) {
    const json::Document document(answer(body, experiments));
    std::string out;
    simdjson::dom::array list;
    if (!document.root()[experiments ? "experiments" : "runs"].get(list)) {
      for (const auto item : list) {
        const auto name = experiments ? item["name"] : item["info"]["run_name"];
        out += (out.empty() ? "" : " ") + std::string(std::string_view(name));
      }
    }
    std::string_view token;
    token_ = document.root()["next_page_token"].get(token) ? "" : std::string(token);
    return out;
  }
  std::string filtered(const std::string& filter) {
    return names(R"({"experiment_ids":["1"],"filter":)" + json::quote(filter) + "}");
  }
  std::string ordered(const std::string& clauses, const std::string& more = "") {
    return names(R"({"experiment_ids":["1"],"order_by":[)" + clauses + "]" + more + "}");
  }
  // All pages of one run each, put together.
  std::string paged(const std::string& clauses) {
    std::string out = ordered(clauses, R"(,"max_results":1)");
    for (int page = 0; page < 10 && !token_.empty(); ++page)
      out += " " + ordered(clauses, R"(,"max_results":1,"page_token":)" + json::quote(token_));
    return out;
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  db::Pool pool_;
  std::string token_;

 private:
  db::PoolOptions options() const {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 2;
    return options;
  }
};

TEST_F(SearchTest, FiltersByMetricsAsIeeeCompares) {
  EXPECT_EQ(filtered("metrics.acc > 0.05"), "run4 run2 run1");
  EXPECT_EQ(filtered("metrics.acc != 0.1"), "run4 run3 run2 run0");
  EXPECT_EQ(filtered("metrics.acc < 1e0"), "run2 run1 run0");
  EXPECT_EQ(filtered("metrics.acc >= 1000000"), "run4");
  EXPECT_EQ(filtered("metrics.nope != 0"), "");
}

// What was prepared for the one must not read the other's bytes, whichever came first.
TEST_F(SearchTest, AWholeNumberAndAFractionAreComparedAlike) {
  for (const char* bound : {"1002", "1001.5", "1002"})
    EXPECT_EQ(filtered(std::string("start_time >= ") + bound), "run4 run3 run2") << bound;
  for (const char* bound : {"1002.5", "1003", "1002.5"})
    EXPECT_EQ(filtered(std::string("start_time < ") + bound), "run2 run1 run0") << bound;
}

TEST_F(SearchTest, FiltersByParamsAndTags) {
  const std::string long_value = "1" + std::string(200, 'x');
  EXPECT_EQ(filtered("params.lr = '" + long_value + "'"), "run1");
  EXPECT_EQ(filtered("params.lr = '" + long_value + "y'"), "") << "the index has only the value's beginning";
  EXPECT_EQ(filtered("params.lr != '" + long_value + "'"), "run4 run3 run2 run0");
  EXPECT_EQ(filtered("params.opt LIKE 'A%'"), "");
  EXPECT_EQ(filtered("params.opt ILIKE 'A%'"), "run4 run2 run0");
  EXPECT_EQ(filtered("params.nope IS NULL"), "run4 run3 run2 run1 run0");
  EXPECT_EQ(filtered("params.nope IS NOT NULL"), "");
  EXPECT_EQ(filtered("tags.odd = '1'"), "run3 run1");
  EXPECT_EQ(filtered("tags.`has space` IS NOT NULL"), "run2");
  EXPECT_EQ(filtered("tags.`has space` IS NULL"), "run4 run3 run1 run0");
  EXPECT_EQ(filtered("tags.odd = '1'' OR true --'"), "") << "a value is never SQL";
}

TEST_F(SearchTest, FiltersByAttributesAndDatasets) {
  EXPECT_EQ(filtered("status = 'FINISHED'"), "run1 run0");
  EXPECT_EQ(filtered("status LIKE 'RUN%'"), "run4 run3 run2");
  EXPECT_EQ(filtered("run_id NOT IN ('id0', 'id1')"), "run4 run3 run2");
  EXPECT_EQ(filtered("start_time = 1001.0"), "run1");
  EXPECT_EQ(filtered("start_time < 1001.5"), "run1 run0");
  EXPECT_EQ(filtered("start_time < 99999999999999999999"), "run4 run3 run2 run1 run0");
  EXPECT_EQ(filtered("end_time != 2000"), "run1");
  EXPECT_EQ(filtered("dataset.name IN ('iris', 'x')"), "run0");
  EXPECT_EQ(filtered("dataset.context = 'train'"), "run0");
  EXPECT_EQ(filtered("dataset.name != 'iris'"), "");
}

TEST_F(SearchTest, CombinesWithAndOrAndParentheses) {
  EXPECT_EQ(filtered("metrics.acc > 0 AND params.opt = 'SGD' AND tags.odd = '1' AND status = 'FINISHED'"), "run1");
  EXPECT_EQ(filtered("run_name = 'run0' OR metrics.acc > 0.15"), "run4 run2 run0");
  EXPECT_EQ(filtered("tags.odd = '0' AND (run_name = 'run0' OR run_name = 'run1')"), "run0");
  EXPECT_EQ(filtered("params.nope = 'x' OR tags.nope IS NULL AND run_name = 'run3'"), "run3");
}

TEST_F(SearchTest, OrdersWithNanAndMissingLast) {
  EXPECT_EQ(ordered(R"("metrics.acc")"), "run0 run1 run2 run4 run3");
  EXPECT_EQ(ordered(R"("metrics.acc DESC")"), "run4 run2 run1 run0 run3");
  EXPECT_EQ(ordered(R"("metrics.only1 DESC")"), "run1 run4 run3 run2 run0");
  EXPECT_EQ(ordered(R"("params.opt","params.lr DESC")"), "run3 run1 run4 run2 run0");
  EXPECT_EQ(ordered(R"("tags.odd DESC","metrics.acc DESC")"), "run1 run3 run4 run2 run0");
  EXPECT_EQ(ordered(R"("end_time DESC")"), "run1 run0 run4 run3 run2");
  EXPECT_EQ(ordered(R"("status")"), "run1 run0 run4 run3 run2");
  EXPECT_EQ(ordered(R"("user_id","start_time")"), "run0 run2 run4 run1 run3");
  EXPECT_EQ(ordered(R"("tags.nope")"), "run4 run3 run2 run1 run0");
}

TEST_F(SearchTest, PagesGiveEveryRunOnceInEveryOrder) {
  database_.execute("UPDATE tracking.training_runs SET start_time = NULL WHERE run_id IN ('id1', 'id3')");
  for (const char* clauses : {"", R"("start_time")", R"("metrics.acc")", R"("metrics.acc DESC")", R"("metrics.only1")",
                              R"("params.opt DESC")", R"("tags.`has space`","status DESC")", R"("end_time DESC")",
                              R"("run_id DESC")", R"("tags.nope","end_time")", R"("user_id","metrics.only1 DESC")"}) {
    EXPECT_EQ(paged(clauses), ordered(clauses)) << clauses;
    EXPECT_TRUE(token_.empty());
  }
}

TEST_F(SearchTest, APageIsNotShiftedByRunsThatComeBetween) {
  EXPECT_EQ(ordered("", R"(,"max_results":2)"), "run4 run3");
  database_.execute(
      "INSERT INTO tracking.training_runs (run_id, run_name, experiment_id, start_time) "
      "VALUES ('new', 'new', 1, 5000)");
  EXPECT_EQ(ordered("", R"(,"max_results":2,"page_token":)" + json::quote(token_)), "run2 run1");
}

TEST_F(SearchTest, RefusesTokensOfAnotherSearch) {
  ordered("", R"(,"max_results":1)");
  const std::string other = token_;
  for (const std::string& token :
       {std::string("junk"), std::string("eyJvZmZzZXQiOiAyfQ=="), std::string("e30="), std::string("===="), other}) {
    try {
      ordered(R"("end_time")", R"(,"page_token":)" + json::quote(token));
      ADD_FAILURE() << token;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
      EXPECT_TRUE(std::string(error.what()).starts_with("Invalid page token")) << error.what();
    }
  }
}

TEST_F(SearchTest, ATokenIsOfOneOrderWhateverTheFilter) {
  const std::string page = R"(,"max_results":2,"page_token":)";
  ordered(R"("metrics.acc")", R"(,"max_results":2)");
  const std::string token = json::quote(token_);
  for (const char* other :
       {R"("metrics.only1")", R"("params.acc")", R"("metrics.acc DESC")", R"("metrics.acc","status")"}) {
    EXPECT_THROW(ordered(other, page + token), Error) << other;
  }
  EXPECT_EQ(ordered(R"("metrics.acc")", page + token + R"(,"filter":"tags.odd = '0' AND params.opt = 'adam'")"),
            "run2 run4");
}

TEST_F(SearchTest, SizesOfPagesDoNotUseUpThePreparedShapes) {
  const auto prepared = [this] {
    constexpr db::Statement kCount{"count_prepared",
                                   "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'search\\_%'"};
    return reactor_.block_on(pool_.query(kCount)).integer(0, 0);
  };
  EXPECT_EQ(ordered("", R"(,"max_results":70)"), "run4 run3 run2 run1 run0");
  const int64_t before = prepared();
  for (int size = 71; size < 100; ++size) ordered("", R"(,"max_results":)" + std::to_string(size));
  EXPECT_EQ(prepared(), before);
}

TEST_F(SearchTest, ShowsActiveDeletedOrAllRuns) {
  database_.execute("UPDATE tracking.training_runs SET lifecycle_stage = 'deleted' WHERE run_id = 'id4'");
  const std::string begin = R"({"experiment_ids":["1","2","77"],"run_view_type":)";
  EXPECT_EQ(names(begin + "\"ACTIVE_ONLY\"}"), "run3 run2 run1 run0 other");
  EXPECT_EQ(names(begin + "\"DELETED_ONLY\"}"), "run4");
  EXPECT_EQ(names(begin + "3}"), "run4 run3 run2 run1 run0 other");
  EXPECT_EQ(answer("{}"), "{}");
  EXPECT_EQ(answer(R"({"experiment_ids":["77"]})"), "{}");
  EXPECT_THROW(answer(R"({"experiment_ids":["abc"]})"), Error);
  EXPECT_THROW(answer(R"({"experiment_ids":["1"],"max_results":0})"), Error);
  EXPECT_THROW(answer(R"({"experiment_ids":["1"],"max_results":50001})"), Error);
}

TEST_F(SearchTest, WritesARunAsMlflowDoes) {
  EXPECT_EQ(answer(R"({"experiment_ids":["1"],"filter":"run_name = 'run0'"})"),
            R"({"runs":[{"info":{"run_uuid":"id0","experiment_id":"1","run_name":"run0","user_id":"u0",)"
            R"("status":"FINISHED","start_time":1000,"end_time":2000,"artifact_uri":"","lifecycle_stage":"active",)"
            R"("run_id":"id0"},"data":{"metrics":[{"key":"acc","value":0.0,"timestamp":8,"step":7}],)"
            R"("params":[{"key":"lr","value":"0.10"},{"key":"opt","value":"adam"}],)"
            R"("tags":[{"key":"odd","value":"0"}]},"inputs":{"dataset_inputs":[)"
            R"({"tags":[{"key":"mlflow.data.context","value":"train"}],"dataset":{"name":"iris","digest":"abc",)"
            R"("source_type":"local","source":"x"}}]},"outputs":{}}]})");
}

TEST_F(SearchTest, SearchesExperiments) {
  EXPECT_EQ(names(R"({"max_results":5})", true), "two one Default");
  EXPECT_EQ(names(R"({"max_results":5,"view_type":"ALL","order_by":["name DESC"]})", true), "two one gone Default");
  EXPECT_EQ(names(R"({"max_results":5,"filter":"tags.g = '1'"})", true), "one");
  EXPECT_EQ(names(R"({"max_results":5,"filter":"tags.g IS NULL AND name ILIKE 'T%'"})", true), "two");
  EXPECT_EQ(names(R"json({"max_results":5,"filter":"experiment_id IN ('1','0')"})json", true), "one Default");
  EXPECT_EQ(names(R"({"max_results":2})", true), "two one");
  EXPECT_EQ(names(R"({"max_results":2,"page_token":)" + json::quote(token_) + "}", true), "Default");
  EXPECT_TRUE(token_.empty());
  EXPECT_THROW(answer("{}", true), Error);
}

}  // namespace
}  // namespace cairn::tracking
