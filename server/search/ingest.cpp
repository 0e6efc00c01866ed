#include "search/ingest.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/error.h"
#include "search/chunk_rows.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

constexpr size_t kBatchChunks = 256;
constexpr size_t kBatchBytes = 4u << 20;
constexpr size_t kBatchDocuments = 500;
// So many new chunks are worth statistics at once: how rare words are is read from them (search.terms).
constexpr int64_t kAnalyzeChunks = 1000;
constexpr size_t kMaxSource = 500;
constexpr size_t kMaxTitle = 1000;
constexpr size_t kMaxMetadata = 64u << 10;
constexpr size_t kOffloadBytes = 64u << 10;

// Each part with its length before it, so that no two documents give one text.
std::string hash_of(const Document& document, const Collection& collection) {
  std::string text = fmt::format("{} {} ", collection.chunk_size, collection.chunk_overlap);
  for (const std::string* part : {&document.title, &document.content, &document.metadata})
    text += fmt::format("{} {}", part->size(), *part);
  if (document.vector) text += vector_literal(*document.vector, collection);
  return sha256_hex(text);
}

void check(const Document& document) {
  const std::string name = "the document '" + document.source.substr(0, 100) + "'";
  if (document.source.empty() || document.source.size() > kMaxSource)
    throw invalid(
        fmt::format("{}: its source has {} bytes, 1 to {} are allowed", name, document.source.size(), kMaxSource));
  if (document.title.size() > kMaxTitle)
    throw invalid(fmt::format("{}: a title has at most {} bytes", name, kMaxTitle));
  if (document.metadata.size() > kMaxMetadata)
    throw invalid(fmt::format("{}: metadata have at most {} bytes", name, kMaxMetadata));
  if (document.content.size() > kMaxDocument)
    throw invalid(
        fmt::format("{} has {} bytes, at most {} are allowed: split it", name, document.content.size(), kMaxDocument));
  require_text(document.source, name);
  require_text(document.title, name);
  require_text(document.content, name);
}

}  // namespace

std::string vector_literal(const std::vector<float>& vector, const Collection& collection) {
  if (int(vector.size()) != collection.embedder.dimension)
    throw invalid(fmt::format("the vector has {} dimensions, the collection '{}' has {}", vector.size(),
                              collection.name, collection.embedder.dimension));
  std::string text = "[";
  char buffer[32];
  for (const float value : vector) {
    if (!std::isfinite(value)) throw invalid("a vector's elements are finite numbers");
    if (text.size() > 1) text += ',';
    text.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  }
  return text + "]";
}

std::string as_json(const IngestCounts& counts) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("added", counts.added);
  out.field("changed", counts.changed);
  out.field("unchanged", counts.unchanged);
  out.field("chunks", counts.chunks);
  out.field("embedded", counts.embedded);
  out.end_object();
  return text;
}

Document document_of(const json::Fields& fields, const std::string& source, const std::string& place) {
  try {
    const std::string format = fields.string("format").value_or("text");
    if (format != "text" && format != "markdown" && format != "html")
      throw invalid("'format' is text, markdown or html, not '" + format + "'");
    const Format as = format == "html" ? Format::kHtml : format == "markdown" ? Format::kMarkdown : Format::kText;
    Document document;
    document.source = fields.string("source").value_or(source);
    const std::string content = fields.required_string("content");
    Extracted extracted = extract(as, content, "its content");
    document.content = std::move(extracted.content);
    document.title = fields.string("title").value_or(as == Format::kText ? "" : extracted.title);
    if (document.source.empty()) document.source = sha256_hex(content);
    if (fields.has("metadata")) {
      if (!fields.object("metadata")) throw invalid("'metadata' is an object");
      document.metadata = *fields.raw("metadata");
    }
    if (const auto vector = fields.find("embedding")) {
      simdjson::dom::array numbers;
      if (vector->get(numbers) != simdjson::SUCCESS) throw invalid("'embedding' is a list of numbers");
      document.vector.emplace();
      for (const auto number : numbers) {
        double value = 0;
        if (number.get(value) != simdjson::SUCCESS) throw invalid("'embedding' is a list of numbers");
        document.vector->push_back(float(value));
      }
    }
    return document;
  } catch (const Error& error) {
    throw Error(error.code(), place + ": " + error.what());
  }
}

