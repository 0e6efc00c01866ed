#include "search/collections.h"

#include "base/error.h"
#include "db/transaction.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

// 22: a value out of its range; 23: a CHECK; 42: a language that there is not; 0A: no extension vector.
[[noreturn]] void explain(const db::DbError& error, const std::string& name) {
  if (error.is_unique_violation())
    throw Error(ErrorCode::kResourceAlreadyExists, "there is a collection '" + name + "' already");
  if (error.sqlstate() == "0A000")
    throw Error(ErrorCode::kNotImplemented,
                std::string(error.what()) +
                    ". Install its package (postgresql-15-cairn-vector, or pgvector 0.8), run "
                    "CREATE EXTENSION vector as a superuser, or make the collection without an embedder");
  const std::string kind = error.sqlstate().substr(0, 2);
  if (kind == "22" || kind == "23" || kind == "42")
    throw invalid("the collection '" + name + "' cannot be made: " + error.what());
  throw error;
}

}  // namespace

const char* Collection::distance() const {
  return embedder.metric == "l2" ? "<->" : embedder.metric == "ip" ? "<#>" : "<=>";
}

constexpr Statement kRequire{
    "search_collection",
    "SELECT collection_id, language, title_weight::float8, body_weight::float8, chunk_size, chunk_overlap, embedder,"
    " embedding_model, base_url, coalesce(dimension, 0), metric, index_kind, coalesce(ef_search, 0),"
    " coalesce(probes, 0) FROM search.collections WHERE name = $1"};

task<Collection> require_collection(db::Pool& pool, std::string name) {
  const db::Rows row = co_await pool.query(kRequire, Params::of(name));
  if (row.empty()) throw not_found("there is no collection '" + name + "': make it with `cairn search create`");
  Collection found;
  found.id = int32_t(row.integer(0, 0));
  found.name = name;
  found.language = row.text(0, 1);
  found.title_weight = row.number(0, 2);
  found.body_weight = row.number(0, 3);
  found.chunk_size = int(row.integer(0, 4));
  found.chunk_overlap = int(row.integer(0, 5));
  found.embedder = {.collection_id = found.id,
                    .kind = row.text(0, 6),
                    .model = row.text(0, 7),
                    .base_url = row.text(0, 8),
                    .dimension = int(row.integer(0, 9)),
                    .metric = row.text(0, 10)};
  found.index_kind = row.text(0, 11);
  found.ef_search = int(row.integer(0, 12));
  found.probes = int(row.integer(0, 13));
  co_return found;
}

constexpr Statement kCreate{
    "search_create",
    "WITH made AS (INSERT INTO search.collections AS c (name, description, language, title_weight, body_weight,"
    " chunk_size, chunk_overlap, metric, index_kind, embedder, embedding_model, base_url, dimension)"
    " VALUES ($1, coalesce($2, ''), coalesce($3, 'english')::regconfig::text, coalesce($4, 1.0), coalesce($5, 0.4),"
    " coalesce($6, 1000), coalesce($7, 100), coalesce($8, 'cosine'), coalesce($9, 'auto'), $10, $11, $12, $13)"
    " RETURNING *) SELECT search.create_chunks(made::search.collections) FROM made"};

task<std::string> create_collection(db::Pool& pool, json::Fields declared) {
  const std::string name = declared.required_string("name");
  EmbedderSettings embedder;
  if (const auto given = declared.object("embedder")) {
    embedder.kind = given->required_string("kind");
    embedder.model = given->string("model").value_or("");
    embedder.base_url = given->string("base_url").value_or("");
    embedder.dimension = int(given->integer("dimension").value_or(0));
    embedder.metric = declared.string("metric").value_or("cosine");
  }
  if (embedder.kind == "own" && embedder.dimension == 0)
    throw invalid("the vectors that you bring have a dimension: give 'dimension' of the embedder");
  if (embedder.kind == "none" && embedder.dimension != 0)
    throw invalid("without an embedder there are no vectors: leave 'dimension' out, or take the kind 'own'");
  if (const auto made = co_await make_embedder(pool, embedder); made && embedder.dimension == 0) {
    const std::vector<std::string> probe = {name};
    embedder.dimension = int((co_await made->embed(probe)).at(0).size());
  }
  Params params;
  params.add(name).add(declared.string("description")).add(declared.string("language"));
  params.add(declared.number("title_weight")).add(declared.number("body_weight"));
  params.add(declared.integer("chunk_size")).add(declared.integer("chunk_overlap"));
  params.add(declared.string("metric")).add(declared.string("index"));
  params.add(embedder.kind).add(embedder.model).add(embedder.base_url);
  params.add(embedder.dimension == 0 ? std::optional<int64_t>() : std::optional<int64_t>(embedder.dimension));
  try {
    co_await pool.query(kCreate, std::move(params));
  } catch (const db::DbError& error) {
    explain(error, name);
  }
  co_return co_await show_collection(pool, name);
}

constexpr Statement kDrop{"search_drop", "SELECT search.drop_collection($1)"};
constexpr Statement kDropModels{"search_drop_models",
                                "DELETE FROM search.embedders WHERE name ^@ ('local:' || $1::int || ':')"};

task<> drop_collection(db::Pool& pool, std::string name) {
  const Collection collection = co_await require_collection(pool, name);
  co_await pool.query(kDrop, Params::of(name));
  co_await pool.query(kDropModels, Params::of(collection.id));
}

// $1: one collection's name, or NULL for all. The number of chunks is the planner's where it knows one: counting them
// would read the table.
constexpr Statement kShow{
    "search_show",
    "SELECT json_build_object('name', c.name, 'description', c.description, 'language', c.language,"
    " 'title_weight', c.title_weight, 'body_weight', c.body_weight, 'chunk_size', c.chunk_size,"
    " 'chunk_overlap', c.chunk_overlap, 'metric', c.metric,"
    " 'embedder', json_build_object('kind', c.embedder, 'model', c.embedding_model, 'base_url', c.base_url,"
    " 'dimension', c.dimension), 'index', c.index_kind, 'ef_search', c.ef_search, 'probes', c.probes,"
    " 'documents', (SELECT count(*) FROM search.documents d WHERE d.collection_id = c.collection_id),"
    " 'chunks', (SELECT greatest(t.reltuples, 0)::bigint FROM pg_class t"
    " WHERE t.oid = to_regclass(search.chunks_table(c.collection_id))),"
    " 'vector_index', (SELECT json_build_object('kind', a.amname, 'valid', x.indisvalid,"
    " 'bytes', pg_relation_size(i.oid)) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
    " JOIN pg_am a ON a.oid = i.relam WHERE x.indrelid = to_regclass(search.chunks_table(c.collection_id))"
    " AND a.amname IN ('hnsw', 'ivfflat') LIMIT 1),"
    " 'created_at', c.created_at)::text"
    " FROM search.collections c WHERE $1::text IS NULL OR c.name = $1 ORDER BY c.name"};

task<std::string> list_collections(db::Pool& pool) {
  const db::Rows rows = co_await pool.query(kShow, Params::of(std::optional<std::string>()));
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("collections");
  out.begin_array();
  for (int row = 0; row < rows.size(); ++row) out.raw(rows.view(row, 0));
  out.end_array();
  out.end_object();
  co_return text;
}

task<std::string> show_collection(db::Pool& pool, std::string name) {
  co_await require_collection(pool, name);
  const std::optional<std::string> one = name;
  const db::Rows rows = co_await pool.query(kShow, Params::of(one));
  if (rows.empty()) throw not_found("the collection '" + name + "' was just dropped");
  co_return rows.text(0, 0);
}

}  // namespace cairn::search
