#include "search/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "db/transaction.h"
#include "search/filter.h"
#include "search/ingest.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

constexpr int kMaxPage = 1000;
constexpr int kMaxCandidates = 10000;
// So many chunks are ranked in some ten milliseconds.
constexpr double kEnoughRows = 5000;

// Where the page before ended. The depth stays that of the first page, because ranks depend on it.
struct Position {
  int64_t depth = 0;
  int64_t seen = 0;
  double score = 0;
  int64_t chunk_id = 0;
};

std::string token_of(const Position& position) {
  return fmt::format("{}:{}:{}:{}", position.depth, position.seen, position.score, position.chunk_id);
}

Position position_of(const std::string& token) {
  Position position;
  const char* at = token.data();
  const char* const end = at + token.size();
  const auto read = [&](auto& value, bool last) {
    const auto [behind, error] = std::from_chars(at, end, value);
    const bool good = error == std::errc() && (last ? behind == end : behind != end && *behind == ':');
    at = good && !last ? behind + 1 : behind;
    return good;
  };
  if (!read(position.depth, false) || !read(position.seen, false) || !read(position.score, false) ||
      !read(position.chunk_id, true) || position.depth < 1 || position.depth > kMaxCandidates || position.seen < 1 ||
      position.seen > kMaxCandidates)
    throw invalid("the page token is none that a search gave");
  return position;
}

// The words of a query, and what is looked for by them.
struct Words {
  std::string match;  // a tsquery; empty: nothing is found by text
  std::vector<std::string> terms;
  std::vector<double> weights;
};

// The statement and its values. Each part is a table `v` or `t` of (chunk_id, distance or score, rank).
class Builder {
 public:
  Builder(const Collection& collection, const SearchRequest& request, Mode mode, const Words& words)
      : collection_(collection), request_(request), mode_(mode) {
    if (mode != Mode::kText) vector_ = bound(vector_literal(*request.vector, collection));
    if (mode != Mode::kVector) {
      if (request.highlight) language_ = bound(collection.language);
      match_ = bound(words.match) + "::tsquery";
      // Words weigh by their rarity; one that is there often counts a little more, in a long chunk a little less.
      const std::string title = words.terms.empty() ? "" : bound(collection.title_weight);
      const std::string body = words.terms.empty() ? "" : bound(collection.body_weight);
      for (size_t i = 0; i < words.terms.size(); ++i)
        score_ += fmt::format(" + {0} * ts_rank(ARRAY[{1}, {1}, {2}, {2}]::float4[], c.content_tsv, {3}::tsquery, 1)",
                              bound(words.weights[i]), body, title, bound(words.terms[i]));
    }
    condition_ = "true";
    if (!request.filter.empty()) {
      const json::Document filter(request.filter);
      condition_ = filter_sql(filter.root(), "c.metadata", params);
    }
  }

  std::string build(const std::optional<Position>& position, int64_t depth) {
    const std::string limit = bound(depth);
    const std::string k = bound(int64_t{request_.k});
    std::string sql = "WITH ";
    if (mode_ != Mode::kText) sql += vector_part(limit) + ", ";
    if (mode_ != Mode::kVector) sql += text_part(limit) + ", ";
    sql += "found AS (" + fused() + "), page AS (SELECT * FROM found";
    if (position)
      sql += fmt::format(" WHERE (-score, chunk_id) > (-{}, {})", bound(position->score), bound(position->chunk_id));
    sql += fmt::format(
        " ORDER BY score DESC, chunk_id LIMIT {}) SELECT p.chunk_id, c.document_id, d.source, c.title, c.content,"
        " c.metadata, c.ordinal::bigint, p.score, p.distance, p.text_score, p.vector_rank, p.text_rank, {}"
        " FROM page p JOIN {} c USING (chunk_id) JOIN search.documents d USING (document_id)"
        " ORDER BY p.score DESC, p.chunk_id",
        k, highlight(), collection_.chunks_table());
    return sql;
  }

  Params params;

 private:
  template <class T>
  std::string bound(T value) {
    params.add(value);
    return fmt::format("${}", params.size());
  }

  std::string distance() const { return fmt::format("c.embedding {} {}::vector", collection_.distance(), vector_); }

  std::string score() const { return "(0::float8" + score_ + ")"; }

