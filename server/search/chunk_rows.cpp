#include "search/chunk_rows.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "db/transaction.h"
#include "search/ingest.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;
using db::Transaction;

// What is done with the rows of chunks.
struct Plan {
  std::vector<int64_t> gone;
  std::vector<int64_t> moved;
  std::vector<int32_t> moved_to;
  std::vector<const ChunkRow*> fresh;
};

// Rows that are there, by document and hash.
struct Present {
  int64_t chunk_id = 0;
  int64_t ordinal = 0;
  bool embedded = false;
};
using PresentRows = std::multimap<std::pair<int64_t, std::string>, Present>;

// Each new chunk takes a row with its hash, where there is one that needs no other vector. Nothing where one is missing
// that must be there.
std::optional<Plan> plan_of(PresentRows rows, const std::vector<int64_t>& ids, const std::vector<ChunkRow>& chunks) {
  Plan plan;
  for (const ChunkRow& chunk : chunks) {
    auto [row, end] = rows.equal_range({ids[chunk.document], chunk.hash});
    while (row != end && !row->second.embedded && (chunk.must_be_there || chunk.vector)) ++row;
    if (row == end) {
      if (chunk.must_be_there) return std::nullopt;
      plan.fresh.push_back(&chunk);
      continue;
    }
    if (row->second.ordinal != chunk.ordinal) {
      plan.moved.push_back(row->second.chunk_id);
      plan.moved_to.push_back(chunk.ordinal);
    }
    rows.erase(row);
  }
  for (const auto& [hash, row] : rows) plan.gone.push_back(row.chunk_id);
  return plan;
}

// $1: collection; arrays with an element a document. Ordered, so that of two writers none waits for the other's rows.
constexpr Statement kDocuments{
    "search_write_documents",
    "INSERT INTO search.documents AS d (collection_id, source, title, content, metadata, content_hash)"
    " SELECT $1, source, title, content, metadata::jsonb, decode(hash, 'hex')"
    " FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS g (source, title, content, metadata,"
    " hash) ORDER BY source ON CONFLICT (collection_id, source) DO UPDATE SET title = excluded.title,"
    " content = excluded.content, metadata = excluded.metadata, content_hash = excluded.content_hash,"
    " updated_at = now() RETURNING document_id, source, xmax = 0"};

Params document_params(const Collection& collection, const std::vector<DocumentRow>& documents) {
  std::array<std::vector<std::string>, 5> columns;
  for (const DocumentRow& row : documents) {
    columns[0].push_back(row.source);
    columns[1].push_back(row.title);
    columns[2].push_back(row.content);
    columns[3].push_back(row.metadata);
    columns[4].push_back(row.hash);
  }
  Params params;
  params.add(collection.id);
  for (const auto& column : columns) params.add(column);
  return params;
}

// {0}: the chunks' table; {1}: the condition that a row's vector is the embedder's, $2.
constexpr const char* kPresent =
    "SELECT chunk_id, document_id, ordinal, encode(hash, 'hex'), {1} FROM {0} WHERE document_id = ANY($1)";
constexpr const char* kDelete = "DELETE FROM {} WHERE chunk_id = ANY($1)";
constexpr const char* kMove =
    "UPDATE {} c SET ordinal = g.ordinal FROM unnest($1::bigint[], $2::int[]) AS g (id, ordinal)"
    " WHERE c.chunk_id = g.id";
constexpr const char* kMetadata =
    "UPDATE {} c SET metadata = d.metadata FROM search.documents d WHERE d.document_id = ANY($1)"
    " AND c.document_id = d.document_id AND c.metadata <> d.metadata";
constexpr const char* kInsert =
    "INSERT INTO {0} (document_id, ordinal, title, content, metadata, hash, embedder_id{1})"
    " SELECT d.document_id, g.ordinal, d.title, g.content, d.metadata, decode(g.hash, 'hex'),"
    " CASE WHEN g.vector IS NOT NULL THEN $6::bigint::int END{2}"
    " FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[])"
    " AS g (document_id, ordinal, content, hash, vector)"
    " JOIN search.documents d USING (document_id) ORDER BY g.document_id, g.ordinal";

