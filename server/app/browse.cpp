// `cairn runs` and `cairn models`: what is in the database, as tables or as the API's own JSON.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "app/local_api.h"
#include "base/error.h"
#include "base/log.h"
#include "base/table.h"

namespace cairn::app {
namespace {

using Element = simdjson::dom::element;
using Row = std::vector<std::string>;

constexpr const char* kApi = "/api/2.0/mlflow/";

// "" where there is no such field.
std::string text_at(const Element& object, const char* name) {
  Element value;
  if (object[name].get(value) || value.is_null()) return "";
  return value.is_string() ? std::string(std::string_view(value)) : simdjson::minify(value);
}

std::string time_at(const Element& object, const char* name) {
  int64_t ms = 0;
  Element value;
  if (object[name].get(value) || value.get(ms)) return "";
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<time_t>(ms / 1000)));
}

// Empty where there is no such field: MLflow's answers leave empty lists out.
std::vector<Element> list_at(const Element& object, const char* name) {
  simdjson::dom::array list;
  if (object[name].get(list)) return {};
  std::vector<Element> items;
  for (const Element item : list) items.push_back(item);
  return items;
}

void print_fields(const std::vector<std::pair<const char*, std::string>>& fields) {
  std::vector<Row> rows;
  for (const auto& [name, value] : fields) {
    if (!value.empty()) rows.push_back({name, value});
  }
  print_table(std::cout, rows, 200);
}

void print_list(const char* title, const Element& object, const char* name, const std::vector<const char*>& columns) {
  std::vector<Row> rows;
  for (const Element item : list_at(object, name)) {
    Row row;
    for (const char* column : columns) row.push_back(text_at(item, column));
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return;
  rows.insert(rows.begin(), Row(columns.begin(), columns.end()));
  std::cout << "\n" << title << "\n";
  print_table(std::cout, rows, 80);
}

struct Browse {
  bool json = false;
  std::string filter, experiment, name;
  std::vector<std::string> ids, order_by, show;
  int64_t limit = 20;
  bool all = false;
};

std::string search_body(const Browse& wanted, const std::string& experiment_id) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  if (!experiment_id.empty()) {
    writer.key("experiment_ids");
    writer.begin_array();
    writer.string(experiment_id);
    writer.end_array();
  }
  writer.field("filter", wanted.filter);
  writer.field("max_results", wanted.limit);
  writer.key("order_by");
  writer.begin_array();
  for (const std::string& order : wanted.order_by) writer.string(order);
  writer.end_array();
  writer.end_object();
  return body;
}

// The value of a metric or param of the run.
std::string value_of(const Element& run, const std::string& key) {
  for (const char* kind : {"metrics", "params"}) {
    for (const Element item : list_at(run["data"], kind)) {
      if (text_at(item, "key") == key) return text_at(item, "value");
    }
  }
  return "";
}

void list_runs(LocalApi& api, const Browse& wanted) {
  const std::string found =
      api.get(std::string(kApi) + "experiments/get-by-name", {{"experiment_name", wanted.experiment}});
  const json::Document experiment(found);
  const std::string id = text_at(experiment.root()["experiment"], "experiment_id");
  const std::string answer = api.post(std::string(kApi) + "runs/search", search_body(wanted, id));
  if (wanted.json) {
    std::cout << answer << "\n";
    return;
  }
  const json::Document parsed(answer);
  Row head{"run_id", "name", "status", "started (UTC)"};
  head.insert(head.end(), wanted.show.begin(), wanted.show.end());
  std::vector<Row> rows{head};
  for (const Element run : list_at(parsed.root(), "runs")) {
    const Element info = run["info"];
    Row row{text_at(info, "run_id"), text_at(info, "run_name"), text_at(info, "status"), time_at(info, "start_time")};
    for (const std::string& key : wanted.show) row.push_back(value_of(run, key));
    rows.push_back(std::move(row));
  }
  if (rows.size() == 1) {
    std::cout << "no runs\n";
    return;
  }
  print_table(std::cout, rows);
  if (!text_at(parsed.root(), "next_page_token").empty()) std::cout << "there are more: raise --limit\n";
}

