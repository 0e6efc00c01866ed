// The demonstration's learning is real: the gradient is the loss's, the data is whole, and a saved network is the same.
#include "demo/network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace cairn::demo {
namespace {

TEST(Digits, AreAllThereAndSplitWithoutOverlap) {
  const Digits digits = load_digits();
  EXPECT_EQ(digits.train.size() + digits.validation.size() + digits.test.size(), 1797);
  EXPECT_EQ(digits.validation.size(), 359);
  EXPECT_EQ(digits.test.size(), 359);
  // UCI's documentation counts the images of each digit.
  const std::vector<int> expected{178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
  std::vector<int> counts(10);
  for (const Examples* part : {&digits.train, &digits.validation, &digits.test})
    for (const int digit : part->digits) ++counts[static_cast<size_t>(digit)];
  EXPECT_EQ(counts, expected);
}

TEST(Digits, SayWhichLineIsWrong) {
  const std::string good = "1," + std::string(64, 'g') + "\n";
  EXPECT_EQ(parse_digits("digit,pixels\n" + good).size(), 1);
  EXPECT_THROW(parse_digits("digit,pixels\n" + good + "1,000\n"), Error);
  EXPECT_THROW(parse_digits("digit,pixels\n1," + std::string(64, 'h') + "\n"), Error);
}

// The mean cross-entropy of the batch and the penalty, as the gradient's definition has it.
double loss_of(const Network& network, const Examples& examples, double l2, std::vector<Layer>& layers) {
  double squares = 0;
  for (const Layer& layer : layers)
    for (const double weight : layer.weights) squares += weight * weight;
  return network.evaluate(examples).loss + l2 * squares;
}

TEST(Network, GradientIsTheSlopeOfTheLoss) {
  Examples few = load_digits().test;
  few.digits.resize(20);
  few.pixels.resize(20 * kPixels);
  std::vector<int> batch(20);
  std::iota(batch.begin(), batch.end(), 0);
  for (const int hidden : {0, 7}) {
    Random random(5);
    Network network(hidden, random);
    const double l2 = 0.01, step = 1e-6;
    const std::vector<Layer> gradients = network.gradient(few, batch, l2);
    for (size_t l = 0; l < gradients.size(); ++l) {
      for (size_t i = 0; i < gradients[l].weights.size(); i += 13) {
        double& weight = network.layers()[l].weights[i];
        const double before = weight;
        weight = before + step;
        const double above = loss_of(network, few, l2, network.layers());
        weight = before - step;
        const double below = loss_of(network, few, l2, network.layers());
        weight = before;
        EXPECT_NEAR(gradients[l].weights[i], (above - below) / (2 * step), 1e-6) << hidden << " " << l << " " << i;
      }
    }
  }
}

TEST(Network, LearnsAndIsTheSameAfterSaving) {
  const Digits digits = load_digits();
  Random random(1);
  Network network(16, random);
  for (int epoch = 0; epoch < 20; ++epoch) network.train_epoch(digits.train, Training{}, random);
  EXPECT_GT(network.evaluate(digits.test).accuracy, 0.9);
  const Network loaded = Network::from_json(network.to_json());
  EXPECT_EQ(loaded.predict(digits.test), network.predict(digits.test));
  EXPECT_EQ(loaded.to_json(), network.to_json());
}

TEST(Network, RefusesWhatIsNone) {
  EXPECT_THROW(Network::from_json("{}"), Error);
  EXPECT_THROW(Network::from_json("]"), Error);
  EXPECT_THROW(Network::from_json(R"({"format":"cairn.demo.network/1","layers":[{"inputs":2,"outputs":1,)"
                                  R"("weights":[1],"biases":[0]}]})"),
               Error);
}

}  // namespace
}  // namespace cairn::demo
