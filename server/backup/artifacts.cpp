#include "backup/artifacts.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = 1 << 20;
constexpr const char* kStaging = ".cairn-staging";  // uploads under way

Error system_error(const std::string& what, const fs::path& path) {
  return Error(errno == ENOSPC || errno == EDQUOT ? ErrorCode::kInsufficientStorage : ErrorCode::kInvalidState,
               "cannot " + what + " " + path.string() + ": " + std::strerror(errno));
}

class File {
 public:
  File(const fs::path& path, int flags, mode_t mode = 0)
      : fd_(open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error("write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// The SHA-256 of what is left to read; copied to `out` unless that is -1.
std::string copy_and_hash(int in, int out, const fs::path& in_path, const fs::path& out_path) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  std::string piece(kPieceBytes, '\0');
  for (;;) {
    const ssize_t got = read(in, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error("read", in_path);
    if (got == 0) break;
    EVP_DigestUpdate(digest.get(), piece.data(), static_cast<size_t>(got));
    if (out >= 0) write_all(out, {piece.data(), static_cast<size_t>(got)}, out_path);
  }
  unsigned char result[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(digest.get(), result, &size);
  return to_hex({reinterpret_cast<const char*>(result), size});
}

int64_t mtime_of(const struct stat& status) {
  return int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// Nothing for a file that is gone.
std::optional<ArtifactFile> store_file(const Repository& repository, const fs::path& path) {
  const File in(path, O_RDONLY | O_NONBLOCK);
  struct stat status {};
  if (in.get() < 0 && (errno == ENOENT || errno == ELOOP)) return std::nullopt;
  if (in.get() < 0 || fstat(in.get(), &status) != 0) throw system_error("read", path);
  const fs::path temporary = repository.directory() / "artifacts" / ".incoming";
  ArtifactFile file{status.st_size, mtime_of(status), {}};
  {
    const File out(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out.get() < 0) throw system_error("write", temporary);
    file.sha256 = copy_and_hash(in.get(), out.get(), path, temporary);
    if (fs::exists(repository.content(file.sha256))) return file;
    if (fsync(out.get()) != 0) throw system_error("write", temporary);
  }
  const fs::path target = repository.content(file.sha256);
  fs::create_directories(target.parent_path());
  if (rename(temporary.c_str(), target.c_str()) != 0) throw system_error("write", target);
  return file;
}

}  // namespace

ArtifactList store_artifacts(const Repository& repository, const fs::path& root, const ArtifactList& known) {
  ArtifactList list;
  std::error_code failure;
  fs::recursive_directory_iterator entry(root, failure);
  for (; entry != fs::recursive_directory_iterator(); entry.increment(failure)) {
    if (failure) continue;  // a directory that was removed meanwhile
    if (entry.depth() == 0 && entry->path().filename() == kStaging) {
      entry.disable_recursion_pending();
      continue;
    }
    struct stat status {};
    if (lstat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    const std::string path = entry->path().lexically_relative(root);
    const auto same = known.find(path);
    if (same != known.end() && same->second.size == status.st_size && same->second.mtime_ns == mtime_of(status) &&
        fs::exists(repository.content(same->second.sha256))) {
      list.insert(*same);
    } else if (const auto file = store_file(repository, entry->path())) {
      list[path] = *file;
    }
  }
  fs::remove(repository.directory() / "artifacts" / ".incoming", failure);
  return list;
}

void ArtifactsAt::add(const ArtifactList& list, bool before_point) {
  if (before_point) std::erase_if(files_, [&](const auto& entry) { return !list.contains(entry.first); });
  for (const auto& [path, file] : list) {
    if (file.mtime_ns > until_ns_) continue;
    ArtifactFile& known = files_[path];
    if (known.sha256.empty() || file.mtime_ns >= known.mtime_ns) known = file;
  }
}

void restore_artifacts(const Repository& repository, const ArtifactList& files, const fs::path& target) {
  fs::create_directories(target);
  for (const auto& [path, file] : files) {
    const fs::path to = target / path, from = repository.content(file.sha256);
    fs::create_directories(to.parent_path());
    const File in(from, O_RDONLY), out(to, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (in.get() < 0) throw system_error("read", from);
    if (out.get() < 0) throw system_error("write", to);
    if (copy_and_hash(in.get(), out.get(), from, to) != file.sha256)
      throw Error(ErrorCode::kInternalError, "the content of the artifact " + path + " is damaged in " + from.string() +
                                                 ": put a good copy there, or restore another backup");
    const timespec time{file.mtime_ns / 1'000'000'000, file.mtime_ns % 1'000'000'000};
    const timespec times[2] = {time, time};
    if (futimens(out.get(), times) != 0) throw system_error("write", to);
  }
}

std::vector<Damage> check_artifacts(const Repository& repository, const ArtifactList& files) {
  std::vector<Damage> damages;
  std::set<std::string> seen;
  for (const auto& [path, file] : files) {
    if (!seen.insert(file.sha256).second) continue;
    const fs::path from = repository.content(file.sha256);
    const File in(from, O_RDONLY);
    if (in.get() < 0)
      damages.push_back({path, "its content is missing: " + from.string()});
    else if (copy_and_hash(in.get(), -1, from, {}) != file.sha256)
      damages.push_back({path, "its content is damaged: " + from.string()});
  }
  return damages;
}

}  // namespace cairn::backup
