#include "demo/digits.h"

#include <numeric>
#include <string>

#include "base/error.h"
#include "embedded/digits.h"

namespace cairn::demo {
namespace {

constexpr double kBlack = 16;
constexpr uint64_t kSplitSeed = 1998;

// A pixel is one digit to the base 17.
int pixel_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'g' ? c - 'a' + 10 : -1;
}

Error bad_line(int line) {
  return Error(ErrorCode::kInternalError,
               "digits.csv, line " + std::to_string(line) + ": expected a digit, a comma and 64 pixels of 0-9 and a-g");
}

Examples pick(const Examples& all, const std::vector<int>& order, size_t first, size_t end) {
  Examples some;
  for (size_t i = first; i < end; ++i) {
    const double* image = all.image(order[i]);
    some.pixels.insert(some.pixels.end(), image, image + kPixels);
    some.digits.push_back(all.digits[static_cast<size_t>(order[i])]);
  }
  return some;
}

}  // namespace

Examples parse_digits(std::string_view csv) {
  Examples examples;
  int line_number = 0;
  while (!csv.empty()) {
    const std::string_view line = csv.substr(0, csv.find('\n'));
    csv.remove_prefix(std::min(line.size() + 1, csv.size()));
    if (++line_number == 1) continue;  // the columns' names
    if (line.size() != kPixels + 2 || line[0] < '0' || line[0] > '9' || line[1] != ',') throw bad_line(line_number);
    examples.digits.push_back(line[0] - '0');
    for (const char c : line.substr(2)) {
      const int value = pixel_value(c);
      if (value < 0) throw bad_line(line_number);
      examples.pixels.push_back(value / kBlack);
    }
  }
  return examples;
}

Digits load_digits() {
  const Examples all = parse_digits(embedded_digits("digits.csv"));
  std::vector<int> order(static_cast<size_t>(all.size()));
  std::iota(order.begin(), order.end(), 0);
  Random(kSplitSeed).shuffle(order);
  const size_t fifth = order.size() / 5;
  return {pick(all, order, 2 * fifth, order.size()), pick(all, order, fifth, 2 * fifth), pick(all, order, 0, fifth)};
}

}  // namespace cairn::demo
