// Documents into a collection: what is there already costs nothing, of what changed only the parts that did.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "search/collections.h"
#include "search/text.h"

namespace cairn::search {

struct Document {
  std::string source;
  std::string title;
  std::string content;
  std::string metadata = "{}";  // a JSON object
  // The caller's own vector: the document is then one chunk.
  std::optional<std::vector<float>> vector;
};

// {"source", "title", "content", "metadata", "embedding", "format": "text" | "markdown" | "html"}; `source` stands in
// where the object has none, and so does the content's hash where that is empty. Throws Error(kInvalidParameterValue)
// that names `place`.
Document document_of(const json::Fields& fields, const std::string& source, const std::string& place);

struct IngestCounts {
  int64_t added = 0;
  int64_t changed = 0;
  int64_t unchanged = 0;
  int64_t chunks = 0;    // written
  int64_t embedded = 0;  // of these: vectors that were asked for
};

// {"added": …, "changed": …, "unchanged": …, "chunks": …, "embedded": …}
std::string as_json(const IngestCounts& counts);

// Collects documents and writes them in batches, each in one transaction: a document is there wholly or not at all, and
// what was flushed stays when a later one fails.
class Ingest {
 public:
  static task<std::unique_ptr<Ingest>> open(db::Pool& pool, std::string collection);

  // Throws Error(kInvalidParameterValue) for what cannot be stored, with the document's source.
  task<> add(Document document);
  task<> flush();
  // The last flush. An embedder that is trained here learns then, where that is due, and all chunks get its vectors.
  task<> finish();
  const IngestCounts& counts() const { return counts_; }
  const Collection& collection() const { return collection_; }

 private:
  struct Chunk {
    std::string content;
    std::string hash;
    std::optional<std::vector<float>> vector;
    bool kept = false;  // a row of this document has this hash and its vector
  };
  struct Pending {
    Document document;
    std::string hash;
    std::vector<Chunk> chunks;
  };

  Ingest(db::Pool& pool, Collection collection) : pool_(pool), collection_(std::move(collection)) {}
  void cut(Pending& pending) const;
  task<> leave_out_unchanged();
  task<> embed();
  task<bool> write();

  db::Pool& pool_;
  Collection collection_;
  std::unique_ptr<Embedder> embedder_;
  std::optional<int64_t> embedder_id_;
  std::vector<Pending> pending_;
  size_t pending_bytes_ = 0;
  IngestCounts counts_;
};

// Throws Error(kResourceDoesNotExist).
task<> remove_document(db::Pool& pool, std::string collection, std::string source);

// Vectors for the chunks that have none of the collection's embedder as it is now. Gives how many.
task<int64_t> embed_missing(db::Pool& pool, std::string collection);

// The vector as PostgreSQL reads it. Throws Error(kInvalidParameterValue) for another dimension than the collection's,
// or what is no number.
std::string vector_literal(const std::vector<float>& vector, const Collection& collection);

}  // namespace cairn::search
