// Rows in bulk beside the same rows as a client's requests: both leave the same behind.
#include "features/bulk_write.h"

#include <random>

#include "features/testing.h"

namespace cairn::features {
namespace {

constexpr const char* kTwins = R"({
  "entities": [{"name": "driver", "join_key": "driver_id", "value_type": "int64"}, {"name": "city"}],
  "feature_views": [
    {"name": "one", "entities": ["driver", "city"], "features": [{"name": "rate", "value_type": "float"}, {"name": "sum", "value_type": "double"},
      {"name": "trips", "value_type": "int32"}, {"name": "active", "value_type": "bool"}, {"name": "note", "value_type": "string"},
      {"name": "tags", "value_type": "string_list"}, {"name": "extra", "value_type": "json"}]},
    {"name": "other", "entities": ["driver", "city"], "features": [{"name": "rate", "value_type": "float"}, {"name": "sum", "value_type": "double"},
      {"name": "trips", "value_type": "int32"}, {"name": "active", "value_type": "bool"}, {"name": "note", "value_type": "string"},
      {"name": "tags", "value_type": "string_list"}, {"name": "extra", "value_type": "json"}]}]})";
constexpr const char* kNames[] = {"extra", "driver_id",       "city",   "rate", "sum", "trips", "active", "note",
                                  "tags",  "event_timestamp", "created"};

class BulkWriteTest : public FeaturesTest {
 protected:
  BulkReport bulk(BulkWrite write, const std::string& bytes) {
    return reactor_.block_on(bulk_write(*pool_, std::move(write), std::make_unique<Pieces>(bytes)));
  }
  // Rows of a view, in an order of their own.
  std::string all(const char* table, const char* view) {
    const std::string sql = fmt::format(
        "SELECT coalesce(string_agg(row(entity_key, event_time, created, doubles, integers, texts)::text, E'\\n' ORDER "
        "BY"
        " row(entity_key, event_time, created, doubles, integers, texts)::text COLLATE \"C\"), '') FROM features.{} "
        "JOIN"
        " features.feature_views USING (view_id) WHERE name = '{}'",
        table, view);
    return reactor_.block_on(pool_->query({"", sql})).text(0, 0);
  }
};

std::string csv_of(const std::string& json) {
  if (json == "null") return "";
  const json::Document document("[" + json + "]");
  std::string_view text;
  const auto value = document.root().at(0).value();
  std::string field = value.get_string().get(text) == simdjson::SUCCESS ? std::string(text) : json;
  for (size_t at = 0; (at = field.find('"', at)) != std::string::npos; at += 2) field.insert(at, "\"");
  return "\"" + field + "\"";
}

// Random rows, some again, some late, some of one event: as CSV for one view, as JSON for its twin.
TEST_F(BulkWriteTest, R09_RowsInBulkLeaveWhatAWriteLeaves) {
  ASSERT_EQ(apply(kTwins).status, 200);
  std::mt19937 random(20260204);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  const auto one_of = [&](std::initializer_list<const char*> values) {
    return std::string(values.begin()[below(int(values.size()))]);
  };
  const auto time = [&](int n) { return fmt::format("\"2026-01-01T00:00:{:02}Z\"", n); };
  for (int round = 0; round < 40; ++round) {
    std::string csv, columns[11];
    for (const char* name : kNames) csv += (csv.empty() ? "" : ",") + std::string(name);
    for (int row = 0, rows = 1 + below(12); row < rows; ++row) {
      const int event = below(12);
      const std::string values[] = {one_of({"null", "{\"a\":[1,null]}", "[]"}),
                                    std::to_string(below(4)),
                                    one_of({"\"x\"", "\"a,\\\"b\"", "\"\u00fc\\n\""}),
                                    one_of({"null", "0.1", "1e10", "\"NaN\""}),
                                    one_of({"null", "0.1", "-1e300", "\"Infinity\"", "3"}),
                                    one_of({"null", "7", "-2147483648"}),
                                    one_of({"null", "true", "false"}),
                                    one_of({"null", "\"\"", "\"a, \\\\ \\\"b\\\"\\n\"", "\"{}\""}),
                                    one_of({"null", "[]", "[\"a\\\"\",\"b,c\"]"}),
                                    time(event),
                                    time(event + below(3))};
      csv += "\r\n";
      for (size_t i = 0; i < std::size(values); ++i) {
        csv += (i > 0 ? "," : "") + csv_of(values[i]);
        columns[i] += (row > 0 ? "," : "") + values[i];
      }
    }
    std::string json;
    for (size_t i = 0; i < std::size(columns); ++i)
      json += fmt::format("{}\"{}\": [{}]", i > 0 ? ", " : "", kNames[i], columns[i]);
    const Answer written = write("other", "{" + json + "}");
    ASSERT_EQ(written.status, 200) << written.body;
    const std::string before = all("history", "one");
    BulkWrite bulk_rows;
    bulk_rows.view = "one";
    bulk_rows.batch_rows = 1 + below(5);
    bulk(bulk_rows, csv);
    ASSERT_EQ(all("latest", "one"), all("latest", "other")) << csv;
    ASSERT_EQ(all("history", "one"), all("history", "other")) << csv << "\nbefore: " << before;
  }
}

