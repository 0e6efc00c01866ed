#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "artifacts/testing.h"

namespace cairn::artifacts {
namespace {

namespace fs = std::filesystem;
using testing::Pieces;

class LocalStore : public ::testing::Test {
 protected:
  void write(const std::string& path, std::vector<std::string> pieces) {
    Pieces body(std::move(pieces));
    reactor_.block_on(store_.write(path, body));
  }
  std::string read(const std::string& path) {
    const auto artifact = reactor_.block_on(store_.open(path));
    const auto stream = artifact->read(0, artifact->size());
    return testing::read_all(reactor_, *stream);
  }
  std::string names(const std::string& path) {
    std::string out;
    for (const Entry& entry : reactor_.block_on(store_.list(path))) {
      out += entry.name + (entry.is_directory ? "/ " : "=" + std::to_string(entry.size) + " ");
    }
    return out;
  }
  template <class F>
  std::optional<ErrorCode> error_of(F fn) {
    try {
      fn();
    } catch (const Error& e) {
      return e.code();
    }
    return std::nullopt;
  }
  bool nothing_staged() { return fs::is_empty(root() / ".cairn-staging"); }
  fs::path root() const { return directory_.path() / "root"; }

  Reactor reactor_;
  testing::TemporaryDirectory directory_;
  LocalArtifactStore store_{root().string()};
};

TEST_F(LocalStore, WhatIsWrittenIsListedReadAndRemoved) {
  write("1/run/a.txt", {"hel", "", "lo"});
  write("1/run/d/empty", {});
  write("1/run/d/ü b", {"x"});
  EXPECT_EQ(read("1/run/a.txt"), "hello");
  EXPECT_EQ(read("1/run/d/empty"), "");
  EXPECT_EQ(names(""), "1/ ");
  EXPECT_EQ(names("1/run"), "a.txt=5 d/ ");
  EXPECT_EQ(names("1/run/d"), "empty=0 ü b=1 ");
  EXPECT_EQ(names("1/run/a.txt"), "");
  EXPECT_EQ(names("nope"), "");
  write("1/run/a.txt", {"again"});
  EXPECT_EQ(read("1/run/a.txt"), "again");
  reactor_.block_on(store_.remove("1/run/d"));
  reactor_.block_on(store_.remove("1/run/d"));
  reactor_.block_on(store_.remove("1/run/a.txt/below"));
  EXPECT_EQ(names("1/run"), "a.txt=5 ");
  EXPECT_TRUE(nothing_staged());
}

TEST_F(LocalStore, ABigFileStreamsBothWays) {
  std::string all;
  std::vector<std::string> pieces;
  for (int i = 0; i < 300; ++i) {
    pieces.push_back(std::string(10007, static_cast<char>('a' + i % 26)));
    all += pieces.back();
  }
  write("big", pieces);
  EXPECT_TRUE(read("big") == all);
  const auto artifact = reactor_.block_on(store_.open("big"));
  const auto part = artifact->read(1000000, 500000);
  EXPECT_TRUE(testing::read_all(reactor_, *part) == all.substr(1000000, 500000));
}

TEST_F(LocalStore, AnOpenFileStaysAsItWas) {
  write("f", {"old"});
  const auto artifact = reactor_.block_on(store_.open("f"));
  write("f", {"newer"});
  reactor_.block_on(store_.remove("f"));
  const auto stream = artifact->read(0, artifact->size());
  EXPECT_EQ(testing::read_all(reactor_, *stream), "old");
}

TEST_F(LocalStore, PathsThatMayNotBeAreRefusedByEveryCall) {
  std::ofstream(directory_.path() / "secret") << "s";
  const std::string paths[] = {"..",
                               "../secret",
                               "a/../../secret",
                               "a/..",
                               "/",
                               "/etc/passwd",
                               "//etc",
                               "a//b",
                               "a/",
                               ".",
                               "./a",
                               "a/./b",
                               std::string("a\0b", 3),
                               "a\nb",
                               "a\x7f",
                               "..\\secret",
                               "a\\b",
                               "%2e%2e",
                               "%2e%2e/secret",
                               "%2E%2e%2fsecret",
                               "a%2f..%2f..%2fsecret",
                               "%252e%252e%252fsecret",
                               "%2fetc",
                               "a%00b",
                               "a%5cb",
                               "file:///etc/passwd",
                               ".cairn-staging",
                               ".cairn-staging/x",
                               std::string(256, 'a'),
                               std::string(5000, 'a')};
  for (const std::string& path : paths) {
    EXPECT_EQ(error_of([&] { write(path, {"evil"}); }), ErrorCode::kInvalidParameterValue) << path;
    EXPECT_EQ(error_of([&] { read(path); }), ErrorCode::kInvalidParameterValue) << path;
    EXPECT_EQ(error_of([&] { names(path); }), ErrorCode::kInvalidParameterValue) << path;
    EXPECT_EQ(error_of([&] { reactor_.block_on(store_.remove(path)); }), ErrorCode::kInvalidParameterValue) << path;
  }
  EXPECT_EQ(names(""), "");
}

TEST_F(LocalStore, NamesThatOnlyLookOddAreKept) {
  for (const std::string path : {"...", "..a", "50%", "100%25", "~/x", ".hidden", "C:x", "a b", "-rf"}) {
    write(path, {path});
    EXPECT_EQ(read(path), path);
  }
}

TEST_F(LocalStore, SymbolicLinksLeadNowhere) {
  const fs::path outside = directory_.path() / "outside";
  fs::create_directories(outside / "deep");
  std::ofstream(outside / "secret") << "s";
  write("inside/f", {"f"});
  fs::create_directory_symlink(outside, root() / "out");
  fs::create_directory_symlink("inside", root() / "in");
  fs::create_directory_symlink("../..", root() / "inside" / "up");
  fs::create_symlink(outside / "secret", root() / "link");
  fs::create_symlink("inside/f", root() / "inner_link");
  for (const std::string path : {"out/secret", "in/f", "link", "inner_link", "inside/up/outside/secret", "out"}) {
    EXPECT_EQ(error_of([&] { read(path); }), ErrorCode::kResourceDoesNotExist) << path;
    EXPECT_EQ(names(path), "") << path;
  }
  EXPECT_EQ(names(""), "inside/ ");
  EXPECT_EQ(names("inside"), "f=1 ");
  for (const std::string path : {"out/new", "in/new", "out/deep/new", "inside/up/new"}) {
    EXPECT_EQ(error_of([&] { write(path, {"evil"}); }), ErrorCode::kInvalidParameterValue) << path;
    reactor_.block_on(store_.remove(path));
  }
  reactor_.block_on(store_.remove("out/secret"));
  // A link at the end is replaced or removed itself, not what it points to.
  write("link", {"mine"});
  reactor_.block_on(store_.remove("out"));
  EXPECT_EQ(read("link"), "mine");
  EXPECT_TRUE(fs::exists(outside / "secret"));
  EXPECT_EQ(fs::file_size(outside / "secret"), 1u);
  EXPECT_TRUE(fs::is_empty(outside / "deep"));
}

TEST_F(LocalStore, WhatIsNoFileIsNotOpened) {
  ASSERT_EQ(mkfifo((root() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { read("pipe"); }), ErrorCode::kResourceDoesNotExist);
  write("d/f", {"x"});
  EXPECT_EQ(error_of([&] { read("d"); }), ErrorCode::kInvalidParameterValue);
  EXPECT_EQ(error_of([&] { write("d", {"x"}); }), ErrorCode::kInvalidParameterValue);
  EXPECT_EQ(error_of([&] { write("d/f/below", {"x"}); }), ErrorCode::kInvalidParameterValue);
  EXPECT_EQ(names("d"), "f=1 ");
  EXPECT_TRUE(nothing_staged());
}

TEST_F(LocalStore, ABrokenUploadLeavesNothingAndTheOldFile) {
  write("kept", {"old"});
  for (const std::string path : {"kept", "fresh/f"}) {
    Pieces body({std::string(1 << 20, 'x'), "more"}, true);
    EXPECT_EQ(error_of([&] { reactor_.block_on(store_.write(path, body)); }), ErrorCode::kBadRequest);
  }
  EXPECT_EQ(read("kept"), "old");
  EXPECT_EQ(names(""), "kept=3 ");
  EXPECT_TRUE(nothing_staged());
}

TEST_F(LocalStore, AnUploadIsInvisibleUntilItIsWhole) {
  write("f", {"old"});
  // Looks at the store between two pieces that are large enough to be written.
  struct Watched : http::BodyStream {
    LocalArtifactStore& store;
    int pieces = 0;
    std::string seen;
    explicit Watched(LocalArtifactStore& watched) : store(watched) {}
    task<std::optional<std::string>> next() override {
      task<std::vector<Entry>> listing = store.list("");
      for (const Entry& entry : co_await listing) seen += entry.name + "=" + std::to_string(entry.size) + " ";
      if (++pieces > 2) co_return std::nullopt;
      co_return std::string(1 << 20, 'n');
    }
  };
  Watched body(store_);
  reactor_.block_on(store_.write("f", body));
  EXPECT_EQ(body.seen, "f=3 f=3 f=3 ");
  EXPECT_EQ(names(""), "f=2097152 ");
}

TEST_F(LocalStore, AFullStoreSaysSoAndLeavesNothing) {
  struct rlimit old {};
  getrlimit(RLIMIT_FSIZE, &old);
  struct rlimit small = old;
  small.rlim_cur = 1 << 20;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const auto code = error_of([&] { write("f", {std::string(1 << 19, 'x'), std::string(1 << 20, 'x')}); });
  setrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(code, ErrorCode::kInsufficientStorage);
  EXPECT_EQ(names(""), "");
  EXPECT_TRUE(nothing_staged());
}

TEST_F(LocalStore, AStartClearsWhatACrashLeftButNoLivingUpload) {
  std::ofstream(root() / ".cairn-staging" / "left") << "half";
  fs::create_directories(root() / ".cairn-staging" / "tree" / "deep");
  struct Restarting : http::BodyStream {
    std::string root;
    int pieces = 0;
    task<std::optional<std::string>> next() override {
      if (++pieces == 2) LocalArtifactStore other(root);
      if (pieces > 2) co_return std::nullopt;
      co_return std::string(1 << 20, 'x');
    }
  };
  Restarting body;
  body.root = root().string();
  reactor_.block_on(store_.write("f", body));
  EXPECT_EQ(names(""), "f=2097152 ");
  EXPECT_TRUE(nothing_staged());
}

TEST(LocalStoreRoot, ThatIsAFileIsRefused) {
  testing::TemporaryDirectory directory;
  std::ofstream(directory.path() / "file") << "x";
  EXPECT_THROW(LocalArtifactStore((directory.path() / "file").string()), Error);
}

}  // namespace
}  // namespace cairn::artifacts
