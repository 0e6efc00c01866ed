// What needs no database: names, conditions, and archives' files.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "partitions/archive.h"
#include "partitions/ranges.h"

namespace cairn::partitions {
namespace {

TEST(Partitions, R29_NamesFitAndKeepTheirSuffix) {
  EXPECT_EQ(fitted("runs", "_2026_11"), "runs_2026_11");
  const std::string name = fitted(std::string(61, 'a') + "ä", "_2026_11");
  EXPECT_EQ(name, std::string(55, 'a') + "_2026_11");
  EXPECT_EQ(fitted(std::string(54, 'a') + "ä", "_2026_11"), std::string(54, 'a') + "_2026_11");
}

TEST(Partitions, R29_ConditionsHoldValuesAsLiterals) {
  const Scheme list{"kind", "text", By::kList, 0, 4, 0};
  EXPECT_EQ(condition(list, {"t_x", "", "it's", ""}), "\"kind\" = 'it''s'");
  const Scheme month{"a\"t", "date", By::kMonth, 0, 4, 0};
  EXPECT_EQ(condition(month, {"t", "", "2026-01-01", "2026-02-01"}),
            "(\"a\"\"t\" >= '2026-01-01' AND \"a\"\"t\" < '2026-02-01')");
  EXPECT_THROW(by_of("year"), Error);
}

class ArchiveFiles : public testing::Test {
 protected:
  ArchiveFiles() : folder_(std::filesystem::temp_directory_path() / ("cairn-archive-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~ArchiveFiles() override { std::filesystem::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  void manifest(const std::string& text) const { std::ofstream(path("manifest.json")) << text; }

  std::filesystem::path folder_;
};

TEST_F(ArchiveFiles, R29_RowsAreReadBackWhole) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919) + "\tx\\n\n";
  {
    RowsFile file(path("rows"));
    file.write(text.substr(0, 1000));
    file.write(text.substr(1000));
    file.finish();
  }
  EXPECT_EQ(read_sums(path("rows")).rows, 100'000);
  RowsReader reader(path("rows"));
  std::string back;
  for (std::string bytes = reader.read(); !bytes.empty(); bytes = reader.read()) back += bytes;
  EXPECT_EQ(back, text);
  std::filesystem::resize_file(path("rows"), std::filesystem::file_size(path("rows")) / 2);
  EXPECT_THROW(read_sums(path("rows")), Error) << "half a file";
  { const RowsFile given_up(path("other")); }
  EXPECT_FALSE(std::filesystem::exists(path("other")));
}

TEST_F(ArchiveFiles, R29_AManifestIsReadBackAndAForgedOneIsNot) {
  const Manifest manifest_of{"public", "t",
                             "t_1",    "FROM ('2026-01-01') TO ('2026-02-01')",
                             "1",      {{"rows.copy.gz", "public", "t_1", {"a", "b c"}, 3, "ff"}}};
  const std::string text = to_json(manifest_of);
  write_file_durably(path("manifest.json"), text);
  EXPECT_EQ(to_json(read_manifest(folder_.string())), text);
  for (const char* bounds : {"DEFAULT; DROP TABLE t", "FROM ('a') TO ('b'); DROP TABLE t; --')", "IN ('a''') , ('"}) {
    Manifest forged = manifest_of;
    forged.bounds = bounds;
    manifest(to_json(forged));
    EXPECT_THROW(read_manifest(folder_.string()), Error) << bounds;
  }
  for (const char* bounds : {"IN ('it''s', 'b')", "FROM (0) TO (1000)", "FROM ('-5') TO ('5')"}) {
    Manifest good = manifest_of;
    good.bounds = bounds;
    manifest(to_json(good));
    EXPECT_EQ(read_manifest(folder_.string()).bounds, bounds);
  }
  Manifest outside = manifest_of;
  outside.files[0].name = "../rows";
  manifest(to_json(outside));
  EXPECT_THROW(read_manifest(folder_.string()), Error);
  manifest("{}");
  EXPECT_THROW(read_manifest(folder_.string()), Error);
}

}  // namespace
}  // namespace cairn::partitions