void show_run(LocalApi& api, const Browse& wanted) {
  const std::string answer = api.get(std::string(kApi) + "runs/get", {{"run_id", wanted.ids.at(0)}});
  if (wanted.json) {
    std::cout << answer << "\n";
    return;
  }
  const json::Document parsed(answer);
  const Element run = parsed.root()["run"], info = run["info"];
  print_fields({{"run", text_at(info, "run_id")},
                {"name", text_at(info, "run_name")},
                {"experiment", text_at(info, "experiment_id")},
                {"status", text_at(info, "status")},
                {"lifecycle", text_at(info, "lifecycle_stage")},
                {"user", text_at(info, "user_id")},
                {"started", time_at(info, "start_time")},
                {"ended", time_at(info, "end_time")},
                {"artifacts", text_at(info, "artifact_uri")}});
  print_list("metrics (last points)", run["data"], "metrics", {"key", "value", "step"});
  print_list("params", run["data"], "params", {"key", "value"});
  print_list("tags", run["data"], "tags", {"key", "value"});
}

void compare_runs(LocalApi& api, const Browse& wanted) {
  LocalApi::Query query;
  for (const std::string& id : wanted.ids) query.emplace_back("run_id", id);
  const std::string answer = api.get("/api/v1/runs/compare", query);
  if (wanted.json) {
    std::cout << answer << "\n";
    return;
  }
  const json::Document parsed(answer);
  Row head{""};
  for (const Element run : list_at(parsed.root(), "runs")) head.push_back(text_at(run, "run_name"));
  std::vector<Row> rows{head};
  for (const char* kind : {"params", "metrics"}) {
    for (const Element item : list_at(parsed.root(), kind)) {
      if (!wanted.all && !bool(item["differs"])) continue;
      Row row{text_at(item, "key")};
      for (const Element value : item["values"].get_array()) {
        row.push_back(value.is_null()     ? "-"
                      : value.is_string() ? std::string(std::string_view(value))
                                          : simdjson::minify(value));
      }
      rows.push_back(std::move(row));
    }
  }
  print_table(std::cout, rows, 32);
  if (!wanted.all) std::cout << "what is equal in all is left out: --all shows it\n";
}

void list_models(LocalApi& api, const Browse& wanted) {
  const std::string answer = api.get(std::string(kApi) + "registered-models/search",
                                     {{"filter", wanted.filter}, {"max_results", std::to_string(wanted.limit)}});
  if (wanted.json) {
    std::cout << answer << "\n";
    return;
  }
  const json::Document parsed(answer);
  std::vector<Row> rows{{"name", "versions", "aliases", "updated (UTC)", "description"}};
  for (const Element model : list_at(parsed.root(), "registered_models")) {
    std::string latest, aliases;
    for (const Element version : list_at(model, "latest_versions")) {
      latest += (latest.empty() ? "" : ", ") + text_at(version, "version") + " " + text_at(version, "current_stage");
    }
    for (const Element alias : list_at(model, "aliases")) {
      aliases += (aliases.empty() ? "" : ", ") + text_at(alias, "alias") + "=" + text_at(alias, "version");
    }
    rows.push_back({text_at(model, "name"), latest, aliases, time_at(model, "last_updated_timestamp"),
                    text_at(model, "description")});
  }
  if (rows.size() == 1) {
    std::cout << "no models\n";
    return;
  }
  print_table(std::cout, rows);
  if (!text_at(parsed.root(), "next_page_token").empty()) std::cout << "there are more: raise --limit\n";
}

