// Training sets in bulk, through the router: what they hold, that nobody's query may write, and that they can be made
// again.
#include <random>
#include <set>

#include "features/testing.h"
#include "features/training_set.h"

namespace cairn::features {
namespace {

constexpr const char* kSets = "/api/v1/features/training-sets";

class TrainingSetTest : public FeaturesTest {
 protected:
  Answer make(const std::string& input) { return post(kSets, input); }
  Answer make_of_csv(const std::string& arguments, const std::string& csv) {
    return reactor_.block_on(call("POST", kSets + std::string("?") + arguments, csv, "text/csv"));
  }
  Answer get(const std::string& path) { return reactor_.block_on(call("GET", kSets + path, "")); }
  void rank(int driver, const char* city, int rank, const char* event, const char* created) {
    const Answer answer =
        write("in_city", fmt::format(R"({{"driver_id": [{}], "city": ["{}"], "rank": [{}], "event_timestamp": ["{}"],)"
                                     R"("created": ["{}"]}})",
                                     driver, city, rank, event, created));
    ASSERT_EQ(answer.status, 200) << answer.body;
  }
};

TEST_F(TrainingSetTest, R09_RowsKeepTheirOrderAndColumnsAndGetTheirFeatures) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  ASSERT_EQ(write("stats", R"({"driver_id": [7], "conv_rate": [0.1], "trips": [-5], "tags": [["a,b", "\"q\""]],
      "active": [true], "note": ["ü, \"x\""], "event_timestamp": ["2026-01-01T12:00:00"], "created": ["2026-01-01T12:00:00"]})")
                .status,
            200);
  rank(7, "a,\\\"b", 3, "2026-01-01T11:30:00", "2026-01-01T11:30:00");
  const std::string features =
      "features=stats:trips&features=stats:conv_rate&features=stats:active&features=stats:tags&features=stats:note&"
      "features=in_city:rank";
  const std::string csv =
      "label,driver_id,city,event_timestamp\r\n"
      "\"first, \"\"one\"\"\n\",7,\"a,\"\"b\",2026-01-01 12:00:00\r\n"
      "second,8,x,2026-01-01 12:00:00\r\n"
      "\"\",,x,2026-01-01 12:00:00\r\n"
      ",07,\"a,\"\"b\",2026-01-01T11:30:00Z\r\n"
      "late,7,\"a,\"\"b\",2026-01-01T12:30:01Z";
  const Answer answer = make_of_csv(features, csv);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            "label,driver_id,city,event_timestamp,trips,conv_rate,active,tags,note,rank\n"
            "\"first, \"\"one\"\"\n\",7,\"a,\"\"b\",2026-01-01 "
            "12:00:00,-5,0.1,true,\"[\"\"a,b\"\",\"\"\\\"\"q\\\"\"\"\"]\",\"ü, "
            "\"\"x\"\"\",3\n"
            "second,8,x,2026-01-01 12:00:00,,,,,,\n"
            "\"\",,x,2026-01-01 12:00:00,,,,,,\n"
            ",07,\"a,\"\"b\",2026-01-01T11:30:00Z,,,,,,3\n"
            "late,7,\"a,\"\"b\",2026-01-01T12:30:01Z,-5,0.1,true,\"[\"\"a,b\"\",\"\"\\\"\"q\\\"\"\"\"]\",\"ü, "
            "\"\"x\"\"\",\n");
  // The same of the caller's columns, with a service.
  const Answer columns = make(R"({"feature_service": "ranking", "full_feature_names": true, "entities":
      {"driver_id": [7, null], "city": ["a,\"b", "a"], "event_timestamp": ["2026-01-01T12:30:00Z", "2026-01-01T12:30:00Z"],
       "weight": [0.5, true]}})");
  EXPECT_EQ(
      columns.body,
      "city,driver_id,event_timestamp,weight,stats__trips,in_city__rank\n\"a,\"\"b\",7,2026-01-01T12:30:00Z,0.5,-5,3\n"
      "a,,2026-01-01T12:30:00Z,true,,\n");
}