const char* embedded_condition(const Collection& collection) {
  return collection.embedder.dimension == 0 ? "$2::bigint IS NULL"
                                            : "embedding IS NOT NULL AND embedder_id IS NOT DISTINCT FROM $2::bigint";
}

std::vector<db::Query> chunk_queries(const std::vector<std::string>& texts, const Plan& plan,
                                     const std::vector<int64_t>& ids, std::optional<int64_t> embedder) {
  std::vector<int64_t> documents;
  std::vector<int32_t> ordinals;
  std::vector<std::string> contents, hashes;
  std::vector<std::optional<std::string>> vectors;
  for (const ChunkRow* chunk : plan.fresh) {
    documents.push_back(ids[chunk->document]);
    ordinals.push_back(chunk->ordinal);
    contents.push_back(chunk->content);
    hashes.push_back(chunk->hash);
    vectors.push_back(chunk->vector);
  }
  std::vector<db::Query> queries;
  if (!plan.gone.empty()) queries.push_back({{"", texts[0]}, Params::of(plan.gone)});
  if (!plan.moved.empty()) queries.push_back({{"", texts[1]}, Params::of(plan.moved, plan.moved_to)});
  queries.push_back({{"", texts[2]}, Params::of(ids)});
  if (!documents.empty())
    queries.push_back({{"", texts[3]}, Params::of(documents, ordinals, contents, hashes, vectors, embedder)});
  return queries;
}

}  // namespace

task<std::optional<Written>> write_rows(db::Pool& pool, const Collection& collection, std::optional<int64_t> embedder,
                                        const std::vector<DocumentRow>& documents,
                                        const std::vector<ChunkRow>& chunks) {
  const std::string table = collection.chunks_table();
  const bool vectors = collection.embedder.dimension > 0;
  const std::string present = fmt::format(kPresent, table, embedded_condition(collection));
  const std::vector<std::string> texts = {
      fmt::format(kDelete, table), fmt::format(kMove, table), fmt::format(kMetadata, table),
      fmt::format(kInsert, table, vectors ? ", embedding" : "", vectors ? ", g.vector::vector" : "")};
  auto body = [&](Transaction& transaction) -> task<std::optional<Written>> {
    Written written;
    const db::Rows made = co_await transaction.query(kDocuments, document_params(collection, documents));
    std::map<std::string, int64_t> by_source;
    for (int row = 0; row < made.size(); ++row) {
      by_source[made.text(row, 1)] = made.integer(row, 0);
      written.added += made.boolean(row, 2);
    }
    std::vector<int64_t> ids;
    for (const DocumentRow& document : documents) ids.push_back(by_source.at(document.source));
    const Statement find{"", present};
    const db::Rows found = co_await transaction.query(find, Params::of(ids, embedder));
    PresentRows rows;
    for (int row = 0; row < found.size(); ++row)
      rows.emplace(std::pair(found.integer(row, 1), found.text(row, 3)),
                   Present{found.integer(row, 0), found.integer(row, 2), found.boolean(row, 4)});
    const std::optional<Plan> plan = plan_of(std::move(rows), ids, chunks);
    if (!plan) throw Error(ErrorCode::kAborted, "a chunk is gone");
    written.chunks = int64_t(plan->fresh.size());
    co_await transaction.run_and_commit(chunk_queries(texts, *plan, ids, embedder));
    co_return written;
  };
  try {
    co_return co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  } catch (const db::DbError& error) {
    if (error.is_foreign_key_violation() || error.sqlstate() == "42P01")
      throw not_found("the collection '" + collection.name + "' was just dropped");
    if (error.sqlstate().starts_with("22") || error.sqlstate().starts_with("54"))
      throw invalid("a document cannot be stored: " + std::string(error.what()));
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kAborted) throw;
    co_return std::nullopt;
  }
}