void show_model(LocalApi& api, const Browse& wanted) {
  const std::string quoted = "name='" + wanted.name + "'";
  const std::string model = api.get(std::string(kApi) + "registered-models/get", {{"name", wanted.name}});
  const std::string versions = api.get(std::string(kApi) + "model-versions/search", {{"filter", quoted}});
  const std::string deployments = api.get("/api/v1/deployments", {{"model", wanted.name}});
  const std::string approvals = api.get("/api/v1/approvals", {{"model", wanted.name}});
  const json::Document parsed(model), parsed_versions(versions), parsed_deployments(deployments),
      parsed_approvals(approvals);
  if (wanted.json) {
    // The members of the four answers in one object.
    std::string out;
    json::Writer writer(out);
    writer.begin_object();
    for (const json::Document* document : {&parsed, &parsed_versions, &parsed_deployments, &parsed_approvals}) {
      for (const auto field : document->root().get_object()) {
        writer.key(field.key);
        writer.raw(simdjson::minify(field.value));
      }
    }
    writer.end_object();
    std::cout << out << "\n";
    return;
  }
  const Element about = parsed.root()["registered_model"];
  print_fields({{"model", text_at(about, "name")},
                {"description", text_at(about, "description")},
                {"made", time_at(about, "creation_timestamp")},
                {"updated", time_at(about, "last_updated_timestamp")}});
  print_list("versions", parsed_versions.root(), "model_versions", {"version", "current_stage", "run_id", "source"});
  print_list("aliases", about, "aliases", {"alias", "version"});
  print_list("tags", about, "tags", {"key", "value"});
  print_list("deployments", parsed_deployments.root(), "deployments",
             {"deployment_id", "version", "environment", "status", "replicas", "deployed_by"});
  print_list("approvals", parsed_approvals.root(), "approvals",
             {"approval_id", "version", "target", "status", "decided_by"});
}

using Action = void (*)(LocalApi&, const Browse&);

CLI::App* add_action(CommandLine& line, CLI::App* parent, const char* name, const char* help,
                     const std::shared_ptr<Browse>& wanted, Action action) {
  CLI::App* command = line.add(parent, name, help);
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  command->add_flag("--json", wanted->json, "Print the API's answer");
  line.on(command, [&line, wanted, action] {
    log::configure(log::Format::kText, "warn");
    const CommandDatabase database(line.settings());
    LocalApi api(database.connection_string());
    action(api, *wanted);
    return 0;
  });
  return command;
}

}  // namespace

void add_runs(CommandLine& line) {
  CLI::App* runs = line.add("runs", "Look at runs: list, show, compare");
  runs->require_subcommand(1);
  runs->footer("Example: cairn runs list --experiment digits --filter \"metrics.accuracy > 0.9\" --show accuracy");
  auto wanted = std::make_shared<Browse>();
  wanted->experiment = "Default";
  CLI::App* list = add_action(line, runs, "list", "The runs of an experiment, newest first", wanted, list_runs);
  list->add_option("--experiment", wanted->experiment, "Its name")->capture_default_str();
  list->add_option("--filter", wanted->filter, "As in MLflow's search_runs, with OR and parentheses besides");
  list->add_option("--order-by", wanted->order_by, "As in MLflow: \"metrics.accuracy DESC\"");
  list->add_option("--show", wanted->show, "Metrics and params to show as columns");
  list->add_option("--limit", wanted->limit, "At most so many")->check(CLI::Range(1, 50000))->capture_default_str();
  CLI::App* show = add_action(line, runs, "show", "One run with its metrics, params and tags", wanted, show_run);
  show->add_option("run_id", wanted->ids)->required()->expected(1);
  CLI::App* compare =
      add_action(line, runs, "compare", "Runs side by side, as they are at one moment", wanted, compare_runs);
  compare->add_option("run_id", wanted->ids)->required()->expected(2, 100);
  compare->add_flag("--all", wanted->all, "Also what is equal in all of them");
}

void add_models(CommandLine& line) {
  CLI::App* models = line.add("models", "Look at registered models: list, show");
  models->require_subcommand(1);
  models->footer("Example: cairn models show digits --data-dir ~/cairn");
  auto wanted = std::make_shared<Browse>();
  CLI::App* list = add_action(line, models, "list", "The registered models by name", wanted, list_models);
  list->add_option("--filter", wanted->filter, "As in MLflow's search_registered_models");
  list->add_option("--limit", wanted->limit, "At most so many")->check(CLI::Range(1, 1000))->capture_default_str();
  CLI::App* show = add_action(line, models, "show", "A model with its versions, aliases, deployments and approvals",
                              wanted, show_model);
  show->add_option("name", wanted->name)->required();
}

}  // namespace cairn::app
