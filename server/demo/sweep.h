// The training runs: each learns, and logs every epoch, its parameters and its weights through the HTTP API.
#pragma once

#include <string>
#include <vector>

#include "demo/client.h"
#include "demo/digits.h"
#include "demo/network.h"

namespace cairn::demo {

constexpr int kEpochs = 40;
constexpr const char* kArtifact = "model";        // the folder that a version's source names
constexpr const char* kWeights = "weights.json";  // in it

struct Variant {
  const char* model;  // softmax or mlp
  int hidden;
  double learning_rate;
  double l2;
  uint64_t seed;
};
std::vector<Variant> variants();
std::string describe(const Variant& variant);

struct Run {
  Variant variant;
  std::string run_id;
  std::string artifact_uri;
  Network network;
  std::vector<Score> validation;  // of each epoch
};

// Trains and logs one run, from create to FINISHED.
Run train(Client& client, const std::string& experiment_id, const Digits& digits, const Variant& variant);
// Metric points that train() logs for a run.
int points_of_run();

void log_metric(Client& client, const std::string& run_id, const std::string& key, double value, int step);

}  // namespace cairn::demo