// Beside an oracle: of the rows that were true and known at the time, and not too old, the one of the latest event, and
// of its versions the last. By CSV and by a query.
// size: one oracle for both ways
TEST_F(TrainingSetTest, R09_EachRowIsCorrectAtItsTime) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  std::mt19937 random(20260203);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  // Half of the values are of a month with a partition of its own.
  database_.execute(
      "CREATE TABLE features.history_2026_01 PARTITION OF features.history FOR VALUES FROM"
      " ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')");
  const auto minute = [](int n) {
    n += 21 * 60;
    return fmt::format("{} {:02}:{:02}:00+00", n < 1440 ? "2025-12-31" : "2026-01-01", n / 60 % 24, n % 60);
  };
  struct Value {
    int driver, event, created;
  };
  std::vector<Value> values;
  std::set<std::tuple<int, int, int>> taken;
  std::string columns[5];
  for (int i = 0; i < 400; ++i) {
    const int event = below(300);
    const Value value{below(8), event, event + below(120)};
    if (!taken.insert({value.driver, value.event, value.created}).second) continue;
    const std::string comma = values.empty() ? "" : ",";
    columns[0] += comma + std::to_string(value.driver);
    columns[1] += comma + "\"x\"";
    columns[2] += comma + std::to_string(values.size());
    columns[3] += comma + "\"" + minute(value.event) + "\"";
    columns[4] += comma + "\"" + minute(value.created) + "\"";
    values.push_back(value);
  }
  ASSERT_EQ(write("in_city", fmt::format(R"({{"driver_id": [{}], "city": [{}], "rank": [{}], "event_timestamp": [{}],)"
                                         R"("created": [{}]}})",
                                         columns[0], columns[1], columns[2], columns[3], columns[4]))
                .status,
            200);
  for (const bool late : {false, true}) {
    // Then none is outside of the months.
    if (late)
      database_.execute(
          "CREATE TABLE moved AS SELECT * FROM features.history_default; TRUNCATE features.history_default;"
          " CREATE TABLE features.history_2025_12 PARTITION OF features.history FOR VALUES FROM"
          " ('2025-12-01 00:00:00+00') TO ('2026-01-01 00:00:00+00');"
          " INSERT INTO features.history SELECT * FROM moved");
    const int known_by = late ? 200 : 480;
    std::string csv = "driver_id,city,event_timestamp\n", expected = "driver_id,city,event_timestamp,rank\n";
    std::set<std::pair<std::string, std::string>> ordered;
    int found = 0;
    for (int row = 0; row < 500; ++row) {
      const int driver = below(9), at = below(480);
      const Value* best = nullptr;
      for (const Value& value : values) {
        if (value.driver != driver || value.event > at || at - value.event > 60 || (!late && value.created > at) ||
            value.created > known_by)
          continue;
        if (best == nullptr || std::pair(value.event, value.created) > std::pair(best->event, best->created))
          best = &value;
      }
      found += best != nullptr;
      const std::string line = fmt::format("{},x,{}", driver, minute(at));
      const std::string rank = best == nullptr ? "" : std::to_string(best - values.data());
      csv += line + "\n";
      expected += line + "," + rank + "\n";
      ordered.insert({fmt::format("{} {:04}", driver, at), line.substr(0, line.size() - 3) + "+00," + rank});
    }
    EXPECT_GT(found, 100);
    const std::string options =
        fmt::format("\"features\": [\"in_city:rank\"], \"late_too\": {}, \"known_by\": \"{}\"", late, minute(known_by));
    EXPECT_EQ(make_of_csv(fmt::format("features=in_city:rank&late_too={}&known_by={}", late,
                                      minute(known_by).substr(0, 10) + "T" + minute(known_by).substr(11, 8) + "Z"),
                          csv)
                  .body,
              expected);
    database_.execute(
        "DROP TABLE IF EXISTS asked; CREATE TABLE asked (driver_id int, city text, event_timestamp timestamptz)");
    std::string insert = "INSERT INTO asked SELECT DISTINCT v.* FROM (VALUES ";
    for (const auto& [key, line] : ordered)
      insert += fmt::format("{}({}, 'x', '{}'::timestamptz)", insert.ends_with("VALUES ") ? "" : ",", line.substr(0, 1),
                            line.substr(4, 22));
    database_.execute(insert + ") v");
    std::string by_query = "driver_id,city,event_timestamp,rank\n";
    for (const auto& [key, line] : ordered) by_query += line + "\n";
    EXPECT_EQ(make("{\"table\": \"public.asked\", " + options + "}").body, by_query);
    EXPECT_EQ(make("{\"query\": \"SELECT * FROM asked ORDER BY random(); -- x\", " + options + "}").status, 400);
    EXPECT_EQ(make("{\"query\": \"SELECT * FROM asked ORDER BY random() -- x\", " + options + "}").body, by_query);
  }
}

