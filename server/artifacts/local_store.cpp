// Artifacts in a directory.
//
// Confinement: a path is walked part by part from the root's descriptor, each part opened with O_NOFOLLOW, so neither a
// path nor a symbolic link that someone puts there, at whatever moment, leads out of the root.
//
// Atomicity: an upload goes to a file in the staging directory, which is on the same file system, and is renamed when
// it is whole and on the disk. A removal renames into the staging directory first. The staged file is locked while its
// upload lives, so that a server which starts clears what a crash left and nothing else.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <optional>
#include <random>
#include <system_error>

#include "artifacts/api.h"
#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"

namespace cairn::artifacts {
namespace {

constexpr std::string_view kStaging = ".cairn-staging";
constexpr size_t kPieceBytes = 256 << 10;
// An upload leaves so much of the disk to others: a database on it needs more than a file does.
constexpr uint64_t kLeftToOthers = 64u << 20;
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

[[noreturn]] void fail(const std::string& what, const std::string& path, int error) {
  const std::string message = "Cannot " + what + " artifact '" + path + "': " + std::generic_category().message(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      throw Error(ErrorCode::kInsufficientStorage, message + ". Free or add space below the artifact root.");
    case ENAMETOOLONG:
      throw invalid(message);
    case ENOTDIR:
    case ELOOP:
      throw invalid(message + ": a part of its path is a file or a symbolic link");
    case EISDIR:
    case ENOTEMPTY:
    case EEXIST:
      throw invalid(message + ": there is a directory of this name");
    default:
      throw Error(ErrorCode::kInternalError, message);
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string random_name() {
  thread_local std::random_device device;
  return std::to_string(getpid()) + "-" + std::to_string(device()) + "-" + std::to_string(device());
}

}  // namespace

struct LocalArtifactStore::Root {
  std::filesystem::path staging_path;
  Descriptor root;
  Descriptor staging;

  void check(const std::string& path) const {
    check_path(path);
    if (path.substr(0, path.find('/')) == kStaging) throw invalid("Invalid path");
  }

  // The directory that `path` names, or none with errno set. Makes what is missing when told to.
  Descriptor directory(std::string_view path, bool make) const {
    Descriptor here(::openat(root.get(), ".", kDirectoryFlags));
    while (here && !path.empty()) {
      const size_t slash = path.find('/');
      const std::string name(path.substr(0, slash));
      path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
      if (make && ::mkdirat(here.get(), name.c_str(), 0777) == 0) ::fsync(here.get());
      here = Descriptor(::openat(here.get(), name.c_str(), kDirectoryFlags));
    }
    return here;
  }
  Descriptor parent(const std::string& path, bool make) const {
    const size_t slash = path.rfind('/');
    return directory(slash == path.npos ? std::string_view() : std::string_view(path).substr(0, slash), make);
  }
  static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  // Removes what no living upload holds.
  void clear_staging() const {
    for (const auto& entry : std::filesystem::directory_iterator(staging_path)) {
      const Descriptor file(
          ::openat(staging.get(), entry.path().filename().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) continue;
      discard(entry.path().filename());
    }
  }
  void discard(const std::string& staged) const {
    std::error_code error;
    std::filesystem::remove_all(staging_path / staged, error);
    if (error) log::warn("artifacts: cannot remove {}: {}", (staging_path / staged).string(), error.message());
  }
};

namespace {

// A file's bytes from `offset` on, in pieces.
class FileStream : public http::BodyStream {
 public:
  FileStream(std::shared_ptr<const Descriptor> file, uint64_t offset, uint64_t length)
      : file_(std::move(file)), offset_(offset), size_(length), left_(length) {}

  std::optional<uint64_t> size() const override { return size_; }

  task<std::optional<std::string>> next() override {
    if (left_ == 0) co_return std::nullopt;
    auto work = [this] { return read(); };
    auto reading = offload(work);
    co_return co_await reading;
  }

 private:
  std::string read() {
    std::string piece(std::min<uint64_t>(left_, kPieceBytes), '\0');
    ssize_t bytes;
    do {
      bytes = ::pread(file_->get(), piece.data(), piece.size(), static_cast<off_t>(offset_));
    } while (bytes < 0 && errno == EINTR);
    if (bytes <= 0)
      throw Error(ErrorCode::kInternalError, "Cannot read an artifact's file: it was cut short, or failed");
    piece.resize(bytes);
    offset_ += bytes;
    left_ -= bytes;
    return piece;
  }

  std::shared_ptr<const Descriptor> file_;
  uint64_t offset_;
  uint64_t size_;
  uint64_t left_;
};

class LocalArtifact : public Artifact {
 public:
  LocalArtifact(Descriptor file, uint64_t size)
      : file_(std::make_shared<const Descriptor>(std::move(file))), size_(size) {}
  uint64_t size() const override { return size_; }
  std::unique_ptr<http::BodyStream> read(uint64_t offset, uint64_t length) const override {
    return std::make_unique<FileStream>(file_, offset, length);
  }

 private:
  std::shared_ptr<const Descriptor> file_;
  uint64_t size_;
};

std::optional<Entry> entry_of(int directory, const char* name) {
  struct stat status {};
  if (::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  if (S_ISDIR(status.st_mode)) return Entry{name, true, 0};
  if (S_ISREG(status.st_mode)) return Entry{name, false, static_cast<uint64_t>(status.st_size)};
  return std::nullopt;
}

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path, errno);
    bytes.remove_prefix(written);
  }
}

}  // namespace

LocalArtifactStore::LocalArtifactStore(const std::string& root) {
  auto opened = std::make_shared<Root>();
  const std::filesystem::path path = std::filesystem::absolute(root);
  opened->staging_path = path / kStaging;
  std::error_code error;
  std::filesystem::create_directories(opened->staging_path, error);
  opened->root = Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened->root) {
    opened->staging = Descriptor(::openat(opened->root.get(), std::string(kStaging).c_str(), kDirectoryFlags));
  }
  if (error || !opened->staging) {
    const std::string why = error ? error.message() : std::generic_category().message(errno);
    throw invalid("The artifact root '" + root + "' cannot be used: " + why +
                  ". Name a directory that the server may write to.");
  }
  opened->clear_staging();
  root_ = std::move(opened);
}

LocalArtifactStore::~LocalArtifactStore() = default;

task<std::vector<Entry>> LocalArtifactStore::list(std::string path) {
  if (!path.empty()) root_->check(path);
  auto work = [&]() -> std::vector<Entry> {
    std::vector<Entry> entries;
    Descriptor directory = root_->directory(path, false);
    if (!directory) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return entries;
      fail("list", path, errno);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0)),
                                                     &::closedir);
    if (!stream) fail("list", path, errno);
    while (const dirent* found = ::readdir(stream.get())) {
      const std::string_view name = found->d_name;
      if (name == "." || name == ".." || (path.empty() && name == kStaging)) continue;
      if (auto entry = entry_of(directory.get(), found->d_name)) entries.push_back(std::move(*entry));
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
  };
  auto listing = offload(work);
  co_return co_await listing;
}

