#include "tuner/profile/log_entries.h"

#include <gtest/gtest.h>

#include "tuner/profile/logged.h"

namespace cairn::tuner {
namespace {

constexpr std::string_view kLog =
    "\tthe torn end of an entry: LOG:  duration: 1.000 ms  statement: SELECT 0\n"
    "2026-11-22 04:00:00.000 UTC [7] ada@shop LOG:  duration: 12.500 ms  statement: SELECT *\n"
    "\tFROM runs WHERE status = 'it''s'\n"
    "2026-11-22 04:00:01.000 UTC [7] ada@other LOG:  duration: 9.000 ms  statement: SELECT 2\n"
    "2026-11-22 04:00:02.000 UTC [8] bob@shop LOG:  duration: 3.000 ms  execute <unnamed>: SELECT * FROM runs WHERE a "
    "= $1 "
    "AND b = $2\n"
    "2026-11-22 04:00:02.000 UTC [8] bob@shop DETAIL:  parameters: $1 = 'it''s, $2 = ', $2 = NULL\n"
    "2026-11-22 04:00:03.000 UTC [8] bob@shop ERROR:  duration: 4.000 ms  statement: SELECT 3\n"
    "2026-11-22 04:00:03.000 UTC [8] bob@shop STATEMENT:  SELECT 4\n"
    "2026-11-22 04:00:04.000 UTC [8] bob@shop LOG:  duration: 5.000 ms  bind s1: SELECT 5\n"
    "2026-11-22 04:00:05.000 UTC [8] bob@shop LOG:  duration: 40.000 ms  plan:\n"
    "\tQuery Text: SELECT *\n"
    "\t  FROM runs\n"
    "\tQuery Parameters: $1 = '7'\n"
    "\tSeq Scan on runs  (cost=0.00..1.01 rows=1 width=4)\n"
    "\t  Filter: (id = 7)\n"
    "2026-11-22 04:00:06.000 UTC [8] bob@shop LOG:  duration: 41.000 ms  plan:\n"
    "\t{\n"
    "\t  \"Query Text\": \"SELECT * FROM runs\",\n"
    "\t  \"Plan\": {\"Node Type\": \"Seq Scan\"}\n"
    "\t}\n"
    "2026-11-22 04:00:07.000 UTC [8] bob@shop LOG:  statement: SELECT 6\n";

TEST(LogEntries, R21_StatementsTimesParametersAndPlansOfStderr) {
  const auto entries = read_log(kLog, {.line_prefix = "%m [%p] %q%u@%d ", .database = "shop"});
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_EQ(entries[0].text, "SELECT *\nFROM runs WHERE status = 'it''s'");
  EXPECT_EQ(entries[0].ms, 12.5);
  EXPECT_EQ(entries[1].text, "SELECT * FROM runs WHERE a = $1 AND b = $2");
  EXPECT_EQ(entries[1].parameters, (Values{"it's, $2 = ", std::nullopt}));
  EXPECT_EQ(entries[2].text, "SELECT *\n  FROM runs");
  EXPECT_EQ(entries[2].parameters, (Values{"7"}));
  EXPECT_EQ(entries[2].plan, "Seq Scan on runs  (cost=0.00..1.01 rows=1 width=4)\n  Filter: (id = 7)");
  EXPECT_EQ(entries[3].text, "SELECT * FROM runs");
  EXPECT_EQ(entries[3].plan.front(), '{');
  EXPECT_EQ(entries[4].text, "SELECT 6");
  EXPECT_FALSE(entries[4].ms);
}

TEST(LogEntries, R21_ADatabaseIsToldByTheLinesPrefix) {
  EXPECT_EQ(read_log(kLog, {.line_prefix = "%m [%p] ", .database = "shop"}).size(), 6U) << "of all databases";
  EXPECT_FALSE(tells_database({.line_prefix = "%m %%d"}));
  EXPECT_TRUE(tells_database({.line_prefix = "%t [%p]: [%l-1] user=%u,db=%-8d,app=%a "}));
  EXPECT_EQ(read_log("x db=shop,app=psql LOG:  statement: SELECT 1\nx db=shopping,app=psql LOG:  statement: SELECT 2\n",
                     {.line_prefix = "%m db=%d,app=%a ", .database = "shop"})
                .size(),
            1U);
}

TEST(LogEntries, R21_Csv) {
  const std::string head =
      "2026-11-22 04:00:00.000 UTC,\"ada\",\"shop\",7,\"[local]\",s,1,\"SELECT\",2026-11-22 04:00:00 "
      "UTC,1/1,0,LOG,00000,";
  const std::string log = "torn \"\" end\",\n" + head +
                          "\"duration: 2.000 ms  execute s1: SELECT \"\"a\"\"\nFROM t WHERE b = $1\",\"parameters: $1 "
                          "= 'x\ny'\",,,,,,,,\"psql\"\n" +
                          head + "\"duration: 3.000 ms  statement: SELECT 1\",,,,,,,,,\"\"\n" + head + "\"unfinished";
  const auto entries = read_log(log, {.format = LogFormat::kCsv, .database = "shop"});
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].text, "SELECT \"a\"\nFROM t WHERE b = $1");
  EXPECT_EQ(entries[0].parameters, (Values{"x\ny"}));
  EXPECT_EQ(entries[1].ms, 3.0);
  EXPECT_TRUE(read_log(log, {.format = LogFormat::kCsv, .database = "other"}).empty());
}

