#include "demo/sweep.h"

#include <fmt/format.h>

#include <cmath>

#include "base/clock.h"
#include "base/error.h"

namespace cairn::demo {
namespace {

constexpr const char* kApi = "/api/2.0/mlflow/";
constexpr double kDecay = 0.96;  // of the learning rate, with every epoch
constexpr int kBatchSize = 32;
constexpr int kHidden = 32;
constexpr int kMetricsOfEpoch = 5;

using Pairs = std::vector<std::pair<std::string, std::string>>;

void write_pairs(json::Writer& writer, const char* name, const Pairs& pairs) {
  writer.key(name);
  writer.begin_array();
  for (const auto& [key, value] : pairs) {
    writer.begin_object();
    writer.field("key", key);
    writer.field("value", value);
    writer.end_object();
  }
  writer.end_array();
}

void create_run(Client& client, const std::string& experiment_id, Run& run) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("experiment_id", experiment_id);
  writer.field("run_name", describe(run.variant));
  writer.field("start_time", now_ms());
  write_pairs(writer, "tags", {{"mlflow.source.name", "cairn demo"}, {"dataset", "UCI handwritten digits"}});
  writer.end_object();
  const json::Document answer(client.post(std::string(kApi) + "runs/create", body));
  const auto info = answer.root()["run"]["info"];
  run.run_id = std::string_view(info["run_id"]);
  run.artifact_uri = std::string_view(info["artifact_uri"]);
}

void log_params(Client& client, const Run& run) {
  const Variant& variant = run.variant;
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("run_id", run.run_id);
  write_pairs(writer, "params",
              {{"model", variant.model},
               {"hidden_units", std::to_string(variant.hidden)},
               {"learning_rate", fmt::format("{}", variant.learning_rate)},
               {"learning_rate_decay", fmt::format("{}", kDecay)},
               {"l2", fmt::format("{}", variant.l2)},
               {"batch_size", std::to_string(kBatchSize)},
               {"epochs", std::to_string(kEpochs)},
               {"seed", std::to_string(variant.seed)}});
  writer.end_object();
  client.post(std::string(kApi) + "runs/log-batch", body);
}

// accuracy and loss are those of the validation set: they choose the model.
void log_epoch(Client& client, const Run& run, int epoch, double learning_rate, const Score& train) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("run_id", run.run_id);
  writer.key("metrics");
  writer.begin_array();
  const int64_t now = now_ms();  // one for all: the windows join metrics by their time
  const std::initializer_list<std::pair<const char*, double>> metrics = {{"accuracy", run.validation.back().accuracy},
                                                                         {"loss", run.validation.back().loss},
                                                                         {"train_accuracy", train.accuracy},
                                                                         {"train_loss", train.loss},
                                                                         {"learning_rate", learning_rate}};
  for (const auto& [key, value] : metrics) {
    writer.begin_object();
    writer.field("key", key);
    writer.field("value", value);
    writer.field("timestamp", now);
    writer.field("step", epoch);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  client.post(std::string(kApi) + "runs/log-batch", body);
}

void upload_weights(Client& client, const Run& run) {
  const std::string scheme = "mlflow-artifacts:/";
  if (!run.artifact_uri.starts_with(scheme))
    throw Error(ErrorCode::kInternalError, "the server keeps artifacts at " + run.artifact_uri + " instead of itself");
  client.put("/api/2.0/mlflow-artifacts/artifacts/" + run.artifact_uri.substr(scheme.size()) + "/" + kArtifact + "/" +
                 kWeights,
             run.network.to_json());
}

void finish_run(Client& client, const Run& run) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("run_id", run.run_id);
  writer.field("status", "FINISHED");
  writer.field("end_time", now_ms());
  writer.end_object();
  client.post(std::string(kApi) + "runs/update", body);
}

}  // namespace

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const double l2 : {0.0, 1e-4, 1e-3})
    for (const double rate : {0.03, 0.1, 0.3, 1.0}) all.push_back({"softmax", 0, rate, l2, 1});
  for (const double l2 : {0.0, 1e-4, 1e-3})
    for (const double rate : {0.03, 0.1, 0.3, 1.0}) all.push_back({"mlp", kHidden, rate, l2, 1});
  return all;
}

std::string describe(const Variant& variant) {
  return fmt::format("{} lr={} l2={}", variant.model, variant.learning_rate, variant.l2);
}

int points_of_run() { return kEpochs * kMetricsOfEpoch; }

Run train(Client& client, const std::string& experiment_id, const Digits& digits, const Variant& variant) {
  Random random(variant.seed);
  Run run{variant, "", "", Network(variant.hidden, random), {}};
  create_run(client, experiment_id, run);
  log_params(client, run);
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const Training training{variant.learning_rate * std::pow(kDecay, epoch), variant.l2, kBatchSize};
    run.network.train_epoch(digits.train, training, random);
    run.validation.push_back(run.network.evaluate(digits.validation));
    log_epoch(client, run, epoch, training.learning_rate, run.network.evaluate(digits.train));
  }
  upload_weights(client, run);
  finish_run(client, run);
  return run;
}

void log_metric(Client& client, const std::string& run_id, const std::string& key, double value, int step) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("run_id", run_id);
  writer.field("key", key);
  writer.field("value", value);
  writer.field("timestamp", now_ms());
  writer.field("step", step);
  writer.end_object();
  client.post(std::string(kApi) + "runs/log-metric", body);
}

}  // namespace cairn::demo
