#include "search/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/error.h"
#include "search/json_lines.h"

namespace cairn::search {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = 64u << 10;

bool is_json_lines(const std::string& name) {
  return name == "-" || name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

bool is_text(const std::string& name) {
  return name.ends_with(".txt") || format_of(name) != Format::kText || is_json_lines(name);
}

std::vector<std::string> listed(const std::vector<std::string>& names) {
  std::vector<std::string> files;
  for (const std::string& name : names) {
    if (name == "-" || !fs::is_directory(name)) {
      files.push_back(name);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::recursive_directory_iterator(name, fs::directory_options::skip_permission_denied))
      if (entry.is_regular_file() && is_text(entry.path().string())) inside.push_back(entry.path().string());
    std::ranges::sort(inside);
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

task<> add_json_lines(Ingest& ingest, const std::string& name) {
  std::ifstream file;
  if (name != "-") file.open(name, std::ios::binary);
  if (!file && name != "-") throw not_found("cannot read " + name);
  std::istream& in = name == "-" ? std::cin : file;
  JsonLines lines(ingest, name == "-" ? "line" : name);
  std::string piece(kPiece, '\0');
  while (in.read(piece.data(), kPiece) || in.gcount() > 0)
    co_await lines.feed(std::string_view(piece.data(), size_t(in.gcount())));
  co_await lines.finish();
}

task<> add_file(Ingest& ingest, const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!file) throw not_found("cannot read " + name);
  std::string bytes, piece(kPiece, '\0');
  while (bytes.size() <= kMaxDocument && (file.read(piece.data(), kPiece) || file.gcount() > 0))
    bytes.append(piece.data(), size_t(file.gcount()));
  Extracted extracted = extract(format_of(name), bytes, name);
  Document document;
  document.source = name;
  document.title = std::move(extracted.title);
  document.content = std::move(extracted.content);
  co_await ingest.add(std::move(document));
}

// True for what is wrong with the file; what is wrong with the database ends the run.
bool is_of_file(const Error& error) {
  return error.code() == ErrorCode::kInvalidParameterValue || error.code() == ErrorCode::kResourceDoesNotExist;
}

}  // namespace

task<FilesReport> add_files(db::Pool& pool, std::string collection, std::vector<std::string> names, bool bulk,
                            Say say) {
  using namespace std::chrono_literals;
  FilesReport report;
  const auto ingest = co_await Ingest::open(pool, collection);
  bool dropped = false;
  if (bulk) dropped = co_await drop_index(pool, collection);
  if (dropped) say("index: dropped, and built again at the end");
  auto said = std::chrono::steady_clock::now();
  const std::vector<std::string> files = listed(names);
  for (size_t i = 0; i < files.size(); ++i) {
    try {
      if (is_json_lines(files[i]))
        co_await add_json_lines(*ingest, files[i]);
      else
        co_await add_file(*ingest, files[i]);
    } catch (const Error& error) {
      if (!is_of_file(error)) throw;
      report.failures.push_back(error.what());
    }
    if (const auto now = std::chrono::steady_clock::now(); now - said > 2s) {
      said = now;
      say(fmt::format("{} of {} files, {} chunks", i + 1, files.size(), ingest->counts().chunks));
    }
  }
  co_await ingest->finish();
  report.counts = ingest->counts();
  report.counts.embedded += co_await embed_missing(pool, collection);
  if (bulk || report.counts.chunks > 0) report.index = co_await care_for_index(pool, collection, say);
  co_return report;
}

std::string plain_highlight(std::string text) {
  for (const auto& [from, to] : {std::pair("<b>", ""), {"</b>", ""}, {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}})
    for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += std::string_view(to).size())
      text.replace(at, std::string_view(from).size(), to);
  return text;
}

}  // namespace cairn::search
