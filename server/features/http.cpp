// Reads requests and calls definitions.h and values.h. Feast's endpoints stand at the root, as its client calls them,
// and answer errors in its form.
#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "features/api.h"
#include "features/bulk_http.h"
#include "features/partitions.h"
#include "features/range.h"
#include "features/values.h"
#include "features/vector_search.h"
#include "http/json_routes.h"
#include "http/mlflow.h"

namespace cairn::features {
namespace {

using http::Arguments;
using http::Request;
using http::Response;

constexpr uint64_t kMaxBody = 256u << 20;
constexpr const char* kBinaryType = "application/octet-stream";
constexpr std::chrono::minutes kBetweenHealth{5};

// -- /api/v1/features --------------------------------------------------------------------------------------------

task<std::string> on_list(FeatureStore& store, Request&) { co_return co_await store.definitions.as_json(); }

task<std::string> on_apply(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  co_return co_await store.definitions.apply(*arguments, arguments->boolean("dry_run").value_or(false));
}

task<std::string> on_remove_view(FeatureStore& store, Request& request) {
  co_await store.definitions.remove_view(request.captures.find("name")->second);
  co_return "{}";
}

// -- Feast -------------------------------------------------------------------------------------------------------

// Feast's client raises the class that is named; what is wrong with a request is `detail`, as FastAPI has it.
Response feast_error(const Error& error) {
  std::string text;
  json::Writer out(text);
  const std::string message = error.what();
  const size_t colon = message.find("Exception: ");
  out.begin_object();
  Response response;
  if (colon == std::string::npos) {
    response.status = 422;
    out.field("detail", message);
  } else {
    response.status = message.starts_with("PushSource") ? 422 : 404;
    out.field("module", "feast.errors");
    out.field("class", message.substr(0, colon) + "Exception");
    out.field("message", message.substr(colon + 11));
  }
  out.end_object();
  response.body = colon == std::string::npos ? text : json::quote(text);
  return response;
}

using FeastAction = task<Response> (*)(FeatureStore&, Request&);

http::Handler feast_handler(FeatureStore& store, FeastAction action) {
  return [&store, action](Request& request) -> task<Response> {
    try {
      co_return co_await action(store, request);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidParameterValue && error.code() != ErrorCode::kResourceDoesNotExist) throw;
      co_return feast_error(error);
    }
  };
}

simdjson::dom::element require_field(const json::Fields& fields, std::string_view name) {
  const auto found = fields.find(name);
  if (!found) throw invalid("the field '" + std::string(name) + "' is required");
  return *found;
}

constexpr size_t kMaxQueries = 256, kMaxQueryBytes = 64 << 10;

// Clients ask for the same features again and again, and to work out a long list of names takes as long as to answer.
std::shared_ptr<const FeatureQuery> query_of(FeatureStore& store, std::shared_ptr<const Definitions> definitions,
                                             const json::Fields& fields, const Columns& columns) {
  auto service = fields.string("feature_service");
  if (service && service->empty()) service.reset();  // as Feast's server has it
  const bool full_names = fields.boolean("full_feature_names").value_or(false);
  const auto features = fields.find("features");
  std::string text = (full_names ? "full " : "") + json::quote(service.value_or(""));
  if (features && !service) text += simdjson::minify(*features);
  std::vector<std::string> given;
  for (const auto& [name, values] : columns) {
    text += json::quote(name);
    given.push_back(name);
  }
  const auto known = store.queries.find(text);
  if (known != store.queries.end() && known->second->definitions->version == definitions->version) return known->second;
  auto references =
      service ? references_of_service(*definitions, *service) : references_of(*definitions, fields.strings("features"));
  if (references.empty()) throw invalid("name features or a feature_service");
  const auto query =
      std::make_shared<const FeatureQuery>(std::move(definitions), std::move(references), std::move(given), full_names);
  if (store.queries.size() >= kMaxQueries) store.queries.clear();
  if (text.size() <= kMaxQueryBytes) store.queries[text] = query;
  return query;
}

task<std::string> answer(FeatureStore& store, const json::Fields& fields, AnswerForm form,
                         std::optional<PointInTime> point = std::nullopt) {
  const Columns columns = columns_of(require_field(fields, "entities"));
  auto definitions = co_await store.definitions.remembered();
  for (bool fresh = false;; fresh = true) {
    std::optional<std::string> answered;
    try {
      const auto query = query_of(store, definitions, fields, columns);
      answered = co_await store.reader.read(*query, columns, point, form);
    } catch (const Error& error) {
      // It may have been declared since.
      if (fresh || error.code() != ErrorCode::kResourceDoesNotExist) throw;
    }
    if (answered) co_return std::move(*answered);
    definitions = co_await store.definitions.read();
  }
}

task<Response> on_online_features(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  co_return http::json_response(co_await answer(store, *arguments, AnswerForm::kFeast));
}

// As binary where the client says that it takes it.
task<Response> on_online(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  const bool binary = request.header("accept").find(kBinaryType) != std::string_view::npos;
  Response response = http::json_response({});
  if (binary) response.content_type = kBinaryType;
  response.headers.emplace_back("Vary", "Accept");
  response.body = co_await answer(store, *arguments, binary ? AnswerForm::kBinary : AnswerForm::kColumns);
  co_return response;
}

task<std::string> on_historical_features(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  std::optional<PointInTime> point(std::in_place);
  point->late_too = arguments->boolean("late_too").value_or(false);
  point->known_by = arguments->string("known_by");
  co_return co_await answer(store, *arguments, AnswerForm::kFeast, point);
}

int64_t now_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

task<std::string> on_health(FeatureStore& store, Request&) {
  const std::vector<ViewHealth> health = co_await read_health(store.pool);
  co_return health_json(health, now_us());
}

task<std::string> on_save_baseline(FeatureStore& store, Request&) {
  const int64_t features = co_await save_baselines(store.pool);
  co_return "{\"features\":" + std::to_string(features) + "}";
}

// A range, or windows over it. With GET, `entities` is the same object as JSON text.
task<std::string> on_range(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  std::optional<json::Document> text;
  if (request.method == "GET") text.emplace(arguments->required_string("entities"));
  const Columns entities = columns_of(text ? text->root() : require_field(*arguments, "entities"));
  const auto definitions = co_await store.definitions.read();
  Range range{references_of(*definitions, arguments->strings("features")), arguments->required_string("start"),
              arguments->required_string("end")};
  const auto window_s = arguments->number("window_s");
  try {
    if (window_s) {
      const Windows windows{*window_s, arguments->integer("moving_average").value_or(0)};
      co_return co_await read_windows(store.pool, std::move(range), entities, windows);
    }
    RangePage page{arguments->integer("limit").value_or(1000), arguments->string("page_token")};
    co_return co_await read_range(store.pool, std::move(range), entities, std::move(page));
  } catch (const db::DbError& error) {
    if (!error.sqlstate().starts_with("22")) throw;
    throw invalid("start and end must be times: " + std::string(error.what()));
  }
}

task<Response> on_search(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  for (const char* unknown : {"query_string", "filters"})
    if (arguments->find(unknown))
      throw invalid(std::string(unknown) + " is not searched by: search collections for text");
  const auto definitions = co_await store.definitions.read();
  const auto service = arguments->string("feature_service");
  VectorSearch search = vector_search_of(service ? references_of_service(*definitions, *service)
                                                 : references_of(*definitions, arguments->strings("features")),
                                         require_field(*arguments, "query"), arguments->string("distance_metric"),
                                         arguments->integer("top_k").value_or(10));
  co_return http::json_response(co_await search_vectors(store.pool, std::move(search)));
}

// The rows for each of the views, written as one.
task<> write_columns(FeatureStore& store, const std::vector<const FeatureView*>& views, const Columns& columns,
                     WriteTo to) {
  std::vector<std::pair<int32_t, GivenRows>> rows;
  for (const FeatureView* view : views) rows.emplace_back(view->id, given_rows(*view, columns));
  if (row_count(columns) > 0) co_await write(store.pool, std::move(rows), to);
}

task<Response> on_write(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("feature_view_name");
  const Columns columns = columns_of(require_field(*arguments, "df"));
  const auto definitions = co_await store.definitions.read();
  const std::vector<const FeatureView*> views = {&require_view(*definitions, name)};
  co_await write_columns(store, views, columns, {});
  co_return http::json_response("null");
}

task<Response> on_push(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  const std::string source = arguments->required_string("push_source_name");
  const std::string to = arguments->string("to").value_or("online");
  if (to != "online" && to != "offline" && to != "online_and_offline")
    throw invalid("'to' must be online, offline or online_and_offline, not " + to);
  const Columns columns = columns_of(require_field(*arguments, "df"));
  const auto definitions = co_await store.definitions.read();
  std::vector<const FeatureView*> views;
  for (const FeatureView& view : definitions->views)
    if (view.push_source == source) views.push_back(&view);
  if (views.empty()) throw not_found("PushSourceNotFoundException: Unable to find push source '" + source + "'.");
  // History and latest value are one: what is only latest would be lost to training.
  co_await write_columns(store, views, columns, {.latest = to != "offline", .history = true});
  co_return http::text_response("");
}

// Also /materialize-incremental: what is latest already stays, so there is no last end to start at.
task<Response> on_materialize(FeatureStore& store, Request& request) {
  const Arguments arguments(request);
  const auto start = arguments->string("start_ts");
  const std::string end = arguments->required_string("end_ts");
  const std::vector<std::string> wanted = arguments->strings("feature_views");
  const auto definitions = co_await store.definitions.read();
  std::vector<int32_t> views;
  for (const std::string& name : wanted) views.push_back(require_view(*definitions, name).id);
  if (wanted.empty())
    for (const FeatureView& view : definitions->views) views.push_back(view.id);
  co_await materialize(store.pool, std::move(views), start, end);
  co_return http::json_response("null");
}

constexpr http::JsonRoute<FeatureStore> kRoutes[] = {
    {"GET", "/api/v1/features", on_list},
    {"POST", "/api/v1/features/apply", on_apply},
    {"POST", "/api/v1/features/historical", on_historical_features},
    {"GET", "/api/v1/features/range", on_range},
    {"POST", "/api/v1/features/range", on_range},
    {"GET", "/api/v1/features/health", on_health},
    {"POST", "/api/v1/features/health/baseline", on_save_baseline},
    {"DELETE", "/api/v1/features/views/{name}", on_remove_view},
};

}  // namespace

