#include "demo/network.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/json.h"

namespace cairn::demo {
namespace {

constexpr const char* kFormat = "cairn.demo.network/1";

Layer make_layer(int inputs, int outputs) {
  Layer layer{inputs, outputs, {}, {}};
  layer.weights.resize(static_cast<size_t>(inputs) * static_cast<size_t>(outputs));
  layer.biases.resize(static_cast<size_t>(outputs));
  return layer;
}

// out = weights × in + biases
void apply(const Layer& layer, const double* in, std::vector<double>& out) {
  out = layer.biases;
  const double* weight = layer.weights.data();
  for (double& value : out)
    for (int i = 0; i < layer.inputs; ++i) value += *weight++ * in[i];
}

void softmax(std::vector<double>& values) {
  const double greatest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - greatest);
  for (double& value : values) value /= sum;
}

// Adds one example's part to the gradient of a layer and gives the error of the layer's inputs.
std::vector<double> backward(const Layer& layer, const double* in, const std::vector<double>& error, Layer& gradient) {
  std::vector<double> below(static_cast<size_t>(layer.inputs));
  size_t at = 0;
  for (size_t o = 0; o < error.size(); ++o) {
    gradient.biases[o] += error[o];
    for (size_t i = 0; i < below.size(); ++i, ++at) {
      gradient.weights[at] += error[o] * in[i];
      below[i] += error[o] * layer.weights[at];
    }
  }
  return below;
}

void write_numbers(json::Writer& writer, const char* name, const std::vector<double>& numbers) {
  writer.key(name);
  writer.begin_array();
  for (const double number : numbers) writer.number(number);
  writer.end_array();
}

std::vector<double> read_numbers(const simdjson::dom::element& layer, const char* name, size_t count) {
  std::vector<double> numbers;
  for (const auto number : simdjson::dom::array(layer[name])) numbers.push_back(double(number));
  if (numbers.size() != count)
    throw invalid(std::string("the network's ") + name + " are not as many as they should be");
  return numbers;
}

}  // namespace

Network::Network(int hidden, Random& random) {
  if (hidden > 0) layers_.push_back(make_layer(kPixels, hidden));
  layers_.push_back(make_layer(hidden > 0 ? hidden : kPixels, kDigits));
  for (Layer& layer : layers_)
    for (double& weight : layer.weights) weight = random.normal() * std::sqrt(2.0 / layer.inputs);
}

std::vector<std::vector<double>> Network::forward(const double* image) const {
  std::vector<std::vector<double>> outputs(layers_.size());
  const double* in = image;
  for (size_t l = 0; l < layers_.size(); ++l) {
    apply(layers_[l], in, outputs[l]);
    if (l + 1 < layers_.size())
      for (double& value : outputs[l]) value = std::max(value, 0.0);
    in = outputs[l].data();
  }
  softmax(outputs.back());
  return outputs;
}

std::vector<Layer> Network::gradient(const Examples& examples, const std::vector<int>& batch, double l2) const {
  std::vector<Layer> gradients;
  for (const Layer& layer : layers_) gradients.push_back(make_layer(layer.inputs, layer.outputs));
  for (const int index : batch) {
    const auto outputs = forward(examples.image(index));
    std::vector<double> error = outputs.back();
    error[static_cast<size_t>(examples.digits[static_cast<size_t>(index)])] -= 1;
    for (size_t l = layers_.size(); l-- > 0;) {
      const double* in = l == 0 ? examples.image(index) : outputs[l - 1].data();
      error = backward(layers_[l], in, error, gradients[l]);
      if (l == 0) break;
      for (size_t i = 0; i < error.size(); ++i)
        if (outputs[l - 1][i] <= 0) error[i] = 0;
    }
  }
  const double share = 1.0 / static_cast<double>(batch.size());
  for (size_t l = 0; l < layers_.size(); ++l) {
    for (double& value : gradients[l].biases) value *= share;
    for (size_t i = 0; i < gradients[l].weights.size(); ++i)
      gradients[l].weights[i] = gradients[l].weights[i] * share + 2 * l2 * layers_[l].weights[i];
  }
  return gradients;
}

void Network::train_epoch(const Examples& examples, const Training& training, Random& random) {
  std::vector<int> order(static_cast<size_t>(examples.size()));
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(order);
  const auto batch_size = static_cast<size_t>(training.batch_size);
  for (size_t first = 0; first < order.size(); first += batch_size) {
    const auto begin = order.begin() + static_cast<ptrdiff_t>(first);
    const std::vector<int> batch(begin, begin + static_cast<ptrdiff_t>(std::min(batch_size, order.size() - first)));
    const std::vector<Layer> gradients = gradient(examples, batch, training.l2);
    for (size_t l = 0; l < layers_.size(); ++l) {
      const auto descend = [&](std::vector<double>& values, const std::vector<double>& slopes) {
        for (size_t i = 0; i < values.size(); ++i) values[i] -= training.learning_rate * slopes[i];
      };
      descend(layers_[l].weights, gradients[l].weights);
      descend(layers_[l].biases, gradients[l].biases);
    }
  }
}

Score Network::evaluate(const Examples& examples) const {
  Score score;
  for (int index = 0; index < examples.size(); ++index) {
    const std::vector<double> probabilities = forward(examples.image(index)).back();
    const auto digit = static_cast<size_t>(examples.digits[static_cast<size_t>(index)]);
    score.loss -= std::log(std::max(probabilities[digit], 1e-300));
    score.accuracy += std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin() ==
                      static_cast<ptrdiff_t>(digit);
  }
  score.loss /= examples.size();
  score.accuracy /= examples.size();
  return score;
}

std::vector<int> Network::predict(const Examples& examples) const {
  std::vector<int> digits;
  for (int index = 0; index < examples.size(); ++index) {
    const std::vector<double> probabilities = forward(examples.image(index)).back();
    digits.push_back(
        static_cast<int>(std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin()));
  }
  return digits;
}

std::string Network::to_json() const {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("format", kFormat);
  writer.key("layers");
  writer.begin_array();
  for (const Layer& layer : layers_) {
    writer.begin_object();
    writer.field("inputs", layer.inputs);
    writer.field("outputs", layer.outputs);
    write_numbers(writer, "weights", layer.weights);
    write_numbers(writer, "biases", layer.biases);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return text;
}

Network Network::from_json(std::string_view text) {
  const json::Document document(text);
  Network network;
  try {
    if (std::string_view(document.root()["format"]) != kFormat)
      throw invalid("this is no network of the demonstration");
    for (const auto element : simdjson::dom::array(document.root()["layers"])) {
      Layer layer{static_cast<int>(int64_t(element["inputs"])), static_cast<int>(int64_t(element["outputs"])), {}, {}};
      layer.weights = read_numbers(element, "weights", static_cast<size_t>(layer.inputs * layer.outputs));
      layer.biases = read_numbers(element, "biases", static_cast<size_t>(layer.outputs));
      network.layers_.push_back(std::move(layer));
    }
  } catch (const simdjson::simdjson_error& error) {
    throw invalid(std::string("this is no network of the demonstration: ") + error.what());
  }
  const auto fits = [&](size_t l) {
    return network.layers_[l].inputs == (l == 0 ? kPixels : network.layers_[l - 1].outputs);
  };
  bool whole = !network.layers_.empty() && network.layers_.back().outputs == kDigits;
  for (size_t l = 0; l < network.layers_.size(); ++l) whole = whole && fits(l);
  if (!whole) throw invalid("the network's layers do not fit together");
  return network;
}

}  // namespace cairn::demo
