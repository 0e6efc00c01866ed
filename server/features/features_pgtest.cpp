// The feature store as its users see it, through the router: what is declared, what was written, what is read.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "features/testing.h"

namespace cairn::features {
namespace {

TEST_F(FeaturesTest, R09_WhatWasWrittenIsReadWithItsStatusAndTime) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  ASSERT_EQ(write("stats", R"({"driver_id": [1, 2], "conv_rate": [0.1, null], "trips": [7, -2147483648],
      "tags": [["a\"b", "c,{}"], []], "active": [true, false], "note": ["ü\\\"", null],
      "event_timestamp": ["2026-01-31T12:00:00.250", "2026-01-31T12:00:00"], "created": [null, null]})")
                .body,
            "null");
  EXPECT_EQ(
      read(R"(["stats:conv_rate", "stats:trips", "stats:tags", "stats:active", "stats:note"])",
           R"({"driver_id": [2, 1, 3]})")
          .body,
      R"({"metadata":{"feature_names":["driver_id","conv_rate","trips","tags","active","note"]},"results":[)"
      R"({"values":[2,1,3],"statuses":["PRESENT","PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},)"
      R"({"values":[null,0.1,null],"statuses":["NULL_VALUE","PRESENT","NOT_FOUND"],"event_timestamps":["2026-01-31T12:00:00Z","2026-01-31T12:00:00.250Z","1970-01-01T00:00:00Z"]},)"
      R"({"values":[-2147483648,7,null],"statuses":["PRESENT","PRESENT","NOT_FOUND"],"event_timestamps":["2026-01-31T12:00:00Z","2026-01-31T12:00:00.250Z","1970-01-01T00:00:00Z"]},)"
      R"({"values":[[],["a\"b","c,{}"],null],"statuses":["PRESENT","PRESENT","NOT_FOUND"],"event_timestamps":["2026-01-31T12:00:00Z","2026-01-31T12:00:00.250Z","1970-01-01T00:00:00Z"]},)"
      R"({"values":[false,true,null],"statuses":["PRESENT","PRESENT","NOT_FOUND"],"event_timestamps":["2026-01-31T12:00:00Z","2026-01-31T12:00:00.250Z","1970-01-01T00:00:00Z"]},)"
      R"({"values":[null,"ü\\\"",null],"statuses":["NULL_VALUE","PRESENT","NOT_FOUND"],"event_timestamps":["2026-01-31T12:00:00Z","2026-01-31T12:00:00.250Z","1970-01-01T00:00:00Z"]}]})");
}

TEST_F(FeaturesTest, R09_OldValuesAreTooOldAndServicesNameFeatures) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  write(
      "in_city",
      R"({"driver_id": [1, 1], "city": ["a,b", "a"], "rank": [1.5, 2.5], "event_timestamp": ["2020-01-01T00:00:00", null]})");
  const Answer answer = post("/get-online-features", R"({"feature_service": "ranking", "full_feature_names": true,
            "entities": {"driver_id": [1, 1, 1], "city": ["a,b", "a", "b"]}})");
  EXPECT_NE(answer.body.find(R"("feature_names":["city","driver_id","stats__trips","in_city__rank"])"),
            std::string::npos)
      << answer.body;
  EXPECT_NE(answer.body.find(R"({"values":[null,2.5,null],"statuses":["OUTSIDE_MAX_AGE","PRESENT","NOT_FOUND"])"),
            std::string::npos)
      << answer.body;
}

