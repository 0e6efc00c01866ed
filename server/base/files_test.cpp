#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>

#include "base/error.h"
#include "base/testing.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Files, AReaderSeesTheOldTextOrTheNewOneAndNothingElse) {
  const testing_support::TemporaryDirectory directory;
  const fs::path path = directory.path() / "file";
  const std::string texts[] = {std::string(1 << 20, 'a'), std::string(1 << 19, 'b')};
  write_file_durably(path, texts[0]);
  std::thread writer([&] {
    for (int i = 1; i < 20; ++i) write_file_durably(path, texts[i % 2]);
  });
  for (int i = 0; i < 200; ++i) {
    const std::string seen = text_of(path);
    EXPECT_TRUE(seen == texts[0] || seen == texts[1]) << seen.size();
  }
  writer.join();
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), {}), 1) << "a draft was left";
}

TEST(Files, OnlyItsOwnerReadsItAndALinkInTheWayIsNotFollowed) {
  const testing_support::TemporaryDirectory directory;
  const fs::path path = directory.path() / "file", other = directory.path() / "other";
  std::ofstream(other) << "mine";
  fs::create_symlink(other, path.string() + ".new");
  fs::create_symlink(other, path);
  write_file_durably(path, "text", FileOwner{geteuid(), getegid()});
  EXPECT_EQ(text_of(path), "text");
  EXPECT_EQ(text_of(other), "mine");
  struct stat status {};
  ASSERT_EQ(lstat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFREG | 0600});
}

TEST(Files, WhatCannotBeWrittenIsSaidAndLeavesTheOldFile) {
  const testing_support::TemporaryDirectory directory;
  EXPECT_THROW(write_file_durably(directory.path() / "nowhere" / "file", "text"), Error);
  EXPECT_THROW(sync_directory(directory.path() / "nowhere"), Error);
  fs::create_directories(directory.path() / "taken" / "by a directory");
  EXPECT_THROW(write_file_durably(directory.path() / "taken", "text"), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), {}), 1);
  EXPECT_NO_THROW(sync_directory(directory.path()));
}

}  // namespace
}  // namespace cairn
