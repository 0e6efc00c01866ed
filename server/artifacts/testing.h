// For this module's tests: a store in a directory of the test's own, and bodies made of given pieces.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "artifacts/api.h"
#include "base/error.h"
#include "base/reactor.h"

namespace cairn::artifacts::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "artifacts_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Gives its pieces, then ends, or breaks off as a client that goes away does.
class Pieces : public http::BodyStream {
 public:
  explicit Pieces(std::vector<std::string> pieces, bool breaks = false) : pieces_(std::move(pieces)), breaks_(breaks) {}
  task<std::optional<std::string>> next() override {
    if (at_ < pieces_.size()) co_return pieces_[at_++];
    if (breaks_) throw Error(ErrorCode::kBadRequest, "the peer has gone");
    co_return std::nullopt;
  }

 private:
  std::vector<std::string> pieces_;
  bool breaks_;
  size_t at_ = 0;
};

inline std::string read_all(Reactor& reactor, http::BodyStream& stream) {
  std::string all;
  while (auto piece = reactor.block_on(stream.next())) all += *piece;
  return all;
}

}  // namespace cairn::artifacts::testing
