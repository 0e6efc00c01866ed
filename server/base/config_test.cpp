#include "base/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cairn {
namespace {

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override { sources_.env_file = directory_ + "/.env"; }

  void write(const std::string& file, const std::string& text) { std::ofstream(directory_ + "/" + file) << text; }
  void use_file(const std::string& text) {
    write("cairn.toml", text);
    sources_.config_file = directory_ + "/cairn.toml";
  }
  ServerConfig load() const { return load_config(sources_); }
  std::string error() const {
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
      return error.what();
    }
    return "(no error)";
  }

  testing_support::TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
  ConfigSources sources_;
};

TEST_F(ConfigTest, DefaultsWithoutAnySource) {
  const ServerConfig config = load();
  EXPECT_EQ(config.host, "127.0.0.1");
  EXPECT_EQ(config.port, 5000);
  EXPECT_EQ(config.artifact_directory(), "cairn-data/artifacts");
  EXPECT_FALSE(config.insecure);
}

TEST_F(ConfigTest, R20_EachSourceStandsAboveTheNext) {
  use_file("port = 1\npool_size = 1\nmax_overflow = 1\nhost = 'file'\ninsecure = true\npool_timeout_s = 1.5");
  write(".env", "CAIRN_PORT=2\nCAIRN_POOL_SIZE=2\nCAIRN_MAX_OVERFLOW=2\n");
  sources_.environment = {{"CAIRN_PORT", "3"}, {"CAIRN_POOL_SIZE", "3"}};
  sources_.options = {{"port", "4"}};
  const ServerConfig config = load();
  EXPECT_EQ(config.port, 4);          // command line
  EXPECT_EQ(config.pool_size, 3);     // environment, over .env
  EXPECT_EQ(config.max_overflow, 2);  // .env, over the file
  EXPECT_EQ(config.host, "file");
  EXPECT_TRUE(config.insecure);
  EXPECT_EQ(config.pool_timeout_s, 1.5);
}

TEST_F(ConfigTest, R20_DatabaseUrlOfOtherPrograms) {
  write(".env", "export DATABASE_URL='postgresql+psycopg2://user:pw@host/db?sslmode=require'\n");
  EXPECT_EQ(load().database_url, "postgresql://user:pw@host/db?sslmode=require");
  sources_.environment = {{"DATABASE_URL", "postgresql://real/db"}};
  EXPECT_EQ(load().database_url, "postgresql://real/db");
  sources_.environment["CAIRN_DATABASE_URL"] = "postgresql://cairn/db";
  EXPECT_EQ(load().database_url, "postgresql://cairn/db");
}

TEST_F(ConfigTest, UnknownKeysNameTheNearest) {
  use_file("pool_sizes = 3");
  EXPECT_NE(error().find("unknown setting pool_sizes"), std::string::npos) << error();
  EXPECT_NE(error().find("did you mean pool_size?"), std::string::npos) << error();
  sources_.config_file.clear();
  sources_.environment = {{"CAIRN_HOTS", "x"}};
  EXPECT_NE(error().find("did you mean host?"), std::string::npos) << error();
  sources_.environment.clear();
  write(".env", "CAIRN_PROT=1");
  EXPECT_NE(error().find("did you mean port?"), std::string::npos) << error();
  EXPECT_NE(error().find(".env"), std::string::npos) << error();
}

TEST_F(ConfigTest, WrongValuesNameTheSettingAndItsSource) {
  sources_.environment = {{"CAIRN_PORT", "70000"}};
  EXPECT_EQ(error(), "setting port in the environment (CAIRN_PORT) is '70000': it must be a number from 0 to 65535");
  sources_.environment = {{"CAIRN_PORT", "80x"}};
  EXPECT_NE(error().find("must be a number"), std::string::npos);
  sources_.environment = {{"CAIRN_POOL_TIMEOUT_S", "nan"}};
  EXPECT_NE(error().find("must be a number"), std::string::npos);
  sources_.environment = {{"CAIRN_INSECURE", "maybe"}};
  EXPECT_NE(error().find("must be true or false"), std::string::npos);
  sources_.environment = {{"CAIRN_LOG_FORMAT", "xml"}};
  EXPECT_NE(error().find("one of text, json"), std::string::npos);
  sources_.environment = {{"CAIRN_TLS_KEY", "key.pem"}};
  EXPECT_NE(error().find("belong together"), std::string::npos);
}

TEST_F(ConfigTest, BrokenAndMissingFilesAreErrors) {
  use_file("port = = 3");
  EXPECT_NE(error().find("cannot read the configuration file"), std::string::npos) << error();
  use_file("port = [1, 2]");
  EXPECT_NE(error().find("must be a string"), std::string::npos) << error();
  sources_.config_file = directory_ + "/missing.toml";
  EXPECT_NE(error().find("missing.toml"), std::string::npos) << error();
}

TEST_F(ConfigTest, R20_ThePasswordIsNeverPrinted) {
  sources_.options = {{"database_url", "postgresql://ann:s3cret@host/db"}, {"alert_webhook", "http://host/s3cret"}};
  const std::string text = describe_config(load());
  EXPECT_EQ(text.find("s3cret"), std::string::npos) << text;
  EXPECT_NE(text.find("ann"), std::string::npos) << text;
}

TEST(EnvFile, ReadsWhatPeopleWrite) {
  const auto variables = parse_env_file(
      "# comment\n\nPLAIN=a b # note\nexport EXPORTED = x\nHASH=a#b\nSINGLE='a # \\n "
      "b'\nDOUBLE=\"a\\n\\\"b\\\"\"\nEMPTY=\nURL=a=b=c\r\n",
      ".env");
  EXPECT_EQ(variables.at("PLAIN"), "a b");
  EXPECT_EQ(variables.at("EXPORTED"), "x");
  EXPECT_EQ(variables.at("HASH"), "a#b");
  EXPECT_EQ(variables.at("SINGLE"), "a # \\n b");
  EXPECT_EQ(variables.at("DOUBLE"), "a\n\"b\"");
  EXPECT_EQ(variables.at("EMPTY"), "");
  EXPECT_EQ(variables.at("URL"), "a=b=c");
}

TEST(EnvFile, BrokenLinesNameTheirNumber) {
  EXPECT_THROW(parse_env_file("A=1\nnonsense\n", ".env"), Error);
  try {
    parse_env_file("A=1\nB='open\n", ".env");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos);
  }
}

}  // namespace
}  // namespace cairn