// Requests that come at once share statements, and each gets its own answer: of one key, of many, of another view, of
// none that is there, and of a key that PostgreSQL refuses.
TEST_F(FeaturesTest, R09_RequestsAtOnceEachGetTheirOwn) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  std::string ids, trips, times;
  for (int id = 0; id < 400; ++id) {
    const char* comma = id > 0 ? "," : "";
    ids += comma + std::to_string(id);
    trips += comma + std::to_string(10 * id);
    times += std::string(comma) + "null";
  }
  ASSERT_EQ(
      write("stats", fmt::format(R"({{"driver_id": [{}], "trips": [{}], "conv_rate": [{}], "tags": [{}], "active": [{}],
      "note": [{}], "event_timestamp": [{}]}})",
                                 ids, trips, times, times, times, times, times))
          .status,
      200);
  int left = 60;
  const auto ask = [&](int number) -> task<> {
    const bool refused = number % 20 == 7;
    std::string keys, values;
    for (int i = 0; i <= number * 37 % 1300; ++i) {  // some by themselves, over the limit of what is shared
      const int id = (number + i * 3) % 450;
      keys += (i > 0 ? "," : "") + std::to_string(id);
      values += (i > 0 ? "," : "") + (id < 400 ? std::to_string(10 * id) : std::string("null"));
    }
    const std::string input =
        refused ? std::string(R"({"features": ["in_city:rank"], "entities": {"driver_id": [1], "city": ["\u0000"]}})")
                : R"({"features": ["stats:trips"], "entities": {"driver_id": [)" + keys + "]}}";
    const Answer answer = co_await call("POST", "/get-online-features", input);
    if (refused)
      EXPECT_GE(answer.status, 400) << answer.body;
    else
      EXPECT_NE(answer.body.find(R"({"values":[)" + values + "],"), std::string::npos) << number << answer.body;
    --left;
  };
  const auto all = [&]() -> task<> {
    for (int number = left; number-- > 0;) Reactor::current().spawn("ask", ask(number));
    while (left > 0) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor_.block_on(all());
}

// Random writes from the model's view: the latest by (event time, creation), whatever the order of arrival, and a
// history without repetitions.
TEST_F(FeaturesTest, R09_AnOlderEventNeverOverwritesANewer) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  std::mt19937 random(20260131);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  struct Value {
    int event, created, trips;
  };
  std::map<int, std::vector<Value>> history;
  for (int round = 0; round < 150; ++round) {
    std::string keys, rest, events, created, trips;
    const int rows = 1 + below(5);
    std::vector<std::pair<int, Value>> batch;
    for (int i = 0; i < rows; ++i) batch.push_back({below(6), {below(20), below(20), below(4)}});
    for (const auto& [key, value] : batch) {
      // A version of an event that was created later wins; two of one moment: the later in the batch.
      const std::string comma = keys.empty() ? "" : ", ";
      keys += comma + std::to_string(key);
      rest += comma + "null";
      trips += comma + std::to_string(value.trips);
      const auto time = [&](int n) {
        return comma + "\"2026-01-01T00:00:" + (n < 10 ? "0" : "") + std::to_string(n) + "\"";
      };
      events += time(value.event);
      created += time(value.created);
      history[key].push_back(value);
    }
    ASSERT_EQ(write("stats", "{\"driver_id\": [" + keys + "], \"conv_rate\": [" + rest + "], \"tags\": [" + rest +
                                 "], \"active\": [" + rest + "], \"note\": [" + rest + "], \"trips\": [" + trips +
                                 "], \"event_timestamp\": [" + events + "], \"created\": [" + created + "]}")
                  .status,
              200);
  }
  for (const auto& [key, values] : history) {
    Value best = values.front();
    for (const Value& value : values)
      if (std::pair(value.event, value.created) >= std::pair(best.event, best.created)) best = value;
    const std::string body = read(R"(["stats:trips"])", R"({"driver_id": [)" + std::to_string(key) + "]}").body;
    EXPECT_NE(body.find("\"values\":[" + std::to_string(best.trips) + "],\"statuses\":[\"PRESENT\"]"),
              std::string::npos)
        << key << ": " << best.trips << " in " << body;
  }
}

