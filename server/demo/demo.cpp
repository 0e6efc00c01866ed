#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "demo/api.h"
#include "demo/features.h"
#include "demo/manual.h"
#include "demo/neighbors.h"
#include "demo/queries.h"
#include "demo/report.h"
#include "demo/server_process.h"
#include "demo/sweep.h"
#include "demo/tuning.h"

namespace cairn::demo {
namespace {

constexpr const char* kApi = "/api/2.0/mlflow/";
constexpr double kGoodAccuracy = 0.95;
constexpr const char* kAlias = "champion";
constexpr int kReplicas = 2;

// A body of strings: {"name": "value", …}
std::string object(const std::vector<std::pair<const char*, std::string>>& fields) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  for (const auto& [name, value] : fields) writer.field(name, value);
  writer.end_object();
  return text;
}

std::string text_at(const std::string& answer, const char* pointer) {
  const json::Document document(answer);
  return std::string(std::string_view(document.root().at_pointer(pointer)));
}

std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

Table sweep_table(const std::vector<const Run*>& runs) {
  Table table{{"model", "learning_rate", "l2", "accuracy", "loss"}, {}};
  for (const Run* run : runs) {
    const Score& score = run->validation.back();
    table.rows.push_back({run->variant.model, fmt::format("{}", run->variant.learning_rate),
                          fmt::format("{}", run->variant.l2), fmt::format("{:.4f}", score.accuracy),
                          fmt::format("{:.4f}", score.loss)});
  }
  return table;
}

class Demo {
 public:
  Demo(const Options& options, Report& report) : options_(options), report_(report) {}

  void run();
  bool server_runs() { return server_ && server_->running(); }
  std::string url() const { return server_ ? server_->url() : ""; }

 private:
  void start_server(Step& step);
  void load_data(Step& step);
  void sweep(Step& step);
  void read_back(Step& step);
  void choose(Step& step);
  void register_versions(Step& step);
  void approve(Step& step);
  void promote(Step& step);
  void deploy(Step& step);
  void use_deployed(Step& step);
  void audit(Step& step);
  void vectors(Step& step);
  void features(Step& step);
  void manual(Step& step);
  void ask(const DashboardQuery& query, Step& step);
  void tune();

  Database& database();
  // The best of these runs that the server knows, by validation accuracy, then loss.
  Run& best_run(const std::string& filter);
  std::string create_version(const Run& run, double test_accuracy);
  std::string version_body(const std::string& version, std::vector<std::pair<const char*, std::string>> more) const;

