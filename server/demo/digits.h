// UCI's handwritten digits (data/digits/README.md), split once and for all into what is learnt from, what chooses the
// model, and what the chosen one is judged by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "demo/random.h"

namespace cairn::demo {

constexpr int kPixels = 64;
constexpr int kDigits = 10;

struct Examples {
  std::vector<double> pixels;  // kPixels for each, 0 to 1
  std::vector<int> digits;

  int size() const { return static_cast<int>(digits.size()); }
  const double* image(int index) const { return pixels.data() + static_cast<ptrdiff_t>(index) * kPixels; }
};

struct Digits {
  Examples train;
  Examples validation;
  Examples test;
};

// Throws Error, naming the line, when the text is not what it should be.
Examples parse_digits(std::string_view csv);
// The data that the binary carries: 60 % train, 20 % validation, 20 % test, always the same.
Digits load_digits();

}  // namespace cairn::demo