TEST(LogEntries, R21_Json) {
  const std::string log =
      "rn\",\"x\":1}\n"
      R"({"timestamp":"t","user":"ada","dbname":"shop","error_severity":"LOG","message":"duration: 2.500 ms  execute s: SELECT $1","detail":"parameters: $1 = 'é'"})"
      "\n"
      R"({"dbname":"shop","error_severity":"ERROR","message":"duration: 2.500 ms  statement: SELECT 1"})"
      "\n"
      R"({"dbname":"other","error_severity":"LOG","message":"duration: 2.500 ms  statement: SELECT 1"})"
      "\n";
  const auto entries = read_log(log, {.format = LogFormat::kJson, .database = "shop"});
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].text, "SELECT $1");
  EXPECT_EQ(entries[0].parameters, (Values{"é"}));
}

TEST(LogEntries, R21_ParametersThatWereCutOffAreNone) {
  EXPECT_EQ(logged_parameters("$1 = '', $2 = ''''"), (Values{"", "'"}));
  for (const char* text : {"", "$1 = 'abc...'", "$1 = 'abc", "$1 = ", "$2 = 'a'", "$1 = 'a' $2 = 'b'", "$1 = a",
                           "$1 = '\xff'", "$1 = 'a', ", "$1 = 'a''"})
    EXPECT_TRUE(logged_parameters(text).empty()) << text;
}

TEST(Logged, R21_GroupsByShapeWithConstantsAndTheSlowestPlan) {
  Logged logged;
  std::vector<LogEntry> entries;
  for (int i = 1; i <= 9; ++i)
    entries.push_back(
        {.text = "SELECT * FROM runs WHERE id = " + std::to_string(i) + " AND kind = 'a' LIMIT 5", .ms = i});
  entries.push_back({.text = "SELECT * FROM runs WHERE id = 1 AND kind = 'a' LIMIT 5", .ms = 20, .plan = "fast"});
  entries.push_back({.text = "SELECT * FROM runs WHERE id = 2 AND kind = 'a' LIMIT 5", .ms = 30, .plan = "slow"});
  entries.push_back({.text = "/* cairn tune */ SELECT 1"});
  entries.push_back({.text = "no SQL"});
  add_entries(entries, logged);
  ASSERT_EQ(logged.statements.size(), 1U);
  const LoggedStatement& statement = logged.statements.begin()->second;
  EXPECT_EQ(statement.calls, 9);
  EXPECT_EQ(statement.plans, 2);
  EXPECT_EQ(statement.slowest_ms, 9);
  EXPECT_EQ(statement.plan, "slow");

  const LoggedConstants found = logged_constants(logged, "SELECT * FROM runs WHERE id = $1 AND kind = $2 LIMIT $3", 3);
  EXPECT_EQ(found.sets, (std::vector<Values>{{"6", "a", "5"}, {"2", "a", "5"}, {"1", "a", "5"}}));
  EXPECT_EQ(found.unvarying, (std::map<int, Value>{{2, "a"}, {3, "5"}}));
  EXPECT_TRUE(logged_constants(logged, "SELECT * FROM other WHERE id = $1", 3).sets.empty());
}

}  // namespace
}  // namespace cairn::tuner