  const Options& options_;
  Report& report_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Tuning> tuning_;
  Digits digits_;
  std::string experiment_id_;
  std::vector<Run> runs_;
  // The best of all, and the best of the other kind of model.
  Run* best_ = nullptr;
  Run* baseline_ = nullptr;
  double best_test_ = 0;
  std::string best_version_;
  std::string baseline_version_;
};

void Demo::run() {
  const auto add = [this](const char* name, void (Demo::*step)(Step&)) {
    report_.step(name, [this, step](Step& current) { (this->*step)(current); });
  };
  report_.title("Handwritten digits, from the data to a deployed model");
  add("server", &Demo::start_server);
  add("data", &Demo::load_data);
  add("sweep", &Demo::sweep);
  add("history", &Demo::read_back);
  add("choose", &Demo::choose);
  add("register", &Demo::register_versions);
  add("approve", &Demo::approve);
  add("promote", &Demo::promote);
  add("deploy", &Demo::deploy);
  add("use", &Demo::use_deployed);
  add("audit", &Demo::audit);
  add("vectors", &Demo::vectors);
  add("features", &Demo::features);
  add("manual", &Demo::manual);
  for (const DashboardQuery& query : dashboard_queries())
    report_.step(query.name, [this, &query](Step& step) { ask(query, step); });
  tune();
}

void Demo::tune() {
  const auto add = [this](const char* name, const char* doing, void (Tuning::*step)(Step&)) {
    report_.step(name, [this, doing, step](Step& current) {
      report_.progress(doing);
      if (!tuning_) tuning_ = std::make_unique<Tuning>(*server_, options_.keep);
      ((*tuning_).*step)(current);
    });
  };
  add("slow", "filling a registry's database that has no indexes, and putting a load on it", &Tuning::slow);
  add("advise", "asking what would make it faster", &Tuning::advise);
  add("prove", "trying that on a copy", &Tuning::prove);
  add("apply", "making what was proved", &Tuning::apply);
  add("tuned", "putting the same load on it again", &Tuning::measure);
}

void Demo::start_server(Step& step) {
  report_.progress("starting a server with a PostgreSQL of its own");
  server_ = std::make_unique<ServerProcess>(options_.port, options_.postgres_bin);
  client_ = std::make_unique<Client>(server_->port());
  const std::string version = client_->get("/version");
  step.figure("url", server_->url());
  step.figure("version", version);
  step.summary = fmt::format("cairn {} listens on {}, with a PostgreSQL of its own", version, server_->url());
}

void Demo::load_data(Step& step) {
  digits_ = load_digits();
  const int train = digits_.train.size(), validation = digits_.validation.size(), test = digits_.test.size();
  step.figure("images", train + validation + test);
  step.figure("train", train);
  step.figure("validation", validation);
  step.figure("test", test);
  require(train + validation + test == 1797, "the data set is not whole");
  step.summary = fmt::format("{} images: {} to learn from, {} to choose the model by, {} to judge it by",
                             with_commas(train + validation + test), with_commas(train), validation, test);
}

void Demo::sweep(Step& step) {
  experiment_id_ = text_at(client_->post(std::string(kApi) + "experiments/create", object({{"name", kExperiment}})),
                           "/experiment_id");
  const std::vector<Variant> all = variants();
  const int requests_before = client_->requests();
  for (const Variant& variant : all) {
    report_.progress(fmt::format("training run {} of {}: {}", runs_.size() + 1, all.size(), describe(variant)));
    runs_.push_back(train(*client_, experiment_id_, digits_, variant));
  }
  const auto runs = static_cast<int>(runs_.size());
  const int requests = client_->requests() - requests_before;
  step.figure("runs", runs);
  step.figure("epochs", runs * kEpochs);
  step.figure("points", runs * points_of_run());
  step.figure("requests", requests);
  step.summary = fmt::format("{} training runs, {} epochs; {} metric points logged in {} requests", runs,
                             with_commas(runs * kEpochs), with_commas(runs * points_of_run()), with_commas(requests));
}

// Every point of every run's validation accuracy, bit by bit.
void Demo::read_back(Step& step) {
  int points = 0;
  for (const Run& run : runs_) {
    const json::Document answer(
        client_->get(std::string(kApi) + "metrics/get-history?metric_key=accuracy&run_id=" + run.run_id));
    size_t epoch = 0;
    for (const auto metric : simdjson::dom::array(answer.root()["metrics"])) {
      require(epoch < run.validation.size() && double(metric["value"]) == run.validation[epoch].accuracy,
              "the history of run " + run.run_id + " is not what was logged");
      ++epoch;
    }
    require(epoch == run.validation.size(), "points of run " + run.run_id + " are missing");
    points += static_cast<int>(epoch);
  }
  step.figure("points", points);
  step.summary =
      fmt::format("{} points of validation accuracy read back, each exactly as it was logged", with_commas(points));
}

Run& Demo::best_run(const std::string& filter) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.key("experiment_ids");
  writer.begin_array();
  writer.string(experiment_id_);
  writer.end_array();
  writer.field("filter", filter);
  writer.key("order_by");
  writer.begin_array();
  writer.string("metrics.accuracy DESC");
  writer.string("metrics.loss ASC");
  writer.end_array();
  writer.field("max_results", 1);
  writer.end_object();
  const std::string id = text_at(client_->post(std::string(kApi) + "runs/search", body), "/runs/0/info/run_id");
  const auto found = std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) { return run.run_id == id; });
  require(found != runs_.end(), "the search found run " + id + ", which is none of this sweep");
  return *found;
}

void Demo::choose(Step& step) {
  best_ = &best_run("attributes.status = 'FINISHED'");
  baseline_ = &best_run(fmt::format("params.model != '{}'", best_->variant.model));
  const auto order = [](const Run& run) {
    return std::pair(-run.validation.back().accuracy, run.validation.back().loss);
  };
  std::vector<const Run*> runs_by_order;
  for (const Run& run : runs_) {
    require(order(*best_) <= order(run), "the search did not find the best run, " + run.run_id);
    runs_by_order.push_back(&run);
  }
  const double accuracy = best_->validation.back().accuracy;
  step.figure("run_id", best_->run_id);
  step.figure("params", describe(best_->variant));
  step.figure("validation_accuracy", accuracy);
  step.figure("baseline_run_id", baseline_->run_id);
  step.figure("baseline_validation_accuracy", baseline_->validation.back().accuracy);
  require(accuracy >= kGoodAccuracy, "the best validation accuracy is only " + percent(accuracy));
  step.summary =
      fmt::format("best of {} by validation accuracy: {}, {}; the best {}: {}", runs_.size(), describe(best_->variant),
                  percent(accuracy), baseline_->variant.model, percent(baseline_->validation.back().accuracy));
  std::sort(runs_by_order.begin(), runs_by_order.end(),
            [&](const Run* a, const Run* b) { return order(*a) < order(*b); });
  step.table = sweep_table(runs_by_order);
}

