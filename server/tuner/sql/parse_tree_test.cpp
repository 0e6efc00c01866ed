#include "tuner/sql/parse_tree.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace cairn::tuner {
namespace {

TEST(Fingerprint, IsEqualForStatementsThatDifferInConstantsOnly) {
  const auto one = fingerprint("SELECT a FROM t WHERE b = 1 AND c IN (1, 2)");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->size(), 16u);
  EXPECT_EQ(one, fingerprint("select a\nfrom t where b = $1 AND c IN ($2, $3, $4)"));
  EXPECT_NE(one, fingerprint("SELECT a FROM t WHERE b = 1 AND d IN (1, 2)"));
  EXPECT_NE(one, fingerprint("SELECT a FROM \"T\" WHERE b = 1 AND c IN (1, 2)"));
}

TEST(Fingerprint, ReadsPlaceholdersWherePgStatStatementsPutsThem) {
  EXPECT_TRUE(fingerprint("SELECT * FROM t WHERE a > now() - interval $1 LIMIT $2"));
  EXPECT_TRUE(fingerprint("SELECT date $1, extract($2 FROM a) FROM t"));
}

TEST(Fingerprint, IsNothingForWhatDoesNotParse) {
  for (const char* sql :
       {"", " ", ";", "SELEC 1", "SELECT '", "SELECT $1ORc d", "<insufficient privilege>", "SELECT \xff\xfe'"})
    EXPECT_FALSE(fingerprint(sql)) << sql;
}

TEST(ParseTree, GivesPostgresNodes) {
  const auto tree = ParseTree::parse("SELECT 1; DELETE FROM \"a \"\"b\n\\\" WHERE \"größe\" = $1");
  ASSERT_TRUE(tree);
  ASSERT_EQ(tree->statements().size(), 2u);
  const simdjson::dom::element deleted = tree->statements().at(1)["stmt"]["DeleteStmt"];
  EXPECT_EQ(std::string_view(deleted["relation"]["relname"]), "a \"b\n\\");
  const simdjson::dom::element left = deleted["whereClause"]["A_Expr"]["lexpr"];
  EXPECT_EQ(std::string_view(left["ColumnRef"]["fields"].at(0)["String"]["sval"]), "größe");
}

TEST(ParseTree, KnowsNegativeIntegersFromZero) {
  const auto tree = ParseTree::parse("SELECT -5, - 7, 0, '\"A_Const\":{\"ival\":{},\"location\":7'");
  ASSERT_TRUE(tree);
  const simdjson::dom::element targets = tree->statements().at(0)["stmt"]["SelectStmt"]["targetList"];
  const auto number = [&](size_t at) { return targets.at(at)["ResTarget"]["val"]["A_Const"]["ival"]["ival"]; };
  EXPECT_EQ(int64_t(number(0)), -5);
  EXPECT_EQ(int64_t(number(1)), -7);
  EXPECT_EQ(number(2).error(), simdjson::NO_SUCH_FIELD);
}

TEST(Fingerprint, TellsNumberedTablesApart) {
  for (const auto& [one, other] : {std::pair{"SELECT a FROM runs_2025", "SELECT a FROM runs_2026"},
                                   {"UPDATE t13 SET a = 1 WHERE b = 2", "UPDATE t03 SET a = 1 WHERE b = 2"},
                                   {"DELETE FROM s.t10 WHERE b = 2", "DELETE FROM s.t99 WHERE b = 2"},
                                   {"SELECT FROM \"a\"\"11\"", "SELECT FROM \"a\"\"12\""}})
    EXPECT_NE(fingerprint(one), fingerprint(other)) << one;
  EXPECT_EQ(fingerprint("SELECT a FROM t13 x WHERE b = 1"), fingerprint("SELECT a FROM t13 AS y WHERE b = $1"));
  EXPECT_EQ(fingerprint("SELECT 1 FROM t WHERE a = 't13'"), fingerprint("SELECT 1 FROM t WHERE a = 't14'"));
  EXPECT_EQ(fingerprint("SELECT a FROM runs_2025")->size(), 16u);
}

TEST(ParseTree, IsNothingForWhatDoesNotParse) {
  for (const char* sql : {"", "-- only a comment", "SELEC 1", "SELECT (", "\xc3("})
    EXPECT_FALSE(ParseTree::parse(sql)) << sql;
}

TEST(ParseTree, SurvivesDeepNesting) {
  for (const int depth : {100, 5000, 50000}) {
    std::string sum = "SELECT 1", brackets = "SELECT ", calls = "SELECT ";
    for (int i = 0; i < depth; ++i) sum += "+1", brackets += "(", calls += "f(";
    brackets += "1" + std::string(static_cast<size_t>(depth), ')');
    calls += "1" + std::string(static_cast<size_t>(depth), ')');
    for (const std::string& sql : {sum, brackets, calls}) {
      const auto tree = ParseTree::parse(sql);
      const auto print = fingerprint(sql);
      if (depth == 100) {
        EXPECT_TRUE(tree && print) << sql;
      }
    }
  }
}

TEST(ParseTree, ThreadsDoNotDisturbEachOther) {
  const auto expected = fingerprint("SELECT a FROM t WHERE b = 1");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 200; ++turn) {
        EXPECT_EQ(fingerprint("SELECT a FROM t WHERE b = 2"), expected);
        EXPECT_FALSE(fingerprint("SELECT a FROM t WHERE"));
        EXPECT_TRUE(ParseTree::parse("SELECT a FROM t WHERE b = 3"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace cairn::tuner
