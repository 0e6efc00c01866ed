#include "features/bulk_http.h"

#include <fmt/format.h>

#include "base/error.h"
#include "features/bulk_write.h"
#include "features/records.h"
#include "features/training_set.h"
#include "features/values.h"
#include "http/json_routes.h"
#include "http/mlflow.h"

namespace cairn::features {
namespace {

using http::Request;
using http::Response;

constexpr uint64_t kMaxBody = uint64_t{1} << 50;  // of CSV, which is streamed
constexpr size_t kMaxJson = 64u << 20;
constexpr int kMaxUnderWay = 4;

// A place among those that have a connection of their own.
class Place {
 public:
  explicit Place(int& count) : count_(count) {
    if (count_ >= kMaxUnderWay)
      throw Error(ErrorCode::kRequestLimitExceeded,
                  fmt::format("{} training sets or writes in bulk are under way: ask again later", count_));
    ++count_;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { --count_; }

 private:
  int& count_;
};

struct PlacedSet : http::BodyStream {
  PlacedSet(std::unique_ptr<Place> its_place, std::unique_ptr<TrainingSet> its_set)
      : place(std::move(its_place)), set(std::move(its_set)) {}
  task<std::optional<std::string>> next() override { return set->next(); }

  std::unique_ptr<Place> place;
  std::unique_ptr<TrainingSet> set;
};

Response csv_response(std::unique_ptr<Place> place, std::unique_ptr<TrainingSet> set) {
  Response response;
  response.content_type = "text/csv; charset=utf-8";
  response.stream = std::make_unique<PlacedSet>(std::move(place), std::move(set));
  return response;
}

std::string field_of(simdjson::dom::element value) {
  std::string_view text;
  if (value.is_null()) return "";
  return csv_field(value.get_string().get(text) == simdjson::SUCCESS ? std::string(text) : simdjson::minify(value));
}

// The caller's columns as CSV, some rows at a time.
class ColumnsCsv : public http::BodyStream {
 public:
  ColumnsCsv(std::shared_ptr<json::Document> document, const Columns& columns)
      : document_(std::move(document)), rows_(row_count(columns)) {
    for (const auto& [name, values] : columns) {
      header_ += (header_.empty() ? "" : ",") + csv_field(name);
      columns_.emplace_back(values.begin());
    }
    header_ += "\n";
  }
  task<std::optional<std::string>> next() override {
    if (row_ == rows_ && header_.empty()) co_return std::nullopt;
    std::string piece = std::exchange(header_, {});
    for (; row_ < rows_ && piece.size() < kPiece; ++row_) {
      for (size_t i = 0; i < columns_.size(); ++i, ++columns_[i - 1]) {
        if (i > 0) piece += ',';
        piece += field_of(*columns_[i]);
      }
      piece += '\n';
    }
    co_return piece;
  }