std::string Demo::create_version(const Run& run, double test_accuracy) {
  log_metric(*client_, run.run_id, "test_accuracy", test_accuracy, kEpochs - 1);
  return text_at(
      client_->post(std::string(kApi) + "model-versions/create", object({{"name", kModel},
                                                                         {"source", run.artifact_uri + "/" + kArtifact},
                                                                         {"run_id", run.run_id},
                                                                         {"description", describe(run.variant)}})),
      "/model_version/version");
}

void Demo::register_versions(Step& step) {
  best_test_ = best_->network.evaluate(digits_.test).accuracy;
  client_->post(std::string(kApi) + "registered-models/create",
                object({{"name", kModel}, {"description", "Reads a handwritten digit from 8 x 8 pixels"}}));
  baseline_version_ = create_version(*baseline_, baseline_->network.evaluate(digits_.test).accuracy);
  best_version_ = create_version(*best_, best_test_);
  step.figure("model", std::string(kModel));
  step.figure("version", best_version_);
  step.figure("baseline_version", baseline_version_);
  step.figure("test_accuracy", best_test_);
  step.summary = fmt::format("model {}: version {} is the best {}, version {} the best of all", kModel,
                             baseline_version_, baseline_->variant.model, best_version_);
}

std::string Demo::version_body(const std::string& version,
                               std::vector<std::pair<const char*, std::string>> more) const {
  more.insert(more.begin(), {{"model", kModel}, {"version", version}});
  return object(more);
}

void Demo::approve(Step& step) {
  client_->patch(std::string("/api/v1/models/") + kModel, R"({"requires_approval": true})");
  const auto refused =
      client_->ask("POST", "/api/v1/deployments", version_body(best_version_, {{"environment", "production"}}));
  require(refused.status == 403,
          "a deployment without an approval was answered with " + std::to_string(refused.status) + " instead of 403");
  const json::Document requested(client_->post(
      "/api/v1/approvals",
      version_body(best_version_, {{"target", "Production"}, {"comment", "best validation accuracy of the sweep"}})));
  const auto id = int64_t(requested.root()["approval"]["approval_id"]);
  const std::string decided = client_->post(fmt::format("/api/v1/approvals/{}/approve", id),
                                            object({{"comment", "test accuracy " + percent(best_test_)}}));
  require(text_at(decided, "/approval/status") == "approved", "the approval is not granted: " + decided);
  step.figure("approval_id", id);
  step.figure("refused_without", refused.status);
  step.summary = fmt::format("production wants an approval: refused without one ({}), then approved", refused.status);
}

void Demo::promote(Step& step) {
  const auto transition = [&](const std::string& version, const char* stage) {
    const std::string answer = client_->post(std::string(kApi) + "model-versions/transition-stage",
                                             object({{"name", kModel}, {"version", version}, {"stage", stage}}));
    require(text_at(answer, "/model_version/current_stage") == stage, "the stage is not " + std::string(stage));
  };
  transition(baseline_version_, "Staging");
  transition(best_version_, "Production");
  client_->post(std::string(kApi) + "registered-models/alias",
                object({{"name", kModel}, {"alias", kAlias}, {"version", best_version_}}));
  const std::string by_alias =
      client_->get(fmt::format("{}registered-models/alias?name={}&alias={}", kApi, kModel, kAlias));
  require(text_at(by_alias, "/model_version/version") == best_version_, "the alias names another version");
  step.figure("alias", std::string(kAlias));
  step.figure("stage", std::string("Production"));
  step.summary = fmt::format("version {} is in stage Production and has the alias {}", best_version_, kAlias);
}

