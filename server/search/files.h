// Files and folders into a collection, as `cairn search add` does it.
#pragma once

#include <string>
#include <vector>

#include "search/index.h"
#include "search/ingest.h"

namespace cairn::search {

struct FilesReport {
  IngestCounts counts;
  IndexReport index;
  std::vector<std::string> failures;  // files that were left out, with the reason
};

// Of a folder all files in it that end in .txt, .md, .markdown, .html, .htm, .jsonl or .ndjson, in the order of their
// names;
// - is JSON lines from standard input. A file that cannot be read is left out, and named. With `bulk` the vector index
// is dropped first. Afterwards the index is what it should be.
task<FilesReport> add_files(db::Pool& pool, std::string collection, std::vector<std::string> files, bool bulk, Say say);

// What ts_headline marked, without HTML.
std::string plain_highlight(std::string text);

}  // namespace cairn::search
