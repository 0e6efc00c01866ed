// Partitions that were detached, as files, and back: docs/formats/partitions.md.
#pragma once

#include <string>
#include <vector>

#include "partitions/journal.h"

namespace cairn::partitions {

struct ArchivedFile {
  std::string name = {};
  std::string schema = {};
  std::string table = {};
  std::vector<std::string> columns = {};
  int64_t rows = 0;
  std::string sha256 = {};
};

struct Manifest {
  std::string schema = {};
  std::string table = {};
  std::string partition = {};
  std::string bounds = {};
  std::string archived_at = {};
  std::vector<ArchivedFile> files = {};  // the partition's first, then what refers to it
};

std::string to_json(const Manifest& manifest);
// Throws Error where it is none, or of another format.
Manifest read_manifest(const std::string& directory);

// A file of rows in COPY's text format, compressed. Blocks; what is not finished is removed.
class RowsFile {
 public:
  explicit RowsFile(std::string path);
  ~RowsFile();
  RowsFile(const RowsFile&) = delete;
  RowsFile& operator=(const RowsFile&) = delete;

  void write(std::string_view bytes);
  // On the disk.
  void finish();

 private:
  std::string path_;
  void* file_ = nullptr;  // gzFile
};

// Reads it back: SHA-256 of the file, and how many lines are in it. Throws Error where it cannot be read to its end.
struct FileSums {
  std::string sha256 = {};
  int64_t rows = 0;
};
FileSums read_sums(const std::string& path);

class RowsReader {
 public:
  explicit RowsReader(std::string path);
  ~RowsReader();
  RowsReader(const RowsReader&) = delete;
  RowsReader& operator=(const RowsReader&) = delete;
  // Some bytes, empty at the end.
  std::string read();

 private:
  std::string path_;
  void* file_ = nullptr;
};

}  // namespace cairn::partitions