// Beside an oracle: of the rows that were true and known at the time, and not too old, the one of the latest event, and
// of its versions the last.
TEST_F(FeaturesTest, R09_TrainingSetsAreCorrectAtEachPointInTime) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  std::mt19937 random(20260201);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  const auto minute = [](int n) { return fmt::format("\"2026-01-01T{:02}:{:02}:00\"", n / 60, n % 60); };
  struct Value {
    int driver, event, created, rank;
  };
  std::vector<Value> values;
  std::set<std::tuple<int, int, int>> taken;
  for (int i = 0; i < 300; ++i) {
    const int event = below(300);
    const Value value{below(5), event, event + below(120), i};
    if (taken.insert({value.driver, value.event, value.created}).second) values.push_back(value);
  }
  std::string drivers, cities, events, created, ranks;
  for (const Value& value : values) {
    const std::string comma = drivers.empty() ? "" : ",";
    drivers += comma + std::to_string(value.driver);
    cities += comma + "\"x\"";
    events += comma + minute(value.event);
    created += comma + minute(value.created);
    ranks += comma + std::to_string(value.rank);
  }
  ASSERT_EQ(write("in_city", "{\"driver_id\": [" + drivers + "], \"city\": [" + cities + "], \"rank\": [" + ranks +
                                 "], \"event_timestamp\": [" + events + "], \"created\": [" + created + "]}")
                .status,
            200);
  int found = 0;
  for (int round = 0; round < 300; ++round) {
    const int driver = below(6), at = below(480), known_by = below(480);
    const bool late = below(2) == 0, bounded = below(2) == 0;
    const Value* best = nullptr;
    for (const Value& value : values) {
      if (value.driver != driver || value.event > at || (!late && value.created > at) ||
          (bounded && value.created > known_by))
        continue;
      if (best == nullptr || std::pair(value.event, value.created) > std::pair(best->event, best->created))
        best = &value;
    }
    const std::string expected = best == nullptr ? "\"values\":[null],\"statuses\":[\"NOT_FOUND\"]"
                                 : at - best->event > 60
                                     ? "\"values\":[null],\"statuses\":[\"OUTSIDE_MAX_AGE\"]"
                                     : fmt::format("\"values\":[{}.0],\"statuses\":[\"PRESENT\"]", best->rank);
    found += expected.find("PRESENT") != std::string::npos;
    const Answer answer = post("/api/v1/features/historical",
                               "{\"features\": [\"in_city:rank\"], \"entities\": {\"driver_id\": [" +
                                   std::to_string(driver) + "], \"city\": [\"x\"], \"event_timestamp\": [" +
                                   minute(at) + "]}, \"late_too\": " + (late ? "true" : "false") +
                                   (bounded ? ", \"known_by\": " + minute(known_by) : "") + "}");
    ASSERT_NE(answer.body.find(expected), std::string::npos) << expected << " in " << answer.body;
  }
  EXPECT_GT(found, 50);
  const Answer without = post("/api/v1/features/historical",
                              R"({"features": ["in_city:rank"], "entities": {"driver_id": [1], "city": ["x"]}})");
  EXPECT_EQ(without.status, 400) << without.body;
}

TEST_F(FeaturesTest, R09_TheSameWriteTwiceIsOneWrite) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const std::string columns =
      R"({"driver_id": [1, 2], "city": ["x", "x"], "rank": [1, "NaN"], "event_timestamp": ["2026-01-01T00:00:00", "2026-01-01T00:00:00"]})";
  for (int i = 0; i < 3; ++i) ASSERT_EQ(write("in_city", columns).status, 200);
  EXPECT_EQ(count("history"), "2");
  EXPECT_EQ(count("latest"), "2");
  EXPECT_EQ(post("/push", R"({"push_source_name": "nobody", "df": {}})").status, 422);
  EXPECT_EQ(post("/push", R"({"push_source_name": "trips", "to": "offline", "df": {"driver_id": [9], "conv_rate": [1],
      "trips": [1], "tags": [null], "active": [null], "note": [null]}})")
                .status,
            200);
  EXPECT_EQ(count("history"), "3");
  EXPECT_EQ(count("latest"), "2");
  EXPECT_EQ(post("/materialize", R"({"start_ts": "2020-01-01T00:00:00", "end_ts": "2020-02-01T00:00:00"})").status,
            200);
  EXPECT_EQ(count("latest"), "2");
  EXPECT_EQ(post("/materialize-incremental", R"({"end_ts": "2099-01-01T00:00:00", "feature_views": ["stats"]})").body,
            "null");
  EXPECT_EQ(count("latest"), "3");
  EXPECT_EQ(post("/materialize", R"({"end_ts": "soon"})").status, 422);
}