// {0}: the chunks' table.
constexpr const char* kEmbedded =
    "SELECT d.source, encode(c.hash, 'hex') FROM search.documents d JOIN {} c USING (document_id)"
    " WHERE d.collection_id = $1 AND d.source = ANY($2) AND c.embedder_id = $3 AND c.embedding IS NOT NULL";

task<std::set<std::pair<std::string, std::string>>> embedded_hashes(db::Pool& pool, const Collection& collection,
                                                                    std::vector<std::string> sources,
                                                                    int64_t embedder) {
  const std::string sql = fmt::format(kEmbedded, collection.chunks_table());
  const Statement statement{"", sql};
  const db::Rows rows = co_await pool.query(statement, Params::of(collection.id, sources, embedder));
  std::set<std::pair<std::string, std::string>> known;
  for (int row = 0; row < rows.size(); ++row) known.emplace(rows.text(row, 0), rows.text(row, 1));
  co_return known;
}

constexpr Statement kNameEmbedder{"search_name_embedder",
                                  "INSERT INTO search.embedders (name) SELECT $1 WHERE NOT EXISTS (SELECT FROM"
                                  " search.embedders WHERE name = $1) ON CONFLICT DO NOTHING"};
constexpr Statement kEmbedderId{"search_embedder_id",
                                "SELECT embedder_id::bigint FROM search.embedders WHERE name = $1"};

task<int64_t> embedder_id(db::Pool& pool, std::string name) {
  db::Rows row = co_await pool.query(kEmbedderId, Params::of(name));
  if (row.empty()) {
    co_await pool.query(kNameEmbedder, Params::of(name));
    row = co_await pool.query(kEmbedderId, Params::of(name));
  }
  co_return row.integer(0, 0);
}

// $1: the embedder; $2: the last chunk of the batch before. {}: the chunks' table.
constexpr const char* kMissing =
    "SELECT chunk_id, title || E'\\n' || content FROM {} WHERE chunk_id > $2"
    " AND (embedding IS NULL OR embedder_id IS DISTINCT FROM $1::bigint) ORDER BY chunk_id LIMIT 256";
constexpr const char* kEmbed =
    "UPDATE {} c SET embedding = g.vector::vector, embedder_id = $3::bigint::int"
    " FROM unnest($1::bigint[], $2::text[]) AS g (id, vector) WHERE c.chunk_id = g.id";

task<int64_t> embed_missing(db::Pool& pool, std::string name) {
  const Collection collection = co_await require_collection(pool, name);
  const auto embedder = co_await make_embedder(pool, collection.embedder);
  if (!embedder) co_return 0;
  const int64_t id = co_await embedder_id(pool, embedder->name());
  const std::string missing = fmt::format(kMissing, collection.chunks_table());
  const std::string update = fmt::format(kEmbed, collection.chunks_table());
  const Statement find{"", missing}, set{"", update};
  int64_t done = 0;
  for (int64_t last = 0;;) {
    const db::Rows rows = co_await pool.query(find, Params::of(id, last));
    if (rows.empty()) co_return done;
    std::vector<int64_t> ids;
    std::vector<std::string> texts, literals;
    for (int row = 0; row < rows.size(); ++row) {
      ids.push_back(rows.integer(row, 0));
      texts.push_back(rows.text(row, 1));
    }
    const auto vectors = co_await embedder->embed(texts);
    if (vectors.size() != texts.size())
      throw Error(ErrorCode::kInternalError, "the embedder " + embedder->name() + " gave too few vectors");
    for (const auto& vector : vectors) literals.push_back(vector_literal(vector, collection));
    co_await pool.query(set, Params::of(ids, literals, id));
    done += rows.size();
    last = ids.back();
  }
}

}  // namespace cairn::search
