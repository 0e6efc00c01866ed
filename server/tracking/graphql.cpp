#include "tracking/graphql.h"

#include "base/json.h"
#include "http/mlflow.h"
#include "tracking/graphql_query.h"
#include "tracking/graphql_schema.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

// Each is a whole request of its own.
constexpr size_t kMaxTopFields = 16;

struct Source {
  std::string_view field, method, path;
};
constexpr Source kSources[] = {
    {"mlflowGetExperiment", "GET", "/api/2.0/mlflow/experiments/get"},
    {"mlflowGetRun", "GET", "/api/2.0/mlflow/runs/get"},
    {"mlflowGetMetricHistoryBulkInterval", "GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval"},
    {"mlflowListArtifacts", "GET", "/api/2.0/mlflow/artifacts/list"},
    {"mlflowSearchModelVersions", "GET", "/api/2.0/mlflow/model-versions/search"},
    {"mlflowSearchRuns", "POST", "/api/2.0/mlflow/runs/search"},
    {"mlflowSearchDatasets", "POST", "/ajax-api/2.0/mlflow/experiments/search-datasets"}};

const Source& find_source(std::string_view field) {
  for (const Source& source : kSources) {
    if (source.field == field) return source;
  }
  throw Error(ErrorCode::kInternalError, "no source for the GraphQL field " + std::string(field));
}

std::string text_of(simdjson::dom::element value) {
  std::string_view text;
  return value.get(text) ? simdjson::minify(value) : std::string(text);
}

// The request that the argument `input` of a field stands for.
Request request_of(const Request& outer, const Source& source, const GraphqlField& field) {
  Request request;
  request.method = source.method;
  request.path = source.path;
  request.headers = {{"content-type", "application/json"}};
  request.user = outer.user;
  request.request_id = outer.request_id;
  request.traceparent = outer.traceparent;
  json::Writer body(request.body);
  body.begin_object();
  for (const auto& [name, value] : field.arguments) {
    if (name != "input") throw invalid("Unknown argument '" + name + "' on field '" + field.name + "'.");
    const json::Document document(value);
    simdjson::dom::object input;
    if (document.root().get(input)) continue;
    for (const auto [key, member] : input) {
      const std::string snake = snake_case(key);
      simdjson::dom::array items;
      body.key(snake);
      body.raw(simdjson::minify(member));
      if (member.is_null()) continue;
      if (member.get(items)) {
        request.query.emplace_back(snake, text_of(member));
      } else {
        for (const auto item : items) request.query.emplace_back(snake, text_of(item));
      }
    }
  }
  body.end_object();
  return request;
}

constexpr const char* kExperimentToo = "graphql experiment";
constexpr const char* kModelVersionsToo = "graphql modelVersions";

void ask_for_extras(Request& request, const GraphqlField& field) {
  for (const GraphqlField& answer : field.fields) {
    if (answer.name != "run" && answer.name != "runs") continue;
    for (const GraphqlField& of_run : answer.fields) {
      if (of_run.name == "experiment") request.captures[kExperimentToo];
      if (of_run.name == "modelVersions") request.captures[kModelVersionsToo];
    }
  }
}

class Execution {
 public:
  Execution(const http::Router& router, const Request& request) : router_(router), request_(request) {}

  task<Response> run(const std::vector<GraphqlField>& fields) {
    Response response;
    json::Writer writer(response.body);
    writer.begin_object();
    writer.key("data");
    writer.begin_object();
    for (const GraphqlField& field : fields) {
      writer.key(field.alias);
      if (field.name == "__typename") {
        writer.string("Query");
        continue;
      }
      const std::string answer = co_await resolve(field);
      if (answer.empty()) {
        writer.null();
        continue;
      }
      const json::Document document(answer);
      write_graphql(writer, field.fields, graphql_answer_type(field.name), document.root(), errors_);
    }
    writer.end_object();
    write_errors(writer);
    writer.end_object();
    co_return response;
  }

  // In `errors`, where GraphQL has them; null when there are none.
  void write_errors(json::Writer& writer) const {
    writer.key("errors");
    if (errors_.empty()) return writer.null();
    writer.begin_array();
    for (const std::string& error : errors_) writer.string(error);
    writer.end_array();
  }

 private:
  // The REST document of a field; empty when the request was refused. What is the server's fault is thrown.
  task<std::string> resolve(const GraphqlField& field) {
    try {
      const Source& source = find_source(field.name);
      Request request = request_of(request_, source, field);
      ask_for_extras(request, field);
      const http::Router::Match match = router_.match(source.method, source.path);
      const http::Route& route = http::require_route(match, source.method, source.path);
      task<Response> work = route.handler(request);
      co_return (co_await work).body;
    } catch (const Error& error) {
      if (http_status(error.code()) >= 500 || http_status(error.code()) == 429) throw;
      errors_.emplace_back(error.what());
    }
    co_return "";
  }

  const http::Router& router_;
  const Request& request_;
  std::vector<std::string> errors_;
};

std::vector<GraphqlField> read_query(const Request& request) {
  const http::Arguments arguments(request);
  const std::string query = arguments->required_string("query");
  const std::string operation = arguments->string("operationName").value_or("");
  std::vector<GraphqlField> fields;
  if (request.method == "GET") {
    const json::Document variables(arguments->string("variables").value_or("{}"));
    const json::Fields values = json::root_fields(variables);
    fields = parse_graphql(query, operation, &values);
  } else {
    const auto variables = arguments->object("variables");
    fields = parse_graphql(query, operation, variables ? &*variables : nullptr);
  }
  if (fields.size() > kMaxTopFields) throw invalid("The GraphQL query asks for more than 16 things at once.");
  return fields;
}

task<Response> answer(const http::Router& router, Request& request) {
  const std::vector<GraphqlField> fields = read_query(request);
  std::string refusal;
  try {
    check_graphql(fields, "Query");
  } catch (const Error& error) {
    refusal = error.what();
  }
  if (!refusal.empty()) co_return http::json_response(R"({"data":null,"errors":[)" + json::quote(refusal) + "]}");
  Execution execution(router, request);
  co_return co_await execution.run(fields);
}

}  // namespace

RunExtras graphql_extras(const Request& request) {
  return {request.captures.contains(kExperimentToo), request.captures.contains(kModelVersionsToo)};
}

void register_graphql_routes(http::Router& router) {
  const http::Handler handler = [&router](Request& request) { return answer(router, request); };
  router.add("POST", "/graphql", handler);
  router.add("GET", "/graphql", handler);
}

}  // namespace cairn::tracking