task<std::unique_ptr<Ingest>> Ingest::open(db::Pool& pool, std::string collection) {
  std::unique_ptr<Ingest> ingest(new Ingest(pool, co_await require_collection(pool, collection)));
  ingest->embedder_ = co_await make_embedder(pool, ingest->collection_.embedder);
  if (ingest->embedder_) ingest->embedder_id_ = co_await embedder_id(pool, ingest->embedder_->name());
  co_return ingest;
}

void Ingest::cut(Pending& pending) const {
  const Document& document = pending.document;
  pending.hash = hash_of(document, collection_);
  const auto add = [&](std::string_view content) {
    Chunk chunk;
    chunk.content = content;
    std::string hashed = document.title + "\n" + chunk.content;
    if (document.vector) hashed += "\n" + vector_literal(*document.vector, collection_);
    chunk.hash = sha256_hex(hashed);
    chunk.vector = document.vector;
    pending.chunks.push_back(std::move(chunk));
  };
  if (document.vector) return add(document.content);
  for (const auto chunk :
       chunks_of(document.content, size_t(collection_.chunk_size), size_t(collection_.chunk_overlap)))
    add(chunk);
}

task<> Ingest::add(Document document) {
  check(document);
  if (document.vector && collection_.embedder.kind != "own")
    throw invalid("the document '" + document.source +
                  "' brings its vector, which a collection takes whose embedder is 'own'; '" + collection_.name +
                  "' has '" + collection_.embedder.kind + "'");
  for (const Pending& other : pending_) {
    if (other.document.source != document.source) continue;
    co_await flush();
    break;
  }
  Pending pending;
  pending.document = std::move(document);
  auto work = [&] { cut(pending); };
  if (pending.document.content.size() > kOffloadBytes)
    co_await offload(work);
  else
    work();
  pending_bytes_ += pending.document.content.size();
  pending_.push_back(std::move(pending));
  size_t chunks = 0;
  for (const Pending& one : pending_) chunks += one.chunks.size();
  if (chunks >= kBatchChunks || pending_bytes_ >= kBatchBytes || pending_.size() >= kBatchDocuments) co_await flush();
}

task<> Ingest::flush() {
  try {
    co_await leave_out_unchanged();
    std::ranges::sort(pending_, {}, [](const Pending& one) -> const std::string& { return one.document.source; });
    for (int attempt = 1; !pending_.empty(); ++attempt) {
      co_await embed();
      if (co_await write()) break;
      if (attempt == 5)
        throw Error(ErrorCode::kAborted, "the documents are changed by others all the time: send them again");
    }
  } catch (...) {
    pending_.clear();  // what failed is not tried again by a caller that stores what came before an error
    throw;
  }
  pending_.clear();
  pending_bytes_ = 0;
}

constexpr Statement kNeverAnalyzed{"search_never_analyzed",
                                   "SELECT reltuples < 0 FROM pg_class WHERE oid = $1::regclass"};

task<> Ingest::finish() {
  co_await flush();
  bool analyze_is_due = counts_.chunks >= kAnalyzeChunks;
  if (!analyze_is_due && counts_.chunks > 0) {
    const db::Rows row = co_await pool_.query(kNeverAnalyzed, Params::of(collection_.chunks_table()));
    analyze_is_due = row.boolean(0, 0);  // who looks at the collection sees chunks in it
  }
  if (analyze_is_due) {
    const std::string sql = "ANALYZE " + collection_.chunks_table();
    const Statement analyze{"", sql};
    co_await pool_.query(analyze);
  }
  if (collection_.embedder.kind == "local" && counts_.chunks > 0) {
    const bool trained = co_await train_local_embedder(pool_, collection_.id);
    if (trained) co_await embed_missing(pool_, collection_.name);
  }
}

