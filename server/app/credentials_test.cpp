#include "app/credentials.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace cairn::app {
namespace {

class CredentialsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cairn-credentials-XXXXXX";
    const int fd = mkstemp(name);
    ASSERT_GE(fd, 0);
    close(fd);
    path_ = name;
  }
  void TearDown() override { unlink(path_.c_str()); }
  http::Credentials load(const std::string& text) {
    std::ofstream(path_) << text;
    return load_credentials(path_);
  }
  std::string path_;
};

const std::string kSha256(64, 'a');

TEST_F(CredentialsTest, R20_ReadsUsersAndTokens) {
  const auto credentials =
      load("[[users]]\nname = 'ann'\npassword_hash = '$argon2id$v=19$x'\n[[tokens]]\nname = 'ci'\nsha256 = '" +
           kSha256 + "'\n");
  ASSERT_EQ(credentials.users.size(), 1u);
  EXPECT_EQ(credentials.users[0].name, "ann");
  ASSERT_EQ(credentials.tokens.size(), 1u);
  EXPECT_EQ(credentials.tokens[0].sha256_hex, kSha256);
  EXPECT_TRUE(load_credentials("").empty());
}

TEST_F(CredentialsTest, R20_ARoleIsReaderWriterOrAdminAndWriterWhereNoneIsSaid) {
  std::string text;
  for (const char* role : {"role = 'reader'", "", "role = 'writer'", "role = 'admin'"})
    text += "[[tokens]]\nname = 'a'\n" + std::string(role) + "\nsha256 = '" + kSha256 + "'\n";
  const auto credentials = load(text);
  ASSERT_EQ(credentials.tokens.size(), 4u);
  EXPECT_EQ(credentials.tokens[0].role, http::Role::kReader);
  EXPECT_EQ(credentials.tokens[1].role, http::Role::kWriter);
  EXPECT_EQ(credentials.tokens[2].role, http::Role::kWriter);
  EXPECT_EQ(credentials.tokens[3].role, http::Role::kAdmin);
}

// A file that would silently let nobody in, or keep a password in the clear, is refused.
TEST_F(CredentialsTest, R20_RefusesWhatIsNotAHash) {
  for (const std::string& text : std::initializer_list<std::string>{
           "", "users = 3", "[[users]]\nname = 'ann'", "[[users]]\nname = 'ann'\npassword_hash = 'secret'",
           "[[users]]\nname = 'ann'\npassword = 'secret'", "[[tokens]]\nname = 'ci'\nsha256 = 'abc'",
           "[[tokens]]\nname = 'ci'\nrole = 'root'\nsha256 = '" + kSha256 + "'",
           "[[tokens]]\nname = 'ci'\nrole = 3\nsha256 = '" + kSha256 + "'", "[[groups]]\nname = 'x'", "[["}) {
    EXPECT_THROW(load(text), Error) << text;
  }
  EXPECT_THROW(load_credentials("/nonexistent/file"), Error);
}

}  // namespace
}  // namespace cairn::app