  // The index gives the order, so the distance's bound is set on what it gives: the nearest are within it, or none is.
  std::string vector_part(const std::string& limit) {
    std::string bounded = "near.distance IS NOT NULL";
    // Vectors of an older model say nothing beside the query's.
    std::string condition = condition_;
    if (!request_.embedder.empty())
      condition +=
          " AND c.embedder_id = (SELECT embedder_id FROM search.embedders WHERE name = " + bound(request_.embedder) +
          ")";
    if (request_.max_distance) bounded = "near.distance <= " + bound(*request_.max_distance);
    return fmt::format(
        "v AS MATERIALIZED (SELECT chunk_id, distance, row_number() OVER (ORDER BY distance, chunk_id) AS rank FROM"
        " (SELECT c.chunk_id, {0} AS distance FROM {1} c WHERE {2} ORDER BY {0} LIMIT {3}) near WHERE {4})",
        distance(), collection_.chunks_table(), condition, limit, bounded);
  }

  std::string text_part(const std::string& limit) const {
    return fmt::format(
        "t AS MATERIALIZED (SELECT chunk_id, score, row_number() OVER (ORDER BY score DESC, chunk_id) AS rank FROM"
        " (SELECT c.chunk_id, {0} AS score FROM {1} c WHERE c.content_tsv @@ {4}"
        " AND {2} ORDER BY score DESC, chunk_id LIMIT {3}) best)",
        score(), collection_.chunks_table(), condition_, limit, match_);
  }

  std::string fused() {
    if (mode_ == Mode::kVector)
      return "SELECT chunk_id, distance, NULL::float8 AS text_score, rank AS vector_rank, NULL::bigint AS text_rank, " +
             closeness("distance") + " AS score FROM v";
    if (mode_ == Mode::kText)
      return "SELECT chunk_id, NULL::float8 AS distance, score AS text_score, NULL::bigint AS vector_rank,"
             " rank AS text_rank, score FROM t";
    // 10, where the method's authors have 60: better on each judged collection (docs/BENCHMARKS.md).
    if (!request_.weighted)
      return "SELECT chunk_id, v.distance, t.score AS text_score, v.rank AS vector_rank, t.rank AS text_rank,"
             " (coalesce(1.0 / (10 + v.rank), 0) + coalesce(1.0 / (10 + t.rank), 0))::float8 AS score"
             " FROM v FULL JOIN t USING (chunk_id)";
    // A chunk that only one part found is given the other's score too, so that none is judged by half.
    const std::string weight = bound(request_.vector_weight);
    const std::string within =
        request_.max_distance ? " WHERE " + distance() + " <= " + bound(*request_.max_distance) : "";
    return fmt::format(
        "SELECT chunk_id, distance, text_score, vector_rank, text_rank,"
        " {0} * coalesce((closeness - min(closeness) OVER ()) / nullif(max(closeness) OVER () - min(closeness) OVER (),"
        " 0), 1) + (1 - {0}) * coalesce(text_score / nullif(max(text_score) OVER (), 0), 0) AS score FROM"
        " (SELECT *, {1} AS closeness FROM (SELECT chunk_id, coalesce(v.distance, {2}) AS distance,"
        " coalesce(t.score, {3}) AS text_score, v.rank AS vector_rank, t.rank AS text_rank"
        " FROM v FULL JOIN t USING (chunk_id) JOIN {4} c USING (chunk_id){5}) both_parts) scored",
        weight, closeness("distance"), distance(), score(), collection_.chunks_table(), within);
  }

  // Larger is nearer: the cosine, the inner product, or 1 / (1 + L2).
  std::string closeness(const char* distance) const {
    if (collection_.embedder.metric == "l2") return fmt::format("1 / (1 + {})", distance);
    if (collection_.embedder.metric == "ip") return fmt::format("-{}", distance);
    return fmt::format("1 - {}", distance);
  }

  // Marked in text that is safe to show in a page.
  std::string highlight() const {
    if (!request_.highlight || mode_ == Mode::kVector) return "NULL::text";
    return fmt::format(
        "ts_headline({}::regconfig, replace(replace(replace(c.content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), {},"
        " 'StartSel=<b>, StopSel=</b>, MaxFragments=2')",
        language_, match_);
  }

  const Collection& collection_;
  const SearchRequest& request_;
  const Mode mode_;
  std::string vector_, language_, match_, score_, condition_;
};

