// Which statements a materialised view may serve, and what is put in their place.
#include "tuner/views/view_candidates.h"

#include <gtest/gtest.h>

#include "tuner/sql/parse_tree.h"
#include "tuner/testing.h"

namespace cairn::tuner {
namespace {

class ViewCandidatesTest : public testing::Test {
 protected:
  ViewCandidatesTest() : catalog_(testing_catalog::registry()) {
    facts_.aggregates = {"count", "max", "min", "avg", "sum", "percentile_cont", "array_agg"};
    facts_.volatility = {
        {"now", 's'}, {"random", 'v'}, {"date_trunc", 's'}, {"extract", 's'}, {"current_setting", 's'}};
  }

  ViewCandidates propose(const std::vector<std::string>& statements) {
    ViewCandidates found = propose_views(catalog_, facts_, statements);
    for (const ViewCandidate& view : found.views) {
      EXPECT_TRUE(ParseTree::parse(view.query)) << view.query;
      for (const ViewReader& reader : view.readers) EXPECT_TRUE(ParseTree::parse(reader.text)) << reader.text;
    }
    return found;
  }
  ViewCandidate only(const std::string& statement) {
    ViewCandidates found = propose({statement});
    for (const ViewRefusal& refusal : found.refusals) ADD_FAILURE() << refusal.reason;
    return found.views.size() == 1 && found.views[0].readers.size() == 1 ? found.views[0] : ViewCandidate{};
  }
  std::string refusal(const std::string& statement) {
    const ViewCandidates found = propose({statement});
    EXPECT_TRUE(found.views.empty()) << statement;
    return found.refusals.size() == 1 ? found.refusals[0].reason : "";
  }
  static std::string read_from(const ViewCandidate& view) {
    return " FROM " + view.view.schema + "." + view.view.name + " v";
  }

