#include "search/cli.h"

#include <fmt/format.h>

#include <iostream>

#include "base/error.h"
#include "base/table.h"
#include "search/files.h"
#include "search/filter.h"
#include "search/index.h"
#include "search/query.h"

namespace cairn::search {
namespace {

db::PoolOptions pool_options(const SearchOptions& options) {
  db::PoolOptions pool;
  pool.connection_string = options.connection_string;
  pool.size = 2;
  return pool;
}

// What a command needs, made for its run.
struct Session {
  explicit Session(const SearchOptions& options) : pool(pool_options(options)) {}
  Reactor reactor;
  db::Pool pool;
};

Say say_to(std::ostream& progress) {
  return [&progress](const std::string& line) { progress << line << std::endl; };
}

void print_index(const IndexReport& report, std::ostream& out) {
  if (report.built)
    out << fmt::format("{} index over {} vectors, built in {:.1f} s\n", report.plan.kind, report.vectors,
                       report.seconds);
  else if (report.plan.kind == "none")
    out << fmt::format("no index: {} vectors{}\n", report.vectors,
                       report.vectors < kIndexFrom
                           ? fmt::format(", and below {} a search without one is fast enough", kIndexFrom)
                           : "");
  else
    out << report.plan.kind << " index: as it should be\n";
}

}  // namespace

int run_create(const SearchOptions& options, std::ostream& out, std::ostream&) {
  Session session(options);
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("name", options.name);
  writer.field("language", options.language);
  writer.field("metric", options.metric);
  writer.field("index", options.index);
  writer.field("chunk_size", options.chunk_size);
  writer.field("chunk_overlap", options.chunk_overlap);
  writer.key("embedder");
  writer.begin_object();
  writer.field("kind", options.embedder);
  writer.field("model", options.model);
  writer.field("base_url", options.base_url);
  if (options.dimension > 0) writer.field("dimension", options.dimension);
  writer.end_object();
  writer.end_object();
  const json::Document declared(text);
  const std::string made = session.reactor.block_on(create_collection(session.pool, json::root_fields(declared)));
  if (options.json)
    out << made << "\n";
  else
    out << "made the collection " << on_one_line(options.name) << "; add to it with `cairn search add "
        << on_one_line(options.name) << " FILES`\n";
  return 0;
}

int run_add(const SearchOptions& options, std::ostream& out, std::ostream& progress) {
  Session session(options);
  const auto begun = std::chrono::steady_clock::now();
  const FilesReport report =
      session.reactor.block_on(add_files(session.pool, options.name, options.files, options.bulk, say_to(progress)));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  for (const std::string& failure : report.failures) progress << "error: " << failure << "\n";
  if (options.json) {
    out << as_json(report.counts) << "\n";
  } else {
    const IngestCounts& counts = report.counts;
    out << fmt::format("{} added, {} changed, {} unchanged; {} chunks written, {} embedded, in {:.1f} s\n",
                       counts.added, counts.changed, counts.unchanged, counts.chunks, counts.embedded, seconds);
    if (report.index.built) print_index(report.index, out);
  }
  return report.failures.empty() ? 0 : exit_code(ErrorCode::kInvalidParameterValue);
}

int run_query(const SearchOptions& options, std::ostream& out, std::ostream&) {
  Session session(options);
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("query", options.query);
  writer.field("mode", options.mode);
  writer.field("fusion", options.fusion);
  writer.field("k", options.k);
  writer.field("highlight", !options.json);
  if (!options.where.empty()) {
    std::string filters;
    for (const std::string& where : options.where) filters += (filters.empty() ? "" : ",") + filter_json(where);
    writer.key("filter");
    writer.raw(R"({"type":"and","filters":[)" + filters + "]}");
  }
  writer.end_object();
  const json::Document asked(text);
  Collection collection = session.reactor.block_on(require_collection(session.pool, options.name));
  const SearchResult result =
      session.reactor.block_on(search(session.pool, std::move(collection), request_of(json::root_fields(asked))));
  if (options.json) {
    out << as_json(result, false, options.explain) << "\n";
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{"score", "source", "title", "text"}};
  if (options.explain) rows[0].insert(rows[0].begin() + 1, {"by vector", "by text"});
  const auto rank = [](const std::optional<int64_t>& value) { return value ? std::to_string(*value) : "-"; };
  for (const Hit& hit : result.hits) {
    std::string shown = hit.content;
    if (!hit.highlight.empty()) shown = plain_highlight(hit.highlight);
    rows.push_back(
        {fmt::format("{:.4f}", hit.score), on_one_line(hit.source), on_one_line(hit.title), on_one_line(shown)});
    if (options.explain) rows.back().insert(rows.back().begin() + 1, {rank(hit.vector_rank), rank(hit.text_rank)});
  }
  if (rows.size() == 1)
    out << "nothing found\n";
  else
    print_table(out, rows, 80);
  return 0;
}

int run_list(const SearchOptions& options, std::ostream& out, std::ostream&) {
  Session session(options);
  const std::string text = session.reactor.block_on(list_collections(session.pool));
  if (options.json) {
    out << text << "\n";
    return 0;
  }
  const json::Document document(text);
  std::vector<std::vector<std::string>> rows = {{"collection", "language", "documents", "chunks", "embedder", "index"}};
  for (const auto one : document.root()["collections"].get_array()) {
    std::string index = "-";
    std::string_view kind;
    if (one["vector_index"]["kind"].get(kind) == simdjson::SUCCESS) index = kind;
    if (index != "-" && !one["vector_index"]["valid"].get_bool().value()) index += " (invalid)";
    std::string embedder(one["embedder"]["kind"].get_string().value());
    int64_t dimension = 0;
    if (one["embedder"]["dimension"].get(dimension) == simdjson::SUCCESS) embedder += fmt::format(" {}", dimension);
    rows.push_back({on_one_line(std::string(one["name"].get_string().value())),
                    std::string(one["language"].get_string().value()),
                    std::to_string(one["documents"].get_int64().value()),
                    std::to_string(one["chunks"].get_int64().value()), embedder, index});
  }
  if (rows.size() == 1)
    out << "no collections; make one with `cairn search create NAME`\n";
  else
    print_table(out, rows);
  return 0;
}

int run_drop(const SearchOptions& options, std::ostream& out, std::ostream&) {
  Session session(options);
  session.reactor.block_on(drop_collection(session.pool, options.name));
  out << "dropped the collection " << on_one_line(options.name) << " with its documents\n";
  return 0;
}

int run_index(const SearchOptions& options, std::ostream& out, std::ostream& progress) {
  Session session(options);
  const IndexReport report = session.reactor.block_on(care_for_index(session.pool, options.name, say_to(progress)));
  if (options.json)
    out << as_json(report) << "\n";
  else
    print_index(report, out);
  return 0;
}

int run_tune(const SearchOptions& options, std::ostream& out, std::ostream& progress) {
  Session session(options);
  const TuneReport report = session.reactor.block_on(
      tune_index(session.pool, options.name, options.recall, options.sample, say_to(progress)));
  if (options.json) {
    out << as_json(report) << "\n";
  } else if (report.steps.empty()) {
    out << "there is no index: each search is exact\n";
  } else {
    std::vector<std::vector<std::string>> rows = {{report.setting, "recall", "ms a search"}};
    for (const TuneStep& step : report.steps)
      rows.push_back({std::to_string(step.setting), fmt::format("{:.3f}", step.recall),
                      fmt::format("{:.2f}", step.latency_ms_mean)});
    rows.push_back({"exact", "1.000", fmt::format("{:.2f}", report.exact_ms_mean)});
    print_table(out, rows);
    out << fmt::format("{} = {} from now on{}\n", report.setting, report.steps.back().setting,
                       report.reached ? "" : fmt::format(": the most there is; {} was not reached", report.wanted));
  }
  return report.reached ? 0 : 1;
}

}  // namespace cairn::search