void Demo::deploy(Step& step) {
  client_->post("/api/v1/deployments", version_body(baseline_version_, {{"environment", "staging"}}));
  std::string body = version_body(best_version_, {{"environment", "production"}});
  body.insert(body.size() - 1, fmt::format(",\"replicas\":{}", kReplicas));
  const json::Document answer(client_->post("/api/v1/deployments", body));
  const auto deployment = answer.root()["deployment"];
  require(std::string_view(deployment["status"]) == "active", "the deployment is not active");
  step.figure("deployment_id", int64_t(deployment["deployment_id"]));
  step.figure("environment", std::string("production"));
  step.figure("replicas", kReplicas);
  step.summary = fmt::format("version {} in production with {} replicas, version {} in staging", best_version_,
                             kReplicas, baseline_version_);
}

// As a serving machine does it: what is active in production, where are its weights, what do they say.
void Demo::use_deployed(Step& step) {
  const std::string active =
      client_->get(fmt::format("/api/v1/deployments?model={}&environment=production&status=active", kModel));
  const std::string version = text_at(active, "/deployments/0/version");
  require(version == best_version_, "version " + version + " is active in production instead of " + best_version_);
  const std::string weights =
      client_->get(fmt::format("/model-versions/get-artifact?name={}&version={}&path={}", kModel, version, kWeights));
  const Network network = Network::from_json(weights);
  const double accuracy = network.evaluate(digits_.test).accuracy;
  step.figure("bytes", weights.size());
  step.figure("test_accuracy", accuracy);
  require(network.predict(digits_.test) == best_->network.predict(digits_.test),
          "the deployed model predicts differently from the one that was trained");
  const json::Document logged(
      client_->get(std::string(kApi) + "metrics/get-history?metric_key=test_accuracy&run_id=" + best_->run_id));
  require(double(logged.root()["metrics"].at(0)["value"]) == accuracy,
          "the test accuracy is not the one that was logged");
  step.summary = fmt::format("downloaded from production ({} bytes): test accuracy {}, every prediction the same",
                             with_commas(static_cast<int64_t>(weights.size())), percent(accuracy));
}

void Demo::audit(Step& step) {
  const json::Document answer(client_->get("/api/v1/audit?limit=1000"));
  const auto events = simdjson::dom::array(answer.root()["events"]);
  for (const char* action : {"create", "request", "approve", "transition", "deploy"})
    require(std::any_of(events.begin(), events.end(),
                        [&](const auto event) { return std::string_view(event["action"]) == action; }),
            std::string("the audit log has no event '") + action + "'");
  step.figure("events", events.size());
  step.summary = fmt::format("{} events in the audit log: who did what to the model, and when", events.size());
}

void Demo::vectors(Step& step) {
  if (!vector_available(database())) {
    step.summary =
        "left out: the extension vector is not installed (docs/reference/vector.md says how; ./dev demo has it)";
    return;
  }
  report_.progress("looking for the images nearest to each test image");
  find_neighbors(database(), digits_, step);
}

void Demo::features(Step& step) { keep_features(*client_, digits_, step); }

void Demo::manual(Step& step) {
  if (!manual_available()) {
    step.summary = "left out: PostgreSQL's manual is not installed (apt-get install postgresql-doc-15)";
    return;
  }
  report_.progress("reading PostgreSQL's manual");
  search_manual(*client_, vector_available(database()), step);
}

Database& Demo::database() {
  if (!database_) database_ = std::make_unique<Database>(server_->connection_string());
  return *database_;
}

void Demo::ask(const DashboardQuery& query, Step& step) {
  Database::Result result = database().run(query);
  step.figure("rows", result.table.rows.size());
  step.figure("median_ms", result.median_ms);
  step.figure("query", std::string(query.what));
  require(!result.table.rows.empty(), std::string("no rows: ") + query.what);
  const size_t rows = result.table.rows.size();
  step.summary = fmt::format("{}: {} {} in {:.2f} ms", query.what, rows, rows == 1 ? "row" : "rows", result.median_ms);
  step.table = std::move(result.table);
}

}  // namespace

int run_demo(const Options& options, std::ostream& out) {
  watch_signals();
  Report report(options.json, out);
  Demo demo(options, report);
  demo.run();
  const bool keep = options.keep && demo.server_runs();
  report.finish(demo.url(), keep);
  if (keep) {
    std::cerr << "The server stays up at " << demo.url()
              << ": look at it in a browser, or with mlflow.set_tracking_uri(\"" << demo.url()
              << "\"). Ctrl-C ends it and removes its data." << std::endl;
    while (!stop_wanted() && demo.server_runs()) wait_ms(200);
  }
  return report.held() ? 0 : 1;
}

}  // namespace cairn::demo