TEST_F(TrainingSetTest, R09_ASetIsMadeAgainByteForByteWhateverCameSince) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  rank(1, "x", 1, "2026-01-01T00:00:00", "2026-01-01T00:00:00");
  rank(2, "x", 2, "2026-01-01T00:00:00", "2026-01-01T00:00:00");
  database_.execute(
      "CREATE TABLE asked AS SELECT g AS driver_id, 'x' AS city, timestamptz '2026-01-01 00:30+00' AS event_timestamp"
      " FROM generate_series(3, 1, -1) g");
  const std::string input = R"({"name": "first", "features": ["in_city:rank"], "table": "asked"})";
  const Answer made = make(input);
  EXPECT_EQ(made.body,
            "driver_id,city,event_timestamp,rank\n1,x,2026-01-01 00:30:00+00,1\n2,x,2026-01-01 00:30:00+00,2\n"
            "3,x,2026-01-01 00:30:00+00,\n");
  const Answer taken = make(input);
  EXPECT_EQ(taken.status, 409) << taken.body;
  const Answer shown = get("/first");
  EXPECT_NE(shown.body.find("\"rows\" : 3, \"bytes\" : 122"), std::string::npos) << shown.body;
  EXPECT_NE(get("").body.find("\"name\" : \"first\""), std::string::npos);
  // Late values with an early time of creation, a longer ttl, a removed feature, and other rows in the table.
  rank(3, "x", 3, "2026-01-01T00:00:00", "2026-01-01T00:00:00");
  rank(1, "x", 4, "2026-01-01T00:10:00", "2026-01-01T00:10:00");
  database_.execute("TRUNCATE asked");
  ASSERT_EQ(apply(R"({"feature_views": [{"name": "in_city", "entities": ["driver", "city"], "ttl_s": 1,
      "features": [{"name": "share", "value_type": "double"}]}]})")
                .status,
            200);
  const Answer again = get("/first/data");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, made.body);
  database_.execute("DELETE FROM features.history WHERE entity_key = '[1,\"x\"]'");
  const Answer gone = get("/first/data");
  EXPECT_EQ(gone.status, 0);
  EXPECT_NE(gone.body.find("removed or changed since"), std::string::npos) << gone.body;
  ASSERT_EQ(reactor_.block_on(call("DELETE", "/api/v1/features/views/in_city", "")).status, 200);
  const Answer no_view = get("/first/data");
  EXPECT_EQ(no_view.status, 409);
  EXPECT_NE(no_view.body.find("feature view in_city was removed"), std::string::npos) << no_view.body;
  EXPECT_EQ(reactor_.block_on(call("DELETE", std::string(kSets) + "/first", "")).status, 200);
  EXPECT_EQ(get("/first/data").status, 404);
  EXPECT_EQ(count("training_set_rows"), "0");
}

TEST_F(TrainingSetTest, R09_ATableIsMadeInTheDatabase) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  ASSERT_EQ(write("stats", R"({"driver_id": [7], "conv_rate": [0.5], "trips": [3], "tags": [["a"]], "active": [false],
      "note": [null], "event_timestamp": ["2026-01-01T12:00:00"], "created": ["2026-01-01T12:00:00"]})")
                .status,
            200);
  const std::string input =
      R"({"query": "SELECT 7 AS driver_id, now() AS event_timestamp, numeric(6,2) '1.50' AS price", "to_table": "public.\"t", "name": "t",
          "features": ["stats:conv_rate", "stats:trips", "stats:tags", "stats:active", "stats:note"]})";
  const Answer made = make(input);
  ASSERT_EQ(made.status, 200) << made.body;
  EXPECT_TRUE(made.body.starts_with(R"({"table":"public.\"t","rows":1,"name":"t","sha256":")")) << made.body;
  const auto read = [&](const char* sql) { return reactor_.block_on(pool_->query({"", sql})).text(0, 0); };
  EXPECT_EQ(read("SELECT row(driver_id, price, conv_rate, trips, tags, active, note)::text FROM public.\"\"\"t\""),
            "(7,1.50,0.5,3,\"[\"\"a\"\"]\",f,)");
  EXPECT_EQ(
      read("SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0"
           " AND attrelid = 'public.\"\"\"t\"'::regclass"),
      "integer timestamp with time zone numeric(6,2) double precision integer json boolean text");
  EXPECT_EQ(make(input).status, 409);
  EXPECT_EQ(get("/t/data").status, 200);
}