TEST_F(FeaturesTest, DefinitionsChangeAndStoredValuesKeepTheirMeaning) {
  EXPECT_EQ(apply(R"({"dry_run": true, "entities": [{"name": "driver"}]})").body,
            R"({"applied":false,"changes":["+ entity driver"]})");
  ASSERT_EQ(apply(kDrivers).status, 200);
  EXPECT_EQ(apply(kDrivers).body, R"({"applied":true,"changes":[]})");
  write("in_city", R"({"driver_id": [1], "city": ["x"], "rank": [1]})");
  // A new feature beside the old one; the removed one's slot is not given to it.
  EXPECT_EQ(
      apply(R"({"feature_views": [{"name": "in_city", "entities": ["driver", "city"], "ttl_s": 7200,
      "features": [{"name": "share", "value_type": "double"}]}]})")
          .body,
      R"({"applied":true,"changes":["~ feature view in_city","- feature in_city:rank","+ feature in_city:share"]})");
  EXPECT_NE(read(R"(["in_city:share"])", R"({"driver_id": [1], "city": ["x"]})").body.find("NULL_VALUE"),
            std::string::npos);
  EXPECT_EQ(read(R"(["in_city:rank"])", R"({"driver_id": [1], "city": ["x"]})").status, 404);
  EXPECT_EQ(apply(R"({"feature_views": [{"name": "stats", "entities": ["driver"],
      "features": [{"name": "trips", "value_type": "string"}]}]})")
                .status,
            409);
  EXPECT_EQ(apply(R"({"feature_views": [{"name": "stats", "entities": ["city"],
      "features": [{"name": "trips", "value_type": "int32"}]}]})")
                .status,
            409);
  EXPECT_EQ(reactor_.block_on(call("DELETE", "/api/v1/features/views/in_city", "")).status, 200);
  EXPECT_EQ(count("latest"), "0");
  EXPECT_EQ(count("history"), "0");
}

TEST_F(FeaturesTest, AReadOfOneEntityIsNotPlannedEachTime) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(read(R"(["stats:trips"])", R"({"driver_id": [1]})").status, 200);
    ASSERT_EQ(post("/api/v1/features/historical", R"({"features": ["stats:trips"],
        "entities": {"driver_id": [1], "event_timestamp": ["2026-01-01T00:00:00"]}})")
                  .status,
              200);
  }
  EXPECT_EQ(reactor_.block_on(pool_->query(db::kPlannedAnew)).text(0, 0), "");
}