// The mode that is meant, checked against what there is.
Mode mode_of(const Collection& collection, const SearchRequest& request) {
  const bool vector = request.vector.has_value(), text = !request.text.empty();
  if (!vector && !text) throw invalid("a search needs a 'query' (text), or a 'vector'");
  if ((request.mode == Mode::kText || request.mode == Mode::kHybrid) && !text)
    throw invalid("a search by text needs a 'query'");
  if ((request.mode == Mode::kVector || request.mode == Mode::kHybrid) && !vector)
    throw invalid(collection.embedder.dimension == 0
                      ? "the collection '" + collection.name + "' has no embeddings: it is searched by text"
                      : "the collection '" + collection.name +
                            "' cannot embed the query: give its 'vector', or search by text");
  if (request.mode != Mode::kAuto) return request.mode;
  if (vector && text) return Mode::kHybrid;
  return vector ? Mode::kVector : Mode::kText;
}

Hit hit_of(const db::Rows& rows, int row) {
  Hit hit;
  hit.chunk_id = rows.integer(row, 0);
  hit.document_id = rows.integer(row, 1);
  hit.source = rows.text(row, 2);
  hit.title = rows.text(row, 3);
  hit.content = rows.text(row, 4);
  hit.metadata = rows.text(row, 5);
  hit.ordinal = rows.integer(row, 6);
  hit.score = rows.number(row, 7);
  if (!rows.is_null(row, 8)) hit.distance = rows.number(row, 8);
  if (!rows.is_null(row, 9)) hit.text_score = rows.number(row, 9);
  hit.vector_rank = rows.optional_integer(row, 10);
  hit.text_rank = rows.optional_integer(row, 11);
  hit.highlight = rows.optional_text(row, 12).value_or("");
  return hit;
}

// $1: the chunks' table, without its schema.
constexpr Statement kWords{
    "search_words",
    "SELECT coalesce(search.text_query($1, $2::regconfig, $3, $4)::text, ''), coalesce(array_agg(term::text), '{}'),"
    " coalesce(array_agg(weight), '{}') FROM search.terms($1, $2::regconfig, $3)"};

// Behind a filter also the common words are looked for: of what the rarer ones find, it may let nothing through.
task<Words> words_of(db::Pool& pool, const Collection& collection, const SearchRequest& request) {
  const double enough = request.filter.empty() ? kEnoughRows : std::numeric_limits<double>::infinity();
  const db::Rows row = co_await pool.query(
      kWords, Params::of("chunks_" + std::to_string(collection.id), collection.language, request.text, enough));
  co_return Words{row.text(0, 0), row.texts(0, 1), row.numbers(0, 2)};
}

// How thorough the index's scan is: as tuned, and enough for $3 rows in one go, which are a quarter of ef_search. And
// that a filter does not end it early with pgvector's own extension.
constexpr Statement kScanSettings{
    "search_scan_settings",
    "SELECT set_config('hnsw.ef_search', greatest($1, least(4 * $3, 1000), 40)::text, true),"
    " set_config('ivfflat.probes', greatest($2, 1)::text, true),"
    " set_config('hnsw.iterative_scan', 'strict_order', true),"
    " set_config('ivfflat.iterative_scan', 'relaxed_order', true)"};

}  // namespace

SearchRequest request_of(const json::Fields& fields) {
  SearchRequest request;
  request.text = fields.string("query").value_or("");
  if (const auto vector = fields.find("vector")) {
    simdjson::dom::array numbers;
    if (vector->get(numbers) != simdjson::SUCCESS) throw invalid("'vector' is a list of numbers");
    request.vector.emplace();
    for (const auto number : numbers) {
      double value = 0;
      if (number.get(value) != simdjson::SUCCESS) throw invalid("'vector' is a list of numbers");
      request.vector->push_back(float(value));
    }
  }
  const std::string mode = fields.string("mode").value_or("auto");
  if (mode != "auto" && mode != "vector" && mode != "text" && mode != "hybrid")
    throw invalid("'mode' is auto, vector, text or hybrid, not '" + mode + "'");
  request.mode = mode == "vector"   ? Mode::kVector
                 : mode == "text"   ? Mode::kText
                 : mode == "hybrid" ? Mode::kHybrid
                                    : Mode::kAuto;
  const std::string fusion = fields.string("fusion").value_or("rrf");
  if (fusion != "rrf" && fusion != "weighted") throw invalid("'fusion' is rrf or weighted, not '" + fusion + "'");
  request.weighted = fusion == "weighted";
  request.vector_weight = fields.number("vector_weight").value_or(request.vector_weight);
  const int64_t k = fields.integer("k").value_or(request.k);
  const int64_t candidates = fields.integer("candidates").value_or(0);
  if (k < 1 || k > kMaxPage) throw invalid(fmt::format("'k' is 1 to {}", kMaxPage));
  if (candidates < 0 || candidates > kMaxCandidates)
    throw invalid(fmt::format("'candidates' is 1 to {}", kMaxCandidates));
  if (!(request.vector_weight >= 0 && request.vector_weight <= 1)) throw invalid("'vector_weight' is 0 to 1");
  request.k = int(k);
  request.candidates = int(candidates);
  request.filter = fields.raw("filter").value_or("");
  request.max_distance = fields.number("max_distance");
  request.highlight = fields.boolean("highlight").value_or(false);
  request.page_token = fields.string("page_token").value_or("");
  return request;
}

