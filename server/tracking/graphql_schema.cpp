#include "tracking/graphql_schema.h"

#include <cmath>
#include <map>
#include <optional>
#include <sstream>

#include "base/error.h"

namespace cairn::tracking {
namespace {

// Each type with its fields; [T] is a list. LongString is an integer that is shown as a string.
constexpr const char* kTypes = R"(
Query { mlflowGetExperiment:MlflowGetExperimentResponse mlflowGetRun:MlflowGetRunResponse
  mlflowGetMetricHistoryBulkInterval:MlflowGetMetricHistoryBulkIntervalResponse
  mlflowListArtifacts:MlflowListArtifactsResponse mlflowSearchModelVersions:MlflowSearchModelVersionsResponse
  mlflowSearchRuns:MlflowSearchRunsResponse mlflowSearchDatasets:MlflowSearchDatasetsResponse }
ApiError { code:String message:String helpUrl:String traceId:String errorDetails:[ErrorDetail] }
ErrorDetail { field:String message:String }
MlflowGetExperimentResponse { experiment:MlflowExperiment apiError:ApiError }
MlflowExperiment { experimentId:String name:String artifactLocation:String lifecycleStage:String
  lastUpdateTime:LongString creationTime:LongString tags:[MlflowExperimentTag] effectiveTraceArchivalRetention:String
  workspace:String }
MlflowExperimentTag { key:String value:String }
MlflowGetMetricHistoryBulkIntervalResponse { metrics:[MlflowMetricWithRunId] apiError:ApiError }
MlflowMetricWithRunId { key:String value:Float timestamp:LongString step:LongString runId:String }
MlflowGetRunResponse { run:MlflowRunExtension apiError:ApiError }
MlflowRunExtension { info:MlflowRunInfo data:MlflowRunData inputs:MlflowRunInputs outputs:MlflowRunOutputs
  experiment:MlflowExperiment modelVersions:[MlflowModelVersion] }
MlflowRunInfo { runId:String runUuid:String runName:String experimentId:String userId:String status:Enum
  startTime:LongString endTime:LongString artifactUri:String lifecycleStage:String }
MlflowRunData { metrics:[MlflowMetricExtension] params:[MlflowParam] tags:[MlflowRunTag] }
MlflowMetricExtension { key:String value:Float timestamp:LongString step:LongString datasetName:String
  datasetDigest:String modelId:String runId:String }
MlflowParam { key:String value:String }
MlflowRunTag { key:String value:String }
MlflowRunInputs { datasetInputs:[MlflowDatasetInput] modelInputs:[MlflowModelInput] }
MlflowDatasetInput { tags:[MlflowInputTag] dataset:MlflowDataset }
MlflowInputTag { key:String value:String }
MlflowDataset { name:String digest:String sourceType:String source:String schema:String profile:String }
MlflowModelInput { modelId:String }
MlflowRunOutputs { modelOutputs:[MlflowModelOutput] }
MlflowModelOutput { modelId:String step:LongString }
MlflowModelVersion { name:String version:String creationTimestamp:LongString lastUpdatedTimestamp:LongString
  userId:String currentStage:String description:String source:String runId:String status:Enum statusMessage:String
  tags:[MlflowModelVersionTag] runLink:String aliases:[String] modelId:String }
MlflowModelVersionTag { key:String value:String }
MlflowListArtifactsResponse { rootUri:String files:[MlflowFileInfo] nextPageToken:String apiError:ApiError }
MlflowFileInfo { path:String isDir:Boolean fileSize:LongString }
MlflowSearchModelVersionsResponse { modelVersions:[MlflowModelVersion] nextPageToken:String apiError:ApiError }
MlflowSearchRunsResponse { runs:[MlflowRunExtension] nextPageToken:String apiError:ApiError }
MlflowSearchDatasetsResponse { datasetSummaries:[MlflowDatasetSummary] apiError:ApiError }
MlflowDatasetSummary { experimentId:String name:String digest:String context:String }
)";

struct FieldType {
  std::string name;
  bool is_list = false;
};
using Types = std::map<std::string, std::map<std::string, FieldType, std::less<>>, std::less<>>;

Types read_types() {
  Types types;
  std::istringstream words(kTypes);
  std::string type, word;
  while (words >> type >> word) {
    while (words >> word && word != "}") {
      const size_t colon = word.find(':');
      const bool is_list = word.ends_with(']');
      const std::string of = is_list ? word.substr(colon + 2, word.size() - colon - 3) : word.substr(colon + 1);
      types[type][word.substr(0, colon)] = {of, is_list};
    }
  }
  return types;
}

const Types& types() {
  static const Types all = read_types();
  return all;
}

using Element = std::optional<simdjson::dom::element>;

Element member(simdjson::dom::element object, const std::string& name) {
  simdjson::dom::element value;
  if (object.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

std::string text_of(simdjson::dom::element value) {
  std::string_view text;
  return value.get(text) ? simdjson::minify(value) : std::string(text);
}

void write_float(json::Writer& writer, const Element& value, std::vector<std::string>& errors) {
  double number = 0;
  if (!value || !value->get(number)) return writer.number(number);
  writer.null();
  std::string shown = text_of(*value);
  for (char& c : shown) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  errors.push_back("Float cannot represent non numeric value: " + shown);
}

void write_value(json::Writer& writer, const GraphqlField& field, const std::string& type, const Element& value,
                 std::vector<std::string>& errors) {
  if (types().contains(type)) return value ? write_graphql(writer, field.fields, type, *value, errors) : writer.null();
  if (type == "Float") return write_float(writer, value, errors);
  if (type == "Boolean") return writer.raw(value ? simdjson::minify(*value) : "false");
  if (type == "Enum" && !value) return writer.null();
  writer.string(value ? text_of(*value) : type == "LongString" ? "0" : "");
}

}  // namespace

void check_graphql(const std::vector<GraphqlField>& fields, std::string_view type) {
  const auto& known = types().find(type)->second;
  for (const GraphqlField& field : fields) {
    if (field.name == "__typename") continue;
    const auto found = known.find(field.name);
    const std::string shown = "'" + field.name + "'";
    if (found == known.end()) throw invalid("Cannot query field " + shown + " on type '" + std::string(type) + "'.");
    const bool is_object = types().contains(found->second.name);
    if (is_object != field.has_selection)
      throw invalid("Field " + shown + " of type '" + found->second.name +
                    (is_object ? "' must have a selection of subfields." : "' has no subfields."));
    if (is_object) check_graphql(field.fields, found->second.name);
  }
}

std::string_view graphql_answer_type(std::string_view field) {
  return types().find("Query")->second.find(field)->second.name;
}

void write_graphql(json::Writer& writer, const std::vector<GraphqlField>& fields, std::string_view type,
                   simdjson::dom::element document, std::vector<std::string>& errors) {
  const auto& known = types().find(type)->second;
  writer.begin_object();
  for (const GraphqlField& field : fields) {
    writer.key(field.alias);
    if (field.name == "__typename") {
      writer.string(type);
      continue;
    }
    const FieldType& of = known.find(field.name)->second;
    const Element value = member(document, snake_case(field.name));
    if (!of.is_list) {
      write_value(writer, field, of.name, value, errors);
      continue;
    }
    writer.begin_array();
    simdjson::dom::array items;
    if (value && !value->get(items)) {
      for (const auto item : items) write_value(writer, field, of.name, item, errors);
    }
    writer.end_array();
  }
  writer.end_object();
}

std::string snake_case(std::string_view camel_case) {
  std::string out;
  for (const char c : camel_case) {
    if (c >= 'A' && c <= 'Z') out += '_';
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

}  // namespace cairn::tracking
