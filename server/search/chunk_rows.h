// The rows of documents and chunks as they are written and found (docs/formats/search.md, "A write").
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "search/collections.h"

namespace cairn::search {

struct DocumentRow {
  std::string source, title, content, metadata, hash;
};

struct ChunkRow {
  size_t document = 0;  // which of the documents
  int32_t ordinal = 0;
  std::string content;
  std::string hash;
  std::optional<std::string> vector;  // as PostgreSQL reads it
  bool must_be_there = false;         // it has no vector because a row with this hash had one
};

struct Written {
  int64_t added = 0;   // documents that were not there
  int64_t chunks = 0;  // inserted
};

// Documents (in the order of their sources) and all their chunks, in one transaction. Nothing, and nothing is written,
// where a row is gone that must be there. Throws Error(kInvalidParameterValue) for what PostgreSQL cannot store.
task<std::optional<Written>> write_rows(db::Pool& pool, const Collection& collection, std::optional<int64_t> embedder,
                                        const std::vector<DocumentRow>& documents, const std::vector<ChunkRow>& chunks);

// (source, hash) of the documents' chunks that have a vector of this embedder.
task<std::set<std::pair<std::string, std::string>>> embedded_hashes(db::Pool& pool, const Collection& collection,
                                                                    std::vector<std::string> sources, int64_t embedder);

// The number that the embedder's name has, given now where it has none.
task<int64_t> embedder_id(db::Pool& pool, std::string name);

}  // namespace cairn::search
