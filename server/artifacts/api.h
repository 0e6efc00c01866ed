// Where the files of runs and models are kept, and the routes that serve them.
//
// A path is relative to the store's root, with '/' between its parts. check_path() is the one place that says which
// paths there are; every store calls it first.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "db/pool.h"
#include "http/message.h"
#include "http/router.h"

namespace cairn::artifacts {

struct Entry {
  std::string name;  // without its directory
  bool is_directory = false;
  uint64_t size = 0;  // bytes; 0 for a directory
};

// A file as it was when it was opened, even when it is replaced or removed meanwhile.
class Artifact {
 public:
  virtual ~Artifact() = default;
  virtual uint64_t size() const = 0;
  // `offset + length` must not exceed size().
  virtual std::unique_ptr<http::BodyStream> read(uint64_t offset, uint64_t length) const = 0;
};

// All throw Error: kInvalidParameterValue for a path that may not be, kInsufficientStorage when the store is full.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;
  // What a directory holds, by name; nothing for a file and for what is not there. "" is the root.
  virtual task<std::vector<Entry>> list(std::string path) = 0;
  // Throws kResourceDoesNotExist for what is not there, kInvalidParameterValue for a directory.
  virtual task<std::unique_ptr<Artifact>> open(std::string path) = 0;
  // Stores the whole body or nothing; readers see the old file or the new one. Makes the directories above it.
  virtual task<> write(std::string path, http::BodyStream& body) = 0;
  // A file or a whole directory; what is not there is no error.
  virtual task<> remove(std::string path) = 0;
};

// Files below a directory of this machine.
class LocalArtifactStore : public ArtifactStore {
 public:
  // Makes the directory when it is missing. Throws Error when it cannot be used.
  explicit LocalArtifactStore(const std::string& root);
  ~LocalArtifactStore() override;

  task<std::vector<Entry>> list(std::string path) override;
  task<std::unique_ptr<Artifact>> open(std::string path) override;
  task<> write(std::string path, http::BodyStream& body) override;
  task<> remove(std::string path) override;

 private:
  struct Root;
  std::shared_ptr<const Root> root_;
};

// Throws Error(kInvalidParameterValue) unless the path is one or more plain names with single slashes between: not
// absolute, no "." or "..", no backslash or control character, nor any of these behind percent escapes.
void check_path(std::string_view path);

// The path in the store that an artifact URI stands for ("" is the root); none when it is not served from here. Throws
// Error(kInvalidParameterValue) for a path that may not be.
std::optional<std::string> store_path(const std::string& uri);

// Serves the store to MLflow's clients. All must outlive the router.
void register_routes(http::Router& router, db::Pool& pool, ArtifactStore& store);

}  // namespace cairn::artifacts