TEST_F(FeaturesTest, R04_AVectorHasItsLength) {
  const auto declared = [](const std::string& more) {
    return R"({"entities": [{"name": "driver", "value_type": "int64"}], "feature_views": [{"name": "face", "entities": ["driver"],
        "features": [{"name": "embedding", "value_type": "vector")" +
           more + "}]}]}";
  };
  EXPECT_EQ(apply(declared("")).status, 400);
  EXPECT_EQ(apply(declared(R"(, "vector_length": 3, "vector_search_metric": "hamming")")).status, 400);
  ASSERT_EQ(apply(declared(R"(, "vector_length": 3)")).status, 200);
  EXPECT_EQ(apply(declared(R"(, "vector_length": 4)")).status, 409);
  EXPECT_EQ(apply(declared(R"(, "vector_length": 3, "vector_search_metric": "cosine")")).body,
            R"({"applied":true,"changes":[]})");
  for (const char* wrong : {"[1, 2]", "[1, 2, \"NaN\"]", "[1, 2, null]", "7"})
    EXPECT_EQ(write("face", std::string(R"({"driver": [1], "embedding": [)") + wrong + "]}").status, 422) << wrong;
  ASSERT_EQ(write("face", R"({"driver": [1, 2], "embedding": [[0.1, -2, 1e-30], null]})").status, 200);
  EXPECT_NE(read(R"(["face:embedding"])", R"({"driver": [1, 2]})").body.find(R"("values":[[0.1,-2.0,1e-30],null])"),
            std::string::npos);
}

TEST_F(FeaturesTest, R04_TheNearestVectorsAreFound) {
  ASSERT_EQ(apply(R"({"entities": [{"name": "driver", "value_type": "int64"}, {"name": "city"}], "feature_views": [
      {"name": "face", "entities": ["driver", "city"], "ttl_s": 864000, "features": [{"name": "age", "value_type": "int64"},
       {"name": "embedding", "value_type": "vector", "vector_length": 2, "vector_search_metric": "l2"}]}]})")
                .status,
            200);
  write("face", R"({"driver": [1, 2, 3, 4, 5], "city": ["a", "b", "c", "d", "e"], "age": [10, null, 30, 40, 50],
      "embedding": [[0, 3], [0.5, 0], null, [4, 0], [0, 0]],
      "event_timestamp": [null, null, null, null, "2020-01-01T00:00:00"]})");
  const auto search = [&](const std::string& more) {
    return post("/search",
                R"({"features": ["face:age", "face:embedding"], "query": [0, 0], "api_version": 2, )" + more + "}");
  };
  database_.execute("DROP EXTENSION IF EXISTS vector CASCADE");
  const Answer without = search(R"("top_k": 2)");
  EXPECT_NE(without.body.find("CREATE EXTENSION vector"), std::string::npos) << without.body;
  database_.execute("CREATE EXTENSION vector");
  const std::string body = search(R"("top_k": 2, "distance_metric": null)").body;
  EXPECT_NE(body.find(R"("feature_names":["driver","city","age","embedding","distance"])"), std::string::npos) << body;
  for (const char* values : {R"("values":[2,1])", R"("values":["b","a"])", R"("values":[null,10])",
                             R"("values":[[0.5,0.0],[0.0,3.0]])", R"("values":[0.5,3.0])"})
    EXPECT_NE(body.find(values), std::string::npos) << values << " in " << body;
  EXPECT_NE(search(R"("top_k": 9, "distance_metric": "INNER_PRODUCT")").body.find(R"("values":["a","b","d"])"),
            std::string::npos);
  EXPECT_EQ(search(R"("top_k": 2, "distance_metric": "hamming")").status, 422);
  EXPECT_EQ(search(R"("top_k": 0)").status, 422);
  EXPECT_EQ(search(R"("top_k": 2, "query_string": "x")").status, 422);
  for (const char* query : {"[1]", "[1, \"NaN\"]", "1", "null"})
    EXPECT_EQ(post("/retrieve-online-documents",
                   std::string(R"({"features": ["face:age"], "top_k": 1, "query": )") + query + "}")
                  .status,
              422)
        << query;
}

