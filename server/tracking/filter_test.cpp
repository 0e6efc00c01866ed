#include "tracking/filter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace cairn::tracking {
namespace {

std::string message_of(Subject subject, const std::string& text) {
  try {
    parse_filter(subject, text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
    return error.what();
  }
  return "";
}
std::string refusal(const std::string& text) { return message_of(Subject::kRuns, text); }
std::string experiment_refusal(const std::string& text) { return message_of(Subject::kExperiments, text); }

std::string order_refusal(const std::vector<std::string>& clauses) {
  try {
    parse_order_by(Subject::kRuns, clauses);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

#define EXPECT_BEGINS(text, beginning) EXPECT_TRUE((text).starts_with(beginning)) << (text)

Condition only(const std::string& text) {
  const Filter filter = parse_filter(Subject::kRuns, text);
  EXPECT_EQ(filter.children.size(), 1u) << text;
  return filter.children.at(0).condition;
}

TEST(Filter, ReadsEveryEntityByItsAliases) {
  for (const char* text : {"metrics.acc > 0.5", "metric.`acc` > .5", "metrics.\"acc\">5e-1"}) {
    const Condition condition = only(text);
    EXPECT_EQ(condition.entity, Entity::kMetric) << text;
    EXPECT_EQ(condition.key, "acc") << text;
    EXPECT_EQ(condition.number, 0.5) << text;
  }
  for (const char* text : {"param.lr='1'", "params.lr = '1'", "parameter.lr = \"1\"", "parameters.`lr` = '1'"}) {
    EXPECT_EQ(only(text).entity, Entity::kParam) << text;
    EXPECT_EQ(only(text).text, "1") << text;
  }
  EXPECT_EQ(only("tags.mlflow.runName = 'x'").key, "mlflow.runName");
  EXPECT_EQ(only("tags.`has space` IS NOT NULL").key, "has space");
  EXPECT_EQ(only("attr.`Run name` ilike 'X%'").key, "run_name");
  EXPECT_EQ(only("`run name` = 'x'").key, "run_name");
  EXPECT_EQ(only("Created >= 3").key, "start_time");
  EXPECT_EQ(only("dataset.name NOT IN ('a', 'b',)").texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(only("params.é = 'ü'").key, "é");
}

TEST(Filter, ReadsNumbers) {
  EXPECT_EQ(only("metrics.a <= -1").number, -1);
  EXPECT_EQ(only("metrics.a > 1e400").number, HUGE_VAL);
  EXPECT_EQ(only("metrics.a > 1e-400").number, 0);
  EXPECT_EQ(only("start_time < 99999999999999999999").number, 1e20);
}

TEST(Filter, TextsStandAsTheyAreBetweenTheirQuotes) {
  EXPECT_EQ(only("params.a = 'it''s'").text, "it''s");
  EXPECT_EQ(only("params.a = \"a'b\"").text, "a'b");
  EXPECT_EQ(only("params.a = ''").text, "");
  EXPECT_EQ(only("params.a = ' AND metrics.b > 1 '").text, " AND metrics.b > 1 ");
}

TEST(Filter, AndMayBeMissingLeadingOrDangling) {
  for (const char* text : {"metrics.a > 0 AND metrics.b < 1", "metrics.a > 0 metrics.b < 1",
                           "AND metrics.a > 0 and metrics.b < 1", "metrics.a > 0 AND metrics.b < 1 AND"}) {
    EXPECT_EQ(parse_filter(Subject::kRuns, text).children.size(), 2u) << text;
  }
  EXPECT_TRUE(parse_filter(Subject::kRuns, "").children.empty());
  EXPECT_TRUE(parse_filter(Subject::kExperiments, "AND").children.empty());
}

TEST(Filter, OrBindsLessThanAndAndParenthesesGroup) {
  const Filter filter = parse_filter(Subject::kRuns, "metrics.a > 0 AND metrics.b > 0 OR metrics.c > 0");
  ASSERT_EQ(filter.kind, Filter::Kind::kAny);
  EXPECT_EQ(filter.children.at(0).children.size(), 2u);
  EXPECT_EQ(filter.children.at(1).children.size(), 1u);
  const Filter grouped = parse_filter(Subject::kRuns, "metrics.a > 0 AND (metrics.b > 0 OR metrics.c > 0)");
  ASSERT_EQ(grouped.kind, Filter::Kind::kAll);
  EXPECT_EQ(grouped.children.at(1).kind, Filter::Kind::kAny);
}

TEST(Filter, RefusesClausesThatAreNone) {
  for (const char* text : {"metrics.acc",
                           "metrics.acc >",
                           "> 5",
                           "'",
                           "metrics.acc > 'x",
                           "metrics.acc > 0;",
                           "metrics.acc > 0 -- c",
                           "params.lr = '1' /* c */",
                           "NOT metrics.acc > 0",
                           "metrics.acc BETWEEN 0 AND 1",
                           "metrics.acc > +0.05",
                           "tags.has space = 'x'",
                           "run_id IN 'a'",
                           "run name = 'x'",
                           "metrics.a > 0, metrics.b > 0",
                           "OR",
                           "metrics.a > 0 OR",
                           "OR metrics.a > 0",
                           "(metrics.a > 0",
                           "metrics.a > 0)",
                           "()",
                           "metrics.a > 0 OR OR metrics.b > 0"}) {
    EXPECT_BEGINS(refusal(text), "Invalid clause(s) in filter string: ") << text;
  }
  EXPECT_EQ(refusal("metrics.acc"), "Invalid clause(s) in filter string: 'metrics.acc'");
  EXPECT_EQ(refusal("metrics.acc > +0.05"), "Invalid clause(s) in filter string: 'metrics.acc', '>', '+', '0.05'");
  EXPECT_EQ(refusal("   "), "Invalid filter '   '. Could not be parsed.");
  EXPECT_EQ(refusal("5 > metrics.acc"), "Invalid comparison clause. Expected 'Identifier' found '5'");
  EXPECT_EQ(refusal("metrics.acc/top > 1"), "Invalid comparison clause. Expected 'Identifier' found 'metrics.acc/top'");
  EXPECT_BEGINS(refusal("metrics.acc > 0; DROP TABLE x"), "Search filter contained multiple expression ");
}

TEST(Filter, RefusesWhatDoesNotSuitTheEntity) {
  EXPECT_EQ(refusal("metrics.acc > '0'"), "Expected numeric value type for metric. Found '0'");
  EXPECT_EQ(refusal("metrics.acc IN (1)"), "Expected numeric value type for metric. Found (1)");
  EXPECT_EQ(refusal("metrics.acc > NaN"), "Expected numeric value type for metric. Found NaN");
  EXPECT_BEGINS(refusal("metrics.acc == 0.1"), "Invalid comparator '==' not one of '{");
  EXPECT_BEGINS(refusal("metrics.acc <> 0.1"), "Invalid comparator '<>' not one of '{");
  EXPECT_BEGINS(refusal("params.lr > '1'"), "Invalid comparator '>' not one of '{");
  EXPECT_BEGINS(refusal("params.lr not like '1'"), "Invalid comparator 'NOT LIKE' not one of '{");
  EXPECT_EQ(refusal("params.lr = 1"), "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 1");
  EXPECT_EQ(refusal("tags.odd IN ('1')"), "Expected a quoted string value for tag (e.g. 'my-value'). Got value ('1')");
  EXPECT_EQ(refusal("dataset.name = 1"), "Expected a quoted string value for dataset attributes. Got value 1");
  EXPECT_EQ(refusal("start_time > '1'"), "Expected numeric value type for numeric attribute: start_time. Found '1'");
  EXPECT_EQ(refusal("metrics.acc IS NULL"),
            "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'acc'");
  EXPECT_EQ(refusal("run_name IN ('a')"),
            "Only ['run_id'] attributes support comparison with a list of quoted string values.");
  EXPECT_BEGINS(refusal("run_id IN ()"), "While parsing a list in the query, expected a non-empty list");
  EXPECT_BEGINS(refusal("run_id IN (1)"), "While parsing a list in the query, expected string value");
  EXPECT_NE(refusal("run_id = ('a')"), "");
  EXPECT_BEGINS(refusal("duration > 1"), "Invalid attribute key 'duration' specified. Valid keys are ");
  EXPECT_BEGINS(refusal("bogus.x = '1'"), "Invalid entity type 'bogus'. Valid values are ");
  EXPECT_BEGINS(refusal("dataset.bogus = 'x'"), "Invalid dataset key 'bogus' specified. Valid keys are ");
  EXPECT_NE(refusal("params.a LIKE 'x\\'"), "") << "PostgreSQL refuses such a pattern";
  EXPECT_EQ(refusal("params.a LIKE 'x\\\\'"), "");
}

TEST(Filter, ExperimentsHaveTheirOwnKeysAndMessages) {
  EXPECT_EQ(experiment_refusal("creation_time > 0 and tags.g LIKE '%' AND attribute.name ILIKE 'X'"), "");
  EXPECT_BEGINS(experiment_refusal("name like 'x'"), "Invalid comparator 'like' not one of '{");
  EXPECT_EQ(experiment_refusal("tags.g > '3'"), "Invalid comparator for tag: >");
  EXPECT_EQ(experiment_refusal("metrics.a > 1"),
            "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')");
  EXPECT_EQ(experiment_refusal("name ="), "Invalid clause(s) in filter string: name, =");
  EXPECT_EQ(experiment_refusal("name IS NULL"),
            "IS NULL / IS NOT NULL is only supported for tags, not for attribute 'name'");
  EXPECT_EQ(experiment_refusal("name IN ('a')"),
            "Only ['experiment_id'] attributes support comparison with a list of quoted string values.");
  EXPECT_BEGINS(experiment_refusal("name = pg3"), "Parameter value is either not quoted");
}

TEST(Filter, LoggedModelsHaveTheirOwnKeysAndNoOr) {
  const auto refused = [](std::string_view text) {
    try {
      parse_filter(Subject::kLoggedModels, text);
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused("metrics.a >= 1 AND params.b IN ('1', '2') AND tags.c NOT IN ('x') AND attributes.name like 'a%'"),
            "");
  EXPECT_EQ(parse_filter(Subject::kLoggedModels, "creation_timestamp > 5").children[0].condition.key, "creation_time");
  EXPECT_BEGINS(refused("name = 'a' OR name = 'b'"), "Invalid filter string: 'name = 'a' OR name = 'b''. Expected");
  EXPECT_NE(refused("tags.g IS NULL"), "");
  EXPECT_NE(refused("params.lr > '1'"), "");
  EXPECT_NE(refused("metrics.m = '1'"), "");
  EXPECT_BEGINS(refused("dataset.name = 'x'"), "Invalid entity type 'dataset'. Valid values are ");
}

TEST(Filter, DepthSizeAndBytesAreBounded) {
  EXPECT_NE(refusal(std::string(100000, '(')), "");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "metrics.a > 0 AND ";
  EXPECT_NE(refusal(many), "");
  EXPECT_NE(refusal(std::string("params.a = 'x\0y'", 16)), "");
  EXPECT_NE(refusal("params.a = '\xff'"), "");
  EXPECT_NE(refusal(std::string(1 << 20, ' ')), "");
}

TEST(OrderBy, ReadsKeyAndDirection) {
  const auto orders = parse_order_by(Subject::kRuns, {"metrics.`acc/top 1` DESC", "start_time", "tags.a asc"});
  ASSERT_EQ(orders.size(), 3u);
  EXPECT_EQ(orders[0].entity, Entity::kMetric);
  EXPECT_EQ(orders[0].key, "acc/top 1");
  EXPECT_TRUE(orders[0].descending);
  EXPECT_EQ(orders[1].key, "start_time");
  EXPECT_FALSE(orders[1].descending);
  EXPECT_FALSE(orders[2].descending);
}

TEST(OrderBy, RefusesWhatItCannotOrderBy) {
  EXPECT_EQ(order_refusal({"metrics.acc foo"}), "Invalid ordering key in order_by clause 'metrics.acc foo'.");
  for (const char* clause : {"", "metrics.acc ASC DESC", "metrics.acc, params.lr", "metrics.acc/top 1 DESC"}) {
    EXPECT_EQ(order_refusal({clause}), std::string("Invalid order_by clause '") + clause + "'. Could not be parsed.");
  }
  EXPECT_BEGINS(order_refusal({"attributes.`run name`"}), "Invalid attribute key 'run name' specified.");
  EXPECT_BEGINS(order_refusal({"experiment_id"}), "Invalid attribute key 'experiment_id' specified.");
  EXPECT_EQ(order_refusal({"dataset.name"}), "Invalid identifier type 'dataset'");
  EXPECT_BEGINS(order_refusal({"start_time", "created DESC"}), "`order_by` contains duplicate fields");
  EXPECT_THROW(parse_order_by(Subject::kExperiments, {"tags.g"}), Error);
}

}  // namespace
}  // namespace cairn::tracking
