// Reads requests and calls collections.h, ingest.h and query.h.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "search/api.h"
#include "search/index.h"
#include "search/json_lines.h"
#include "search/query.h"

namespace cairn::search {
namespace {

using http::Arguments;
using http::Request;
using http::Response;

constexpr size_t kMaxBody = 64u << 20;

std::string name_of(const Request& request) { return request.captures.find("name")->second; }

task<std::string> on_list(db::Pool& pool, Request&) { co_return co_await list_collections(pool); }

task<std::string> on_create(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return co_await create_collection(pool, *arguments);
}

task<std::string> on_show(db::Pool& pool, Request& request) {
  co_return co_await show_collection(pool, name_of(request));
}

task<std::string> on_drop(db::Pool& pool, Request& request) {
  co_await drop_collection(pool, name_of(request));
  co_return "{}";
}

task<std::string> on_search(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  SearchRequest asked = request_of(*arguments);
  const bool highlight = asked.highlight, explain = arguments->boolean("explain").value_or(false);
  Collection collection = co_await require_collection(pool, name_of(request));
  const SearchResult result = co_await search(pool, std::move(collection), std::move(asked));
  co_return as_json(result, highlight, explain);
}

task<std::string> on_embed(db::Pool& pool, Request& request) {
  co_return fmt::format(R"({{"embedded":{}}})", co_await embed_missing(pool, name_of(request)));
}

task<std::string> on_index(db::Pool& pool, Request& request) {
  co_return as_json(co_await care_for_index(pool, name_of(request), {}));
}

task<std::string> on_tune(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const double recall = arguments->number("recall").value_or(0.95);
  const int64_t sample = arguments->integer("sample").value_or(100);
  if (sample < 1 || sample > 10000) throw invalid("'sample' is 1 to 10000 searches");
  co_return as_json(co_await tune_index(pool, name_of(request), recall, int(sample), {}));
}

task<std::string> on_remove(db::Pool& pool, Request& request) {
  const auto source = request.argument("source");
  if (!source) throw invalid("which document: give its ?source=");
  co_await remove_document(pool, name_of(request), std::string(*source));
  co_return "{}";
}

// -- documents in ------------------------------------------------------------------------------------------------

task<std::string> whole_body(Request& request) {
  std::string body;
  while (auto piece = co_await request.stream->next()) {
    body += *piece;
    if (body.size() > kMaxBody)
      throw Error(ErrorCode::kPayloadTooLarge,
                  fmt::format("the body has more than {} bytes: send JSON lines (application/x-ndjson), which have no "
                              "bound together",
                              kMaxBody));
  }
  co_return body;
}

// {"documents": […]}, or one document.
task<> add_json(Ingest& ingest, const std::string& body) {
  const json::Document parsed(body);
  const json::Fields fields = json::root_fields(parsed);
  if (!fields.has("documents")) {
    co_await ingest.add(document_of(fields, "", "the document"));
    co_return;
  }
  // All are read before the first is stored.
  std::vector<Document> documents;
  for (const json::Fields& one : fields.objects("documents"))
    documents.push_back(document_of(one, "", fmt::format("documents[{}]", documents.size())));
  for (Document& document : documents) co_await ingest.add(std::move(document));
}

// A file as it is: ?source= names it, ?title= is its title where it has none of its own.
task<> add_file(Ingest& ingest, const Request& request, const std::string& body, Format format) {
  const auto source = request.argument("source");
  if (!source) throw invalid("a file needs a name: give its ?source=");
  Document document;
  document.source = *source;
  auto work = [&] { return extract(format, body, document.source); };
  Extracted extracted = co_await offload(work);
  document.title = request.argument("title").value_or(extracted.title);
  document.content = std::move(extracted.content);
  co_await ingest.add(std::move(document));
}

task<> build_index(db::Pool& pool, std::string collection) { co_await care_for_index(pool, collection, {}); }

// The index is built after the answer.
task<Response> finished(db::Pool& pool, Ingest& ingest) {
  co_await ingest.finish();
  bool due = false;
  if (ingest.counts().chunks > 0) due = co_await index_is_due(pool, ingest.collection());
  if (due) Reactor::current().spawn("search index", build_index(pool, ingest.collection().name));
  co_return http::json_response(as_json(ingest.counts()));
}

task<Response> on_add(db::Pool& pool, Request& request) {
  const auto ingest = co_await Ingest::open(pool, name_of(request));
  std::string type(request.header("content-type"));
  type.resize(std::min(type.find(';'), type.size()));
  if (type == "application/x-ndjson" || type == "application/jsonl") {
    JsonLines lines(*ingest, std::string(request.argument("source").value_or("line")));
    while (auto piece = co_await request.stream->next()) co_await lines.feed(*piece);
    co_await lines.finish();
    co_return co_await finished(pool, *ingest);
  }
  const std::string body = co_await whole_body(request);
  if (type == "text/html")
    co_await add_file(*ingest, request, body, Format::kHtml);
  else if (type == "text/markdown")
    co_await add_file(*ingest, request, body, Format::kMarkdown);
  else if (type == "text/plain")
    co_await add_file(*ingest, request, body, Format::kText);
  else
    co_await add_json(*ingest, body);
  co_return co_await finished(pool, *ingest);
}

// -- OpenAI ------------------------------------------------------------------------------------------------------

// One query, or several that are joined into one.
std::string query_of(const json::Fields& fields) {
  const auto given = fields.find("query");
  if (given && given->is_string()) return fields.required_string("query");
  std::string text;
  for (const std::string& one : fields.strings("query")) text += (text.empty() ? "" : " ") + one;
  if (text.empty()) throw invalid("'query' is a text, or a list of texts");
  return text;
}

task<std::string> on_vector_store_search(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  SearchRequest asked;
  asked.text = query_of(*arguments);
  asked.k = int(std::clamp<int64_t>(arguments->integer("max_num_results").value_or(10), 1, 50));
  asked.filter = arguments->raw("filters").value_or("");
  double threshold = 0;
  if (const auto ranking = arguments->object("ranking_options"))
    threshold = ranking->number("score_threshold").value_or(0);
  const std::string text = asked.text;
  Collection collection = co_await require_collection(pool, request.captures.find("id")->second);
  SearchResult result = co_await search(pool, std::move(collection), std::move(asked));
  std::erase_if(result.hits, [&](const Hit& hit) { return hit.score < threshold; });
  std::string json;
  json::Writer out(json);
  out.begin_object();
  out.field("object", "vector_store.search_results.page");
  out.key("search_query");
  out.raw("[" + json::quote(text) + "]");
  out.key("data");
  out.begin_array();
  for (const Hit& hit : result.hits) {
    out.begin_object();
    out.field("file_id", fmt::format("file-{}", hit.document_id));
    out.field("filename", hit.source);
    out.field("score", hit.score);
    out.key("attributes");
    out.raw(hit.metadata);
    out.key("content");
    out.raw(R"([{"type":"text","text":)" + json::quote(hit.content) + "}]");
    out.end_object();
  }
  out.end_array();
  out.field("has_more", false);
  out.key("next_page");
  out.null();
  out.end_object();
  co_return json;
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"GET", "/api/v1/collections", on_list},
    {"POST", "/api/v1/collections", on_create},
    {"GET", "/api/v1/collections/{name}", on_show},
    {"DELETE", "/api/v1/collections/{name}", on_drop},
    {"POST", "/api/v1/collections/{name}/search", on_search},
    {"POST", "/api/v1/collections/{name}/embed", on_embed},
    {"POST", "/api/v1/collections/{name}/index", on_index},
    {"POST", "/api/v1/collections/{name}/tune", on_tune},
    {"DELETE", "/api/v1/collections/{name}/documents", on_remove},
    {"POST", "/v1/vector_stores/{id}/search", on_vector_store_search},
};

}  // namespace

void register_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
  router.add("POST", "/api/v1/collections/{name}/documents",
             [&pool](Request& request) { return on_add(pool, request); },
             {.streaming = true, .max_body = std::numeric_limits<uint64_t>::max()});
}

}  // namespace cairn::search