TEST_F(BulkWriteTest, R09_ABinaryCopyIsRead) {
  ASSERT_EQ(apply(kTwins).status, 200);
  // As PostgreSQL writes it: a row of each type, and one of NULLs.
  database_.execute("CREATE TABLE bytes (row bytea)");
  const auto hex = [&](const std::string& type_and_value) {
    const std::string sql = "SELECT encode(" + type_and_value + ", 'hex')";
    return reactor_.block_on(pool_->query({"", sql})).text(0, 0);
  };
  const std::string fields[] = {hex("jsonb_send('{\"a\": 1}')"), hex("int4send(7)"),
                                hex("textsend('x,y')"),          hex("float4send(0.1)"),
                                hex("float8send(0.1)"),          hex("int2send(-3::int2)"),
                                hex("boolsend(true)"),           hex("textsend('\"ü')"),
                                hex("textsend('[\"a\"]')"),      hex("timestamptz_send('2026-01-31 12:00:00.25+00')")};
  std::string copied("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", 19);
  const auto put = [&](uint64_t value, int bytes) {
    while (bytes-- > 0) copied += static_cast<char>(value >> (8 * bytes));
  };
  put(10, 2);
  for (const std::string& field : fields) {
    put(field.size() / 2, 4);
    for (size_t i = 0; i < field.size(); i += 2)
      copied += static_cast<char>(std::stoi(field.substr(i, 2), nullptr, 16));
  }
  put(10, 2);
  for (size_t i = 0; i < 10; ++i) {
    if (i != 1 && i != 2) {
      put(0xFFFFFFFF, 4);
      continue;
    }
    put(i == 1 ? 4 : 1, 4);
    put(i == 1 ? 8 : 'z', i == 1 ? 4 : 1);
  }
  BulkWrite rows;
  rows.view = "one";
  rows.binary = true;
  rows.columns.assign(std::begin(kNames), std::end(kNames) - 1);
  const BulkReport report = bulk(rows, copied + "\xff\xff");
  EXPECT_EQ(report.rows, 2);
  EXPECT_EQ(report.history, 2);
  EXPECT_EQ(report.latest, 2);
  const std::string stored = all("history", "one");
  EXPECT_NE(stored.find(R"(("[7,""x,y""]","2026-01-31 12:00:00.25)"), std::string::npos) << stored;
  EXPECT_NE(stored.find(R"("{0.1,0.1}","{-3,1}",)"), std::string::npos) << stored;
  EXPECT_NE(stored.find(R"("{NULL,NULL}","{NULL,NULL}","{NULL,NULL,NULL}")"), std::string::npos) << stored;
  EXPECT_EQ(read(R"(["one:note", "one:tags", "one:extra"])", R"({"driver_id": [7], "city": ["x,y"]})")
                .body.substr(70, 60)
                .empty(),
            false);
}

TEST_F(BulkWriteTest, BadRowsAreNamedAndLeaveNothing) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const auto refused = [&](const std::string& csv, const std::string& part, int status = 400) {
    const Answer answer = reactor_.block_on(call("POST", "/api/v1/features/views/in_city/rows", csv, "text/csv"));
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_NE(answer.body.find(part), std::string::npos) << answer.body;
  };
  refused("", "the CSV is empty");
  refused("driver_id,city\n", "feature view in_city has the feature rank: there is no such column");
  refused("driver_id,rank\n", "join key city");
  refused("driver_id,city,rank\n1,x,1\n1,x,much\n", "line 3, column rank: double was expected, not \\\"much\\\"");
  refused("driver_id,city,rank\n1,x,1\n1.5,x,1\n", "line 3, column driver_id: int64 was expected");
  refused("driver_id,city,rank\n1,x,1\n,x,1\n", "line 3, column driver_id: a join key is expected");
  refused("driver_id,city,rank\n1,x,1\n2,x\n", "line 3 has 2 fields, and there are 3 columns");
  refused("driver_id,city,rank,event_timestamp\n1,x,1,2026-01-01\n1,x,1,soon\n", "soon");
  refused("driver_id,city,rank,city\n1,x,1,x\n", "two columns have the name city");
  EXPECT_EQ(count("latest") + count("history"), "00");
  const std::string good = "driver_id,city,rank,ignored,event_timestamp\n1,x,1,?,2026-01-01\n1,x,2,,2026-01-02\n";
  const auto write_good = [&] {
    return reactor_.block_on(call("POST", "/api/v1/features/views/in_city/rows", good, "text/csv")).body;
  };
  EXPECT_EQ(write_good(), R"({"rows":2,"history":2,"latest":1})");
  EXPECT_EQ(write_good(), R"({"rows":2,"history":0,"latest":0})");
  EXPECT_EQ(reactor_.block_on(call("POST", "/api/v1/features/views/nothing/rows", good, "text/csv")).status, 404);
}

}  // namespace
}  // namespace cairn::features