task<SearchResult> search(db::Pool& pool, Collection collection, SearchRequest request) {
  require_text(request.text, "the query");
  if (!request.vector && !request.text.empty() && request.mode != Mode::kText) {
    if (const auto embedder = co_await make_embedder(pool, collection.embedder)) {
      const std::vector<std::string> texts = {request.text};
      request.vector = (co_await embedder->embed(texts)).at(0);
      request.embedder = embedder->name();
    }
  }
  SearchResult result;
  result.mode = mode_of(collection, request);
  std::optional<Position> position;
  if (!request.page_token.empty()) position = position_of(request.page_token);
  const bool hybrid = result.mode == Mode::kHybrid;
  // A part alone is read as far as the page goes; of two, the depth decides the ranks.
  int64_t depth = request.candidates > 0 ? request.candidates : std::max(10 * request.k, 100);
  if (position && hybrid) depth = position->depth;
  if (!hybrid) depth = (position ? position->seen : 0) + 2 * request.k;
  depth = std::min<int64_t>(depth, kMaxCandidates);
  Words words;
  if (result.mode != Mode::kVector) words = co_await words_of(pool, collection, request);
  Builder builder(collection, request, result.mode, words);
  const std::string sql = builder.build(position, depth);
  std::vector<db::Query> queries;
  if (result.mode != Mode::kText)
    queries.push_back({kScanSettings, Params::of(int64_t{collection.ef_search}, int64_t{collection.probes}, depth)});
  queries.push_back({{"", sql}, std::move(builder.params)});
  auto body = [&](db::Transaction& transaction) -> task<std::vector<db::Rows>> {
    co_return co_await transaction.run_and_commit(queries);
  };
  try {
    const auto answers = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
    const db::Rows& rows = answers.back();
    for (int row = 0; row < rows.size(); ++row) result.hits.push_back(hit_of(rows, row));
  } catch (const db::DbError& error) {
    if (error.sqlstate() == "42P01") throw not_found("the collection '" + collection.name + "' was just dropped");
    if (error.sqlstate().starts_with("22"))
      throw invalid("the search cannot be answered: " + std::string(error.what()));
    throw;
  }
  const int64_t seen = (position ? position->seen : 0) + int64_t(result.hits.size());
  if (int(result.hits.size()) == request.k && seen < kMaxCandidates)
    result.next_page_token = token_of({depth, seen, result.hits.back().score, result.hits.back().chunk_id});
  co_return result;
}

std::string as_json(const SearchResult& result, bool highlight, bool explain) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("mode", result.mode == Mode::kHybrid ? "hybrid" : result.mode == Mode::kVector ? "vector" : "text");
  out.key("results");
  out.begin_array();
  for (const Hit& hit : result.hits) {
    out.begin_object();
    out.field("score", hit.score);
    out.field("source", hit.source);
    out.field("title", hit.title);
    out.field("ordinal", hit.ordinal);
    out.field("chunk_id", hit.chunk_id);
    out.key("metadata");
    out.raw(hit.metadata);
    out.field("content", hit.content);
    if (highlight) out.field("highlight", hit.highlight);
    if (explain) {
      out.key("explain");
      out.begin_object();
      out.field("vector_rank", hit.vector_rank);
      out.field("distance", hit.distance);
      out.field("text_rank", hit.text_rank);
      out.field("text_score", hit.text_score);
      out.end_object();
    }
    out.end_object();
  }
  out.end_array();
  if (!result.next_page_token.empty()) out.field("next_page_token", result.next_page_token);
  out.end_object();
  return text;
}

}  // namespace cairn::search