constexpr Statement kUnchanged{
    "search_unchanged",
    "SELECT d.source FROM unnest($2::text[], $3::text[]) AS g (source, hash) JOIN search.documents d"
    " ON d.collection_id = $1 AND d.source = g.source AND d.content_hash = decode(g.hash, 'hex')"};

task<> Ingest::leave_out_unchanged() {
  std::vector<std::string> sources, hashes;
  for (const Pending& one : pending_) {
    sources.push_back(one.document.source);
    hashes.push_back(one.hash);
  }
  const db::Rows rows = co_await pool_.query(kUnchanged, Params::of(collection_.id, sources, hashes));
  std::set<std::string> unchanged;
  for (int row = 0; row < rows.size(); ++row) unchanged.insert(rows.text(row, 0));
  counts_.unchanged += int64_t(unchanged.size());
  std::erase_if(pending_, [&](const Pending& one) { return unchanged.contains(one.document.source); });
}

// Vectors for the chunks that have no row with one.
task<> Ingest::embed() {
  if (!embedder_) co_return;
  std::vector<std::string> sources;
  for (const Pending& one : pending_) sources.push_back(one.document.source);
  const auto known = co_await embedded_hashes(pool_, collection_, sources, *embedder_id_);
  std::vector<Chunk*> wanted;
  std::vector<std::string> texts;
  for (Pending& one : pending_) {
    for (Chunk& chunk : one.chunks) {
      chunk.kept = !chunk.vector && known.contains({one.document.source, chunk.hash});
      if (chunk.kept || chunk.vector) continue;
      wanted.push_back(&chunk);
      texts.push_back(one.document.title + "\n" + chunk.content);
    }
  }
  for (size_t begin = 0; begin < texts.size(); begin += kBatchChunks) {
    const size_t end = std::min(begin + kBatchChunks, texts.size());
    std::vector<std::string> some(texts.begin() + ptrdiff_t(begin), texts.begin() + ptrdiff_t(end));
    auto vectors = co_await embedder_->embed(std::move(some));
    if (vectors.size() != end - begin)
      throw Error(ErrorCode::kInternalError, fmt::format("the embedder {} gave {} vectors for {} texts",
                                                         embedder_->name(), vectors.size(), end - begin));
    for (size_t i = begin; i < end; ++i) wanted[i]->vector = std::move(vectors[i - begin]);
  }
  counts_.embedded += int64_t(texts.size());
}

// False when a row that was to be kept has gone meanwhile.
task<bool> Ingest::write() {
  std::vector<DocumentRow> documents;
  std::vector<ChunkRow> chunks;
  for (const Pending& one : pending_) {
    const Document& document = one.document;
    documents.push_back({document.source, document.title, document.content, document.metadata, one.hash});
    for (size_t i = 0; i < one.chunks.size(); ++i) {
      const Chunk& chunk = one.chunks[i];
      std::optional<std::string> vector;
      if (chunk.vector) vector = vector_literal(*chunk.vector, collection_);
      chunks.push_back({documents.size() - 1, int32_t(i), chunk.content, chunk.hash, std::move(vector), chunk.kept});
    }
  }
  const auto written = co_await write_rows(pool_, collection_, embedder_id_, documents, chunks);
  if (!written) co_return false;
  counts_.added += written->added;
  counts_.changed += int64_t(documents.size()) - written->added;
  counts_.chunks += written->chunks;
  co_return true;
}

constexpr Statement kRemove{"search_remove", "DELETE FROM search.documents WHERE collection_id = $1 AND source = $2"};

task<> remove_document(db::Pool& pool, std::string collection, std::string source) {
  const Collection found = co_await require_collection(pool, collection);
  const db::Rows gone = co_await pool.query(kRemove, Params::of(found.id, source));
  if (gone.affected() == 0)
    throw not_found("the collection '" + collection + "' has no document with the source '" + source + "'");
}

}  // namespace cairn::search