TEST_F(TrainingSetTest, R20_AQueryCannotWrite) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  rank(1, "x", 1, "2026-01-01T00:00:00", "2026-01-01T00:00:00");
  database_.execute(
      "CREATE FUNCTION public.wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM set_config('transaction_read_only', 'off', false); DELETE FROM features.history; RETURN 1; END $$;"
      " CREATE TABLE public.secret (key text); CREATE SEQUENCE public.numbers");
  for (const char* query : {
           "DELETE FROM features.history RETURNING 1 AS driver_id",
           "WITH gone AS (DELETE FROM features.history RETURNING *) SELECT 1 AS driver_id, '' AS city, now() AS "
           "event_timestamp",
           "SELECT wipe() AS driver_id, '' AS city, now() AS event_timestamp",
           "SELECT nextval('numbers') AS driver_id, '' AS city, now() AS event_timestamp",
           "SELECT 1 AS driver_id, '' AS city, now() AS event_timestamp; DELETE FROM features.history",
           "SELECT 1 AS driver_id, '' AS city, now() AS event_timestamp) q) s; DELETE FROM features.history; --",
           "SELECT 1 AS driver_id, '' AS city, now() AS event_timestamp) TO PROGRAM 'touch cairn' --",
           "COPY features.history TO STDOUT",
           "SELECT 1 AS driver_id, '' AS city, now() AS event_timestamp FROM query_to_xml('DELETE FROM "
           "features.history', true, true, '')",
       }) {
    std::string text;
    json::Writer out(text);
    out.begin_object();
    out.field("query", query);
    const Answer answer = make(text + R"(, "features": ["in_city:rank"]})");
    EXPECT_EQ(answer.status, 400) << query << ": " << answer.body;
    EXPECT_NE(answer.body.find("the spine"), std::string::npos) << answer.body;
  }
  EXPECT_EQ(count("history"), "1");
}

TEST_F(TrainingSetTest, BadSpinesAreNamedAndLeaveNothing) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const auto refused = [&](const Answer& answer, const std::string& part, int status = 400) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_NE(answer.body.find(part), std::string::npos) << answer.body;
  };
  const auto csv = [&](const std::string& text) { return make_of_csv("features=stats:trips&name=kept", text); };
  refused(csv(""), "the CSV is empty");
  refused(csv("driver_id\n1\n"), "no column event_timestamp");
  refused(csv("event_timestamp\n2026-01-01\n"), "no column driver_id");
  refused(csv("driver_id,event_timestamp\n1,soon\n"), "soon");
  refused(csv("driver_id,event_timestamp\n1,2026-01-01\n2,\n"), "line 3 has no event_timestamp");
  refused(csv("driver_id,event_timestamp\n1\n"), "line 2 has 1 fields, and the header 2");
  refused(csv("driver_id,event_timestamp\none,2026-01-01\n"), "one");
  refused(csv("driver_id,event_timestamp,driver_id\n1,2026-01-01,1\n"), "two columns of the name driver_id");
  refused(csv("driver_id,event_timestamp,trips\n1,2026-01-01,1\n"), "full_feature_names");
  refused(csv("driver_id,event_timestamp\n\xff,2026-01-01\n"), "not UTF-8");
  refused(make(R"({"features": ["stats:trips"]})"), "give the spine's rows in one way");
  refused(make(R"({"features": ["stats:trips"], "table": "a", "query": "SELECT 1"})"),
          "give the spine's rows in one way");
  refused(make(R"({"features": ["nothing:trips"], "table": "a"})"), "nothing", 404);
  refused(make(R"({"features": ["stats:trips"], "table": "nowhere.at_all"})"), "nowhere.at_all");
  refused(make(R"({"features": ["stats:trips"], "query": "SELECT 1.5 AS driver_id, now() AS event_timestamp"})"),
          "cast it to bigint");
  refused(make(R"({"features": ["stats:trips"], "query": "SELECT 1 AS driver_id, NULL::date AS event_timestamp"})"),
          "a row without event_timestamp");
  refused(
      make(
          R"({"features": ["stats:trips"], "query": "SELECT 1 AS driver_id, now() AS event_timestamp", "known_by": "soon"})"),
      "soon");
  EXPECT_EQ(count("training_sets"), "0");
}

}  // namespace
}  // namespace cairn::features