 private:
  static constexpr size_t kPiece = 64u << 10;
  std::shared_ptr<json::Document> document_;
  std::string header_;
  std::vector<simdjson::dom::array::iterator> columns_;
  size_t row_ = 0, rows_ = 0;
};

TrainingSetRequest request_of(const json::Fields& fields) {
  TrainingSetRequest request;
  request.name = fields.string("name");
  if (request.name && request.name->empty()) throw invalid("a training set's name must not be empty");
  request.features = fields.strings("features");
  request.feature_service = fields.string("feature_service");
  request.full_names = fields.boolean("full_feature_names").value_or(false);
  request.point.late_too = fields.boolean("late_too").value_or(false);
  request.point.known_by = fields.string("known_by");
  request.to_table = fields.string("to_table");
  return request;
}

task<std::string> read_json(http::BodyStream& stream) {
  std::string body;
  while (const auto piece = co_await stream.next()) {
    body += *piece;
    if (body.size() > kMaxJson)
      throw Error(ErrorCode::kPayloadTooLarge,
                  fmt::format("JSON may have {} bytes: send the rows as text/csv", kMaxJson));
  }
  co_return body;
}

struct Asked {
  TrainingSetRequest request;
  Spine spine;
};

task<Asked> read_request(Request& request) {
  Asked asked;
  if (request.header("content-type").starts_with("text/csv")) {
    const http::Arguments arguments(request);
    asked.request = request_of(*arguments);
    asked.spine.csv = std::move(request.stream);
    co_return asked;
  }
  const std::string body = co_await read_json(*request.stream);
  const auto document = std::make_shared<json::Document>(body);
  const json::Fields fields = json::root_fields(*document);
  asked.request = request_of(fields);
  asked.spine.query = fields.string("query");
  asked.spine.table = fields.string("table");
  if (const auto entities = fields.find("entities"))
    asked.spine.csv = std::make_unique<ColumnsCsv>(document, columns_of(*entities));
  co_return asked;
}

Response report_response(const TrainingSetRequest& request, const TrainingSetReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("table", request.to_table);
  out.field("rows", report.rows);
  if (request.name) {
    out.field("name", request.name);
    out.field("sha256", report.sha256);
  }
  out.end_object();
  return http::json_response(std::move(text));
}

task<Response> on_make(FeatureStore& store, Request& request) {
  auto place = std::make_unique<Place>(store.streams_under_way);
  Asked asked = co_await read_request(request);
  const TrainingSetRequest& wanted = asked.request;
  auto set = co_await TrainingSet::make(store.pool, wanted, std::move(asked.spine));
  if (!wanted.to_table) co_return csv_response(std::move(place), std::move(set));
  const TrainingSetReport report = co_await set->finish();
  co_return report_response(wanted, report);
}

std::string name_of(const Request& request) { return request.captures.find("name")->second; }

task<Response> on_again(FeatureStore& store, Request& request) {
  auto place = std::make_unique<Place>(store.streams_under_way);
  auto set = co_await TrainingSet::again(store.pool, name_of(request));
  co_return csv_response(std::move(place), std::move(set));
}

task<std::string> on_list(FeatureStore& store, Request&) { co_return co_await list_training_sets(store.pool); }

task<std::string> on_show(FeatureStore& store, Request& request) {
  co_return co_await show_training_set(store.pool, name_of(request));
}

task<std::string> on_log_input(FeatureStore& store, Request& request) {
  const http::Arguments arguments(request);
  co_await log_training_set(store.pool, name_of(request), arguments->required_string("run_id"));
  co_return "{}";
}

task<std::string> on_remove(FeatureStore& store, Request& request) {
  co_await remove_training_set(store.pool, name_of(request));
  co_return "{}";
}

// text/csv, else PostgreSQL's binary format, whose columns the arguments name.
task<Response> on_write_rows(FeatureStore& store, Request& request) {
  auto place = std::make_unique<Place>(store.streams_under_way);
  BulkWrite write;
  write.view = name_of(request);
  write.binary = !request.header("content-type").starts_with("text/csv");
  {
    const http::Arguments arguments(request);
    write.columns = arguments->strings("columns");
  }
  const BulkReport report = co_await bulk_write(store.pool, std::move(write), std::move(request.stream));
  co_return http::json_response(bulk_report_json(report));
}

constexpr const char* kSets = "/api/v1/features/training-sets";
constexpr http::JsonRoute<FeatureStore> kRoutes[] = {
    {"GET", "/api/v1/features/training-sets", on_list},
    {"GET", "/api/v1/features/training-sets/{name}", on_show},
    {"POST", "/api/v1/features/training-sets/{name}/log-input", on_log_input},
    {"DELETE", "/api/v1/features/training-sets/{name}", on_remove},
};

}  // namespace

void register_bulk_routes(http::Router& router, FeatureStore& store) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(store));
  http::RouteOptions streaming;
  streaming.streaming = true;
  streaming.max_body = kMaxBody;
  router.add(
      "POST", kSets, [&store](Request& request) { return on_make(store, request); }, streaming);
  router.add(
      "POST", "/api/v1/features/views/{name}/rows",
      [&store](Request& request) { return on_write_rows(store, request); }, streaming);
  router.add("GET", std::string(kSets) + "/{name}/data",
             [&store](Request& request) { return on_again(store, request); });
}

}  // namespace cairn::features
