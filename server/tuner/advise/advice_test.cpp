#include "tuner/advise/advice.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cairn::tuner {
namespace {

Advice an_advice() {
  Advice advice{.id = "20261122T010203.004Z", .database = "da\"ta\nbase", .made_at_ms = 1795309323004};
  const TableName table{"a\"b", "runs"};
  advice.changes.push_back(
      {.table = table,
       .name = "idx_runs_k",
       .statements = {"CREATE INDEX CONCURRENTLY \"idx_runs_k\" ON …"},
       .inverse = {"DROP INDEX CONCURRENTLY …"},
       .reason = "k = $1",
       .index =
           IndexDefinition{.table = table,
                           .keys = {{.text = "k", .descending = true, .nulls_first = true},
                                    {.text = "lower(t)", .is_expression = true, .operator_class = "text_pattern_ops"}},
                           .include = {"v"},
                           .predicate = "status = 'active'",
                           .options = "fillfactor = 90"},
       .bytes = 8192,
       .gain_ms = 12.5,
       .write_ms = 0.25});
  advice.changes.push_back({.kind = ChangeKind::kDropIndex,
                            .table = table,
                            .name = "old",
                            .statements = {"DROP INDEX CONCURRENTLY old"},
                            .inverse = {"CREATE INDEX …", "COMMENT …"},
                            .reason = "never used",
                            .bytes = -16384,
                            .on_request = true,
                            .only_proved = true});
  advice.statements.push_back({.text = "SELECT v FROM runs WHERE k = $1",
                               .calls = 7,
                               .rows = 70,
                               .total_ms = 20.0,
                               .ms_before = 20,
                               .ms_after = 7.5,
                               .cost_before = 100,
                               .cost_after = 37.5,
                               .uses = {0}});
  advice.rewrites.push_back(
      {.statement = 0, .rule = "r", .text = "SELECT 1", .reason = "why", .guarantee = "k NOT NULL"});
  advice.rejected.push_back({.statement = "CREATE INDEX", .reason = "no gain", .bytes = 1, .gain_ms = 0});
  advice.notes = {"a note"};
  advice.ms_before = 20;
  advice.ms_after = 7.5;
  advice.bytes = 8192;
  advice.calls = 9;
  advice.complete = false;
  return advice;
}

std::string problem_with(const std::string& text) {
  try {
    advice_from_json(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(Advice, IsReadAsItWasWritten) {
  const std::string text = to_json(an_advice());
  EXPECT_EQ(to_json(advice_from_json(text)), text);
  const Advice read = advice_from_json(text);
  EXPECT_EQ(read.changes[0].index, an_advice().changes[0].index);
  EXPECT_EQ(read.statements[0].uses, std::vector<size_t>{0});
  EXPECT_EQ(read.statements[0].total_ms, 20.0);
  EXPECT_FALSE(read.changes[1].index);
}

TEST(Advice, TextsThatAreNoneAreRefusedWithTheReason) {
  EXPECT_NE(problem_with("{}").find("format"), std::string::npos);
  EXPECT_NE(problem_with(R"({"format":1})").find("format 1"), std::string::npos);
  std::string text = to_json(an_advice());
  text.replace(text.find("\"uses\":[1]"), 10, "\"uses\":[3]");
  EXPECT_EQ(problem_with(text), "it has no change 3");
  text = to_json(an_advice());
  text.replace(text.find("\"drop_index\""), 12, "\"drop_table\"");
  EXPECT_EQ(problem_with(text), "there is no kind of change drop_table");
}

TEST(Advice, IsFoundByItsIdOrAsTheLast) {
  const testing_support::TemporaryDirectory directory;
  EXPECT_THROW(load_advice(directory.path(), "last"), Error);
  Advice advice = an_advice();
  const std::string path = save_advice(advice, directory.path());
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  advice.id = "20261123T010203.004Z";
  save_advice(advice, directory.path());
  EXPECT_EQ(load_advice(directory.path(), "last").id, advice.id);
  EXPECT_EQ(load_advice(directory.path(), an_advice().id).id, an_advice().id);
  EXPECT_THROW(load_advice(directory.path(), "../advice/" + advice.id), Error);
  std::ofstream(path) << "{";
  EXPECT_THROW(load_advice(directory.path(), an_advice().id), Error);
}

}  // namespace
}  // namespace cairn::tuner
