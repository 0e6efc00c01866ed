#include "base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;

Error system_error(const fs::path& path) {
  const int error = errno;
  return Error(error == ENOSPC || error == EDQUOT ? ErrorCode::kInsufficientStorage : ErrorCode::kInvalidState,
               "cannot write " + path.string() + ": " + std::strerror(error));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

void write_file_durably(const fs::path& path, std::string_view text, std::optional<FileOwner> owner) {
  const std::string draft = path.string() + ".new";
  unlink(draft.c_str());  // of a writer that was killed
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) throw system_error(draft);
  const bool whole = (!owner || fchown(fd, owner->uid, owner->gid) == 0) && write_all(fd, text) && fsync(fd) == 0 &&
                     rename(draft.c_str(), path.c_str()) == 0;
  if (whole) {
    close(fd);
    return;
  }
  const Error error = system_error(path);
  close(fd);
  unlink(draft.c_str());
  throw error;
}

void sync_directory(const fs::path& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool done = fd >= 0 && fsync(fd) == 0;
  const Error error = system_error(directory);
  if (fd >= 0) close(fd);
  if (!done) throw error;
}

}  // namespace cairn