TEST_F(FeaturesTest, R09_WhatWasWrittenIsInTheTablesOfText000) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const std::string rest = R"("tags": [null], "active": [true], "note": [null], )";
  write("stats", R"({"driver_id": [1], "conv_rate": [0.1], "trips": [7], )" + rest +
                     R"("event_timestamp": ["2026-01-01T00:00:00"], "created": ["2026-01-01T00:00:00"]})");
  // A later version of the same event, and an event that only history has.
  write("stats", R"({"driver_id": [1], "conv_rate": [0.25], "trips": [null], )" + rest +
                     R"("event_timestamp": ["2026-01-01T00:00:00"], "created": ["2026-01-02T00:00:00"]})");
  post("/push",
       R"({"push_source_name": "trips", "to": "offline", "df": {"driver_id": [2], "conv_rate": [1], "trips": [3], )" +
           rest + R"("event_timestamp": ["2026-01-01T00:00:00"]}})");
  write("in_city", R"({"driver_id": [1], "city": ["x"], "rank": [4]})");
  const auto sql = [&](const std::string& text) { return reactor_.block_on(pool_->query({"", text})).text(0, 0); };
  EXPECT_EQ(
      sql("SELECT string_agg(concat_ws(' ', e.entity_type, f.name, v.value), ', ' ORDER BY e.entity_type, e.entity_id ="
          " features.entity_id('driver', '2'), f.name) FROM text000.feature_values v JOIN text000.features f USING"
          " (feature_id) JOIN text000.entities e USING (entity_id)"),
      R"(["driver", "city"] rank 4, driver active 1, driver conv_rate 0.25, driver active 1, driver conv_rate 1, driver trips 3)");
  EXPECT_EQ(sql("SELECT count(*)::text FROM text000.latest_feature_values"), "3");
  // What SQL inserts is read over HTTP.
  database_.execute(
      "SET search_path = text000; INSERT INTO entities VALUES ('00000000-0000-4000-8000-000000000001', 'user');"
      " INSERT INTO features (name, data_type) VALUES ('age', 'bigint');"
      " INSERT INTO feature_values SELECT entity_id, feature_id, now(), 42 FROM entities, features"
      " WHERE entity_type = 'user' AND name = 'age'");
  EXPECT_NE(read(R"(["age:age"])", R"({"entity_id": ["00000000-0000-4000-8000-000000000001"]})").body.find("[42]"),
            std::string::npos);
  EXPECT_THROW(database_.execute("INSERT INTO text000.feature_values SELECT entity_id, feature_id, now(), 42 FROM"
                                 " text000.entities, text000.features WHERE entity_type = 'driver' AND name = 'trips'"),
               std::runtime_error);
}

TEST_F(FeaturesTest, BadInputIsNamedAndLeavesNothing) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const auto refusal = [&](const Answer& answer, const std::string& part) {
    EXPECT_EQ(answer.status, 422) << answer.body;
    EXPECT_NE(answer.body.find(part), std::string::npos) << answer.body;
  };
  const std::string one = R"({"driver_id": [1], "city": ["x"], "rank": )";
  refusal(write("in_city", one + "[\"much\"]}"), "column rank, row 1: double was expected, not");
  refusal(write("in_city", one + "[1, 2]}"), "columns must be of one length");
  refusal(write("in_city", R"({"driver_id": [1], "rank": [1]})"), "join key city: there is no such column");
  refusal(write("in_city", R"({"driver_id": ["1x"], "city": ["x"], "rank": [1]})"), "join key driver_id: row 1");
  refusal(write("in_city", one + R"([1], "event_timestamp": ["2026-13-01"]})"), "date/time field value out of range");
  for (const char* never : {"infinity", "tomorrow"})
    refusal(write("in_city", one + R"([1], "event_timestamp": [")" + never + R"("]})"), "and a time such as");
  refusal(read(R"(["in_city"])", R"({"driver_id": [1]})"), "is no feature");
  refusal(read(R"(["in_city:rank"])", R"({"driver_id": [1]})"), "join key city");
  EXPECT_EQ(
      write("nothing", one + "[1]}").body,
      R"("{\"module\":\"feast.errors\",\"class\":\"FeatureViewNotFoundException\",\"message\":\"Feature view nothing does not exist\"}")");
  EXPECT_EQ(
      apply(
          R"({"feature_views": [{"name": "v", "entities": ["nobody"], "features": [{"name": "f", "value_type": "int64"}]}]})")
          .status,
      404);
  EXPECT_EQ(count("latest") + count("history"), "00");
}

}  // namespace
}  // namespace cairn::features
