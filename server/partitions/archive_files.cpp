#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>

#include "base/error.h"
#include "base/json.h"
#include "partitions/archive.h"

namespace cairn::partitions {
namespace {

constexpr const char* kFormat = "cairn partition archive, format 1";
constexpr size_t kBlock = 1 << 18;

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  const int error = errno;
  throw Error(error == ENOSPC ? ErrorCode::kInsufficientStorage : ErrorCode::kInternalError,
              "cannot " + what + " " + path + ": " + (error == 0 ? "it is damaged" : std::strerror(error)));
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("format", kFormat);
  writer.field("schema", manifest.schema);
  writer.field("table", manifest.table);
  writer.field("partition", manifest.partition);
  writer.field("bounds", manifest.bounds);
  writer.field("archived_at", manifest.archived_at);
  writer.key("files");
  writer.begin_array();
  for (const ArchivedFile& file : manifest.files) {
    writer.begin_object();
    writer.field("name", file.name);
    writer.field("schema", file.schema);
    writer.field("table", file.table);
    writer.key("columns");
    writer.begin_array();
    for (const std::string& column : file.columns) writer.string(column);
    writer.end_array();
    writer.field("rows", file.rows);
    writer.field("sha256", file.sha256);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return text;
}

Manifest read_manifest(const std::string& directory) {
  const std::string path = directory + "/manifest.json";
  std::ifstream in(path, std::ios::binary);
  if (!in) throw not_found("there is no " + path + ": name the folder of one archived partition");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const json::Document document(text);
  const json::Fields fields = json::root_fields(document);
  if (fields.string("format").value_or("") != kFormat)
    throw invalid(path + " is not of the format '" + std::string(kFormat) + "'");
  Manifest manifest{fields.required_string("schema"),          fields.required_string("table"),
                    fields.required_string("partition"),       fields.required_string("bounds"),
                    fields.string("archived_at").value_or(""), {}};
  for (const json::Fields& file : fields.objects("files")) {
    manifest.files.push_back({file.required_string("name"), file.required_string("schema"),
                              file.required_string("table"), file.strings("columns"), file.required_integer("rows"),
                              file.required_string("sha256")});
    if (manifest.files.back().name.find('/') != std::string::npos)
      throw invalid(path + " names a file outside of its folder: " + manifest.files.back().name);
  }
  // It becomes part of a statement.
  static const std::string kLiteral = "('([^']|'')*'|-?[0-9]+)";
  static const std::regex kBounds("(FROM \\(" + kLiteral + "\\) TO \\(" + kLiteral + "\\)|IN \\(" + kLiteral + "(, " +
                                  kLiteral + ")*\\))");
  if (!std::regex_match(manifest.bounds, kBounds)) throw invalid(path + " has bounds that no partition has");
  if (manifest.files.empty()) throw invalid(path + " names no file");
  return manifest;
}

RowsFile::RowsFile(std::string path) : path_(std::move(path)) {
  errno = 0;
  file_ = gzopen(path_.c_str(), "wb6");
  if (file_ == nullptr) fail("write", path_);
  gzbuffer(static_cast<gzFile>(file_), kBlock);
}

RowsFile::~RowsFile() {
  if (file_ == nullptr) return;
  gzclose(static_cast<gzFile>(file_));
  ::unlink(path_.c_str());
}

void RowsFile::write(std::string_view bytes) {
  errno = 0;
  if (!bytes.empty() && gzfwrite(bytes.data(), 1, bytes.size(), static_cast<gzFile>(file_)) != bytes.size())
    fail("write", path_);
}

void RowsFile::finish() {
  errno = 0;
  const bool closed = gzclose(static_cast<gzFile>(file_)) == Z_OK;
  file_ = nullptr;
  if (!closed) fail("write", path_);
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (!synced) fail("write", path_);
}

RowsReader::RowsReader(std::string path) : path_(std::move(path)) {
  errno = 0;
  file_ = gzopen(path_.c_str(), "rb");
  if (file_ == nullptr) fail("read", path_);
  gzbuffer(static_cast<gzFile>(file_), kBlock);
}

RowsReader::~RowsReader() {
  if (file_ != nullptr) gzclose(static_cast<gzFile>(file_));
}

std::string RowsReader::read() {
  std::string bytes(kBlock, '\0');
  errno = 0;
  const int count = gzread(static_cast<gzFile>(file_), bytes.data(), static_cast<unsigned>(bytes.size()));
  int state = Z_OK;
  gzerror(static_cast<gzFile>(file_), &state);
  if (count < 0 || (state != Z_OK && state != Z_STREAM_END)) fail("read", path_);
  bytes.resize(static_cast<size_t>(count));
  return bytes;
}

FileSums read_sums(const std::string& path) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("read", path);
  std::string block(kBlock, '\0');
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
    EVP_DigestUpdate(hash.get(), block.data(), static_cast<size_t>(in.gcount()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(hash.get(), digest.data(), &size);
  FileSums sums;
  for (unsigned i = 0; i < size; ++i) sums.sha256 += fmt::format("{:02x}", digest[i]);
  RowsReader rows(path);
  for (std::string bytes = rows.read(); !bytes.empty(); bytes = rows.read())
    sums.rows += std::count(bytes.begin(), bytes.end(), '\n');
  return sums;
}

}  // namespace cairn::partitions
