#include "schema/migration.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cairn::schema {
namespace {

namespace fs = std::filesystem;

TEST(SplitStatements, CutsOnlyWhereAStatementEnds) {
  const auto statements = split_statements(R"(
-- a; comment
SELECT 'it''s; one', "odd;name", E'a\'; b';
/* nested; /* comment; */ still; */
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ SELECT 1; SELECT $$x;$$ $body$;
SELECT a$b, $1;
;
SELECT 2)");
  ASSERT_EQ(statements.size(), 4u);
  EXPECT_TRUE(statements[0].ends_with("E'a\\'; b';")) << statements[0];
  EXPECT_TRUE(statements[1].ends_with("$body$;")) << statements[1];
  EXPECT_EQ(statements[2], "SELECT a$b, $1;");
  EXPECT_EQ(statements[3], "SELECT 2");
}

TEST(SplitStatements, AnUnclosedQuoteTakesTheRest) {
  EXPECT_EQ(split_statements("SELECT 'a; b").size(), 1u);
  EXPECT_EQ(split_statements("SELECT $$a; b").size(), 1u);
  EXPECT_TRUE(split_statements("/* a; b").empty());
  EXPECT_TRUE(split_statements("-- a; b").empty());
}

TEST(Migration, NoTransactionOnlyInTheCommentAtTheTop) {
  EXPECT_TRUE(runs_without_transaction("-- Why\n-- cairn: no transaction\nSELECT 1"));
  EXPECT_FALSE(runs_without_transaction("SELECT 1;\n-- cairn: no transaction\n"));
}

TEST(Migration, ChecksumIsSha256OfTheUpScript) {
  EXPECT_EQ(checksum({1, "a", "abc", "x"}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(checksum({1, "a", "abc", "x"}), checksum({1, "a", "abc", "y"}));
}

TEST(Migration, R14_EmbeddedOnesAreNumberedWithoutGaps) {
  const auto migrations = embedded();
  ASSERT_FALSE(migrations.empty());
  for (size_t i = 0; i < migrations.size(); ++i) EXPECT_EQ(migrations[i].number, int(i) + 1);
}

class DirectoryTest : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text = "SELECT 1;\n") {
    std::ofstream(directory_ + "/" + file) << text;
  }
  testing_support::TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
};

TEST_F(DirectoryTest, R14_RevisionMakesTheNextPair) {
  write("0007_users_add.up.sql");
  const auto paths = create_revision(directory_ + "", "Users: add an e-mail address!");
  ASSERT_EQ(paths.size(), 2u);
  EXPECT_EQ(paths[0], directory_ + "/0008_users_add_an_e_mail_address.up.sql");
  EXPECT_EQ(paths[1], directory_ + "/0008_users_add_an_e_mail_address.down.sql");
  const auto migrations = read_directory(directory_);
  ASSERT_EQ(migrations.size(), 2u);
  EXPECT_EQ(migrations[1].number, 8);
  EXPECT_EQ(create_revision(directory_ + "/new", "first")[0], directory_ + "/new/0001_first.up.sql");
  EXPECT_THROW(create_revision(directory_, " ?! "), Error);
}

TEST_F(DirectoryTest, RefusesWhatCannotBeOrdered) {
  write("0001_a.up.sql");
  write("0001_b.up.sql");
  EXPECT_THROW(read_directory(directory_), Error);
  fs::remove(directory_ + "/0001_b.up.sql");
  write("2_b.up.sql");
  EXPECT_THROW(read_directory(directory_), Error);
  fs::remove(directory_ + "/2_b.up.sql");
  write("0002_b.down.sql");
  EXPECT_THROW(read_directory(directory_), Error);
  fs::remove(directory_ + "/0002_b.down.sql");
  write("README.md");
  EXPECT_EQ(read_directory(directory_).size(), 1u);
  EXPECT_THROW(read_directory(directory_ + "/missing"), Error);
}

}  // namespace
}  // namespace cairn::schema
