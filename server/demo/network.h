// Dense layers with ReLU between them and softmax at the end, trained by stochastic gradient descent. Without a hidden
// layer it is softmax regression.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "demo/digits.h"
#include "demo/random.h"

namespace cairn::demo {

struct Layer {
  int inputs = 0;
  int outputs = 0;
  std::vector<double> weights;  // outputs × inputs
  std::vector<double> biases;
};

struct Score {
  double loss = 0;  // mean cross-entropy
  double accuracy = 0;
};

struct Training {
  double learning_rate = 0.1;
  double l2 = 0;  // weight of the squared weights in the loss
  int batch_size = 32;
};

class Network {
 public:
  // Random weights; `hidden` units, or none for softmax regression.
  Network(int hidden, Random& random);
  // From to_json()'s text. Throws Error when it is not that.
  static Network from_json(std::string_view text);
  // Reads back to the very same numbers.
  std::string to_json() const;

  // Once through the examples in random order, a step for each batch.
  void train_epoch(const Examples& examples, const Training& training, Random& random);
  Score evaluate(const Examples& examples) const;
  std::vector<int> predict(const Examples& examples) const;

  // The loss's derivatives over these examples, laid out as the layers (for the descent, and its test).
  std::vector<Layer> gradient(const Examples& examples, const std::vector<int>& batch, double l2) const;
  std::vector<Layer>& layers() { return layers_; }

 private:
  Network() = default;
  // The outputs of every layer for one image; the last are probabilities.
  std::vector<std::vector<double>> forward(const double* image) const;

  std::vector<Layer> layers_;
};

}  // namespace cairn::demo