task<std::unique_ptr<Artifact>> LocalArtifactStore::open(std::string path) {
  root_->check(path);
  auto work = [&]() -> std::unique_ptr<Artifact> {
    const Descriptor parent = root_->parent(path, false);
    Descriptor file;
    // O_NONBLOCK: a named pipe must not hold the thread.
    if (parent) {
      file = Descriptor(
          ::openat(parent.get(), Root::name_of(path).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    }
    if (!file && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) fail("open", path, errno);
    struct stat status {};
    if (file && ::fstat(file.get(), &status) != 0) fail("open", path, errno);
    if (file && S_ISDIR(status.st_mode)) {
      throw invalid("Artifact path refers to a directory, not a file: '" + path + "'");
    }
    if (!file || !S_ISREG(status.st_mode)) throw not_found("No such artifact: '" + path + "'");
    return std::make_unique<LocalArtifact>(std::move(file), status.st_size);
  };
  auto opening = offload(work);
  co_return co_await opening;
}

namespace {

// A file in the staging directory that is gone with this object unless it was renamed. On a pool thread only.
template <class Root>
class Upload {
 public:
  Upload(std::shared_ptr<const Root> root, const std::string& path) : root_(std::move(root)), path_(path) {
    file_ = Descriptor(
        ::openat(root_->staging.get(), name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!file_ || ::flock(file_.get(), LOCK_EX) != 0) fail("write", path_, errno);
  }
  ~Upload() {
    if (file_ && !done_) ::unlinkat(root_->staging.get(), name_.c_str(), 0);
  }
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  void append(std::string_view bytes) {
    struct statvfs disk {};
    if (!bytes.empty() && ::fstatvfs(file_.get(), &disk) == 0 &&
        uint64_t(disk.f_bavail) * disk.f_frsize < kLeftToOthers + bytes.size())
      fail("write", path_, ENOSPC);
    write_all(file_.get(), bytes, path_);
  }

  void commit() {
    if (::fsync(file_.get()) != 0) fail("write", path_, errno);
    const std::string name = Root::name_of(path_);
    // Again, because a removal may take the directory away between the two steps.
    for (int attempt = 0; attempt < 10 && !done_; ++attempt) {
      const Descriptor parent = root_->parent(path_, true);
      if (!parent && errno == ENOENT) continue;
      if (!parent) fail("write", path_, errno);
      done_ = ::renameat(root_->staging.get(), name_.c_str(), parent.get(), name.c_str()) == 0;
      if (done_) ::fsync(parent.get());
      if (!done_ && errno != ENOENT) fail("write", path_, errno);
    }
    if (!done_) fail("write", path_, ENOENT);
  }

 private:
  std::shared_ptr<const Root> root_;
  const std::string& path_;
  const std::string name_ = random_name();
  Descriptor file_;
  bool done_ = false;
};

// Fills `piece`; false when the body has no more.
task<bool> gather(http::BodyStream& body, std::string& piece) {
  piece.clear();
  while (piece.size() < kPieceBytes) {
    task<std::optional<std::string>> next = body.next();
    std::optional<std::string> bytes = co_await next;
    if (!bytes) co_return false;
    if (piece.empty()) {
      piece = std::move(*bytes);
    } else {
      piece += *bytes;
    }
  }
  co_return true;
}

}  // namespace

task<> LocalArtifactStore::write(std::string path, http::BodyStream& body) {
  root_->check(path);
  std::unique_ptr<Upload<Root>> upload;
  std::exception_ptr error;
  try {
    auto begin = [&] { upload = std::make_unique<Upload<Root>>(root_, path); };
    auto beginning = offload(begin);
    co_await beginning;
    std::string piece;
    for (bool more = true; more;) {
      task<bool> gathering = gather(body, piece);
      more = co_await gathering;
      auto work = [&] {
        upload->append(piece);
        if (!more) upload->commit();
      };
      auto writing = offload(work);
      co_await writing;
    }
  } catch (...) {
    error = std::current_exception();
  }
  // Freeing a large file takes time, so not on this thread.
  auto end = [&] { upload.reset(); };
  auto ending = offload(end);
  co_await ending;
  if (error) std::rethrow_exception(error);
}

task<> LocalArtifactStore::remove(std::string path) {
  root_->check(path);
  auto work = [&] {
    const Descriptor parent = root_->parent(path, false);
    const std::string staged = random_name();
    if (!parent || ::renameat(parent.get(), Root::name_of(path).c_str(), root_->staging.get(), staged.c_str()) != 0) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return;
      fail("remove", path, errno);
    }
    ::fsync(parent.get());
    root_->discard(staged);
  };
  auto removing = offload(work);
  co_await removing;
}

}  // namespace cairn::artifacts