  Catalog catalog_;
  ViewFacts facts_;
};

TEST_F(ViewCandidatesTest, GroupsOnceForAll) {
  const ViewCandidate view =
      only("select status, count(*), max(accuracy) as best from training_runs group by status order by 2 desc limit 5");
  EXPECT_EQ(view.query,
            "SELECT training_runs.status AS status, count(*) AS count, max(training_runs.accuracy) AS best "
            "FROM public.training_runs GROUP BY training_runs.status");
  EXPECT_EQ(view.readers[0].text, "SELECT v.status AS status, v.count AS count, v.best AS best" + read_from(view) +
                                      " ORDER BY 2 DESC LIMIT 5");
  EXPECT_EQ(view.keys, std::vector<std::string>{"status"});
  EXPECT_TRUE(view.nullable_keys);
  EXPECT_TRUE(view.view.name.starts_with("mv_training_runs_status_"));
  EXPECT_EQ(view.table.name, "training_runs");
}

TEST_F(ViewCandidatesTest, R34_LeavesWhatTheStatementVariesToTheReader) {
  const ViewCandidate view = only(
      "SELECT m.model_name, COUNT(DISTINCT mv.version_id) as versions, MAX(tr.accuracy) FROM models m "
      "LEFT JOIN model_versions mv ON m.model_id = mv.model_id LEFT JOIN training_runs tr ON tr.version_id = "
      "mv.version_id "
      "WHERE m.is_active = $1 AND m.created_at > NOW() - INTERVAL $2 GROUP BY m.model_id, m.model_name "
      "HAVING count(DISTINCT mv.version_id) > $3 ORDER BY versions DESC, m.model_name LIMIT $4");
  EXPECT_EQ(view.keys, std::vector<std::string>{"model_id"});
  EXPECT_NE(view.query.find("GROUP BY m.model_id, m.model_name, m.is_active, m.created_at"), std::string::npos)
      << view.query;
  EXPECT_EQ(view.query.find("WHERE"), std::string::npos);
  EXPECT_EQ(view.query.find('$'), std::string::npos);
  EXPECT_FALSE(view.reads_clock);
  EXPECT_NE(
      view.readers[0].text.find("WHERE v.is_active = $1 AND v.created_at > (now() - $2::interval) AND v.versions > "
                                "$3 ORDER BY versions DESC, v.model_name LIMIT $4"),
      std::string::npos)
      << view.readers[0].text;
}

TEST_F(ViewCandidatesTest, KeepsConditionsThatNeverVary) {
  const ViewCandidate view = only(
      "SELECT d.deployed_by, count(*) FROM deployments d WHERE d.status = 'active' AND d.deployed_at > now() - "
      "interval '1 day' AND d.replicas BETWEEN 1 AND 3 GROUP BY 1");
  EXPECT_NE(view.query.find("WHERE d.status = 'active' AND"), std::string::npos) << view.query;
  EXPECT_NE(view.query.find("BETWEEN 1 AND 3"), std::string::npos);
  EXPECT_TRUE(view.reads_clock) << "the last day before the refresh";
}

TEST_F(ViewCandidatesTest, MakesOneRowOfAPlainAggregate) {
  const ViewCandidate view = only("SELECT count(*) + 1, coalesce(max(accuracy), 0) FROM training_runs");
  EXPECT_EQ(view.keys, std::vector<std::string>{"only_row"});
  EXPECT_NE(view.query.find("SELECT 1 AS only_row, count(*)"), std::string::npos) << view.query;
  EXPECT_NE(view.readers[0].text.find("SELECT v.count + 1, COALESCE(v.max, 0) AS \"coalesce\""), std::string::npos)
      << view.readers[0].text;
}

TEST_F(ViewCandidatesTest, GroupsByExpressions) {
  const ViewCandidate view = only(
      "SELECT date_trunc('day', created_at) AS day, count(*) FROM training_runs GROUP BY date_trunc('day', created_at) "
      "ORDER BY date_trunc('day', created_at) - interval '1 day'");
  EXPECT_EQ(view.keys, std::vector<std::string>{"day"});
  EXPECT_NE(view.readers[0].text.find("ORDER BY v.day - '1 day'::interval"), std::string::npos) << view.readers[0].text;
  EXPECT_EQ(only("SELECT (version_id + 1) * 2 AS x, count(*) FROM training_runs GROUP BY (version_id + 1) * 2").keys,
            std::vector<std::string>{"x"});
}

TEST_F(ViewCandidatesTest, ServesSeveralStatementsWithOneView) {
  const ViewCandidates found =
      propose({"SELECT status, count(*) FROM training_runs GROUP BY status",
               "SELECT max(accuracy) FROM training_runs WHERE status = $1 GROUP BY status",
               "SELECT status, count(*) FROM training_runs GROUP BY status HAVING count(*) > 10"});
  ASSERT_EQ(found.views.size(), 1);
  EXPECT_EQ(found.views[0].readers.size(), 3);
  EXPECT_NE(found.views[0].query.find("count(*) AS count, max(training_runs.accuracy) AS max"), std::string::npos);
}

TEST_F(ViewCandidatesTest, SaysWhyThereIsNone) {
  const std::pair<const char*, const char*> refused[] = {
      {"SELECT status, count(*) FROM training_runs WHERE accuracy > $1 GROUP BY status", "accuracy"},
      {"SELECT date_trunc($1, created_at), count(*) FROM training_runs GROUP BY date_trunc($2, created_at)",
       "groups by"},
      {"SELECT status, count(*) FILTER (WHERE accuracy > $1) FROM training_runs GROUP BY status", "aggregate"},
      {"SELECT count(*) FROM training_runs WHERE status = $1", "placeholder"},
      {"SELECT m.model_id, count(*) FROM models m JOIN training_runs t ON t.model_name = $1 GROUP BY 1", "joins"},
      {"SELECT status, count(*), random() FROM training_runs GROUP BY status", "random"},
      {"SELECT status, count(*) FROM training_runs WHERE model_name = current_user GROUP BY status", "who asks"},
      {"SELECT status, count(*) FROM training_runs WHERE model_name = current_setting('x') GROUP BY status",
       "current_setting"},
      {"SELECT status, count(*) FROM training_runs WHERE created_at > 'today'::date GROUP BY status", "once"},
      {"SELECT status, count(*) FROM training_runs GROUP BY ROLLUP (status)", "several ways"},
      {"SELECT status, count(*), rank() OVER (ORDER BY status) FROM training_runs GROUP BY status", "window"},
      {"SELECT status, (SELECT 1), count(*) FROM training_runs GROUP BY status", "subquery"},
      {"SELECT relkind, count(*) FROM pg_class GROUP BY relkind", "pg_class"},
      {"SELECT hyperparameters, count(*) FROM training_runs TABLESAMPLE system (1) GROUP BY 1", "sample"},
  };
  for (const auto& [statement, reason] : refused)
    EXPECT_NE(refusal(statement).find(reason), std::string::npos) << statement << ": " << refusal(statement);
  facts_.secured = {{"public", "training_runs"}};
  EXPECT_NE(refusal("SELECT status, count(*) FROM training_runs GROUP BY status").find("row security"),
            std::string::npos);
}

TEST_F(ViewCandidatesTest, LeavesAloneWhatDoesNotAggregate) {
  const ViewCandidates found =
      propose({"SELECT * FROM models", "SELECT", "no sql", "UPDATE models SET is_active = true",
               "SELECT 1; SELECT count(*) FROM models", "SELECT x FROM (SELECT count(*) AS x FROM models) s"});
  EXPECT_TRUE(found.views.empty());
  EXPECT_TRUE(found.refusals.empty());
}

TEST_F(ViewCandidatesTest, TakesNamesForWhatTheyAre) {
  catalog_.search_path = {"a\"b; DROP"};
  Column hostile = testing_catalog::text("Größe\"; --", 5);
  catalog_.tables = {{.oid = 1, .name = {"a\"b; DROP", "sel'ect\n\"group"}, .rows = 1e6, .columns = {hostile}}};
  const ViewCandidate view = only(
      "SELECT \"Größe\"\"; --\", count(*) AS \"FROM\" FROM \"sel'ect\n\"\"group\" WHERE \"Größe\"\"; --\" <> 'a ) "
      "GROUP "
      "BY' GROUP BY 1 ORDER BY \"FROM\"");
  EXPECT_NE(view.query.find(
                "FROM \"a\"\"b; DROP\".\"sel'ect\n\"\"group\" WHERE \"Größe\"\"; --\" <> 'a ) GROUP BY' GROUP BY"),
            std::string::npos)
      << view.query;
  EXPECT_NE(
      view.readers[0].text.find("v.\"FROM\" AS \"FROM\" FROM \"a\"\"b; DROP\".\"mv_sel'ect\n\"\"group_Größe\"\"; --_"),
      std::string::npos)
      << view.readers[0].text;
  EXPECT_EQ(create_view_statements(view, 150000)[1].find("CREATE UNIQUE INDEX \"mv_sel'ect\n\"\"group_Größe\"\"; --_"),
            0);
  EXPECT_NE(create_view_statements(view, 150000)[1].find("(\"Größe\"\"; --\") NULLS NOT DISTINCT"), std::string::npos);
  EXPECT_EQ(create_view_statements(view, 140000)[1].find("NULLS"), std::string::npos);
}

}  // namespace
}  // namespace cairn::tuner