FeatureStore::FeatureStore(http::Router& router, db::Pool& database)
    : pool(database), definitions(database), reader(database) {
  const http::RouteOptions large{.max_body = kMaxBody};
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(*this), large);
  router.add(
      "POST", "/api/v1/features/online", [this](Request& request) { return on_online(*this, request); }, large);
  router.add("POST", "/get-online-features", feast_handler(*this, on_online_features), large);
  router.add("POST", "/write-to-online-store", feast_handler(*this, on_write), large);
  router.add("POST", "/push", feast_handler(*this, on_push), large);
  for (const char* path : {"/search", "/retrieve-online-documents"})
    router.add("POST", path, feast_handler(*this, on_search));
  router.add("POST", "/materialize", feast_handler(*this, on_materialize));
  router.add("POST", "/materialize-incremental", feast_handler(*this, on_materialize));
  register_bulk_routes(router, *this);
}

task<> FeatureStore::watch_health() {
  for (;;) {
    try {
      health_ = co_await read_health(pool);
    } catch (const Error& error) {
      log::warn("the metrics of features stay as they were: {}", error.what());
    }
    co_await sleep_for(kBetweenHealth);
  }
}

std::string FeatureStore::metrics() const { return health_metrics(health_, now_us()); }

task<> FeatureStore::keep_up() { return keep_partitions_always(pool); }

}  // namespace cairn::features
