// Files that are whole after a crash of the machine, too. All block; all throw Error: kInsufficientStorage when the
// disk is full, else kInvalidState, with the path and the system's words.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string_view>

namespace cairn {

struct FileOwner {
  uid_t uid = 0;
  gid_t gid = 0;
};

// At every moment `path` is what it was or all of `text`: it is written beside it, as `path`.new, waited for, and
// renamed. Mode 0600; it belongs to `owner` where one is given. A link that lies in the way is replaced, not followed.
// One writer a path at a time.
void write_file_durably(const std::filesystem::path& path, std::string_view text, std::optional<FileOwner> owner = {});
// The names in a directory are on the disk.
void sync_directory(const std::filesystem::path& directory);

}  // namespace cairn
