// What a load consists of: families of statements, and when each of them arrives.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "db/statement.h"

namespace cairn::workload {

// Draws that are the same everywhere for a seed, as the standard library's distributions are not.
class Random {
 public:
  explicit Random(int64_t seed) : engine_(static_cast<uint64_t>(seed)) {}
  // In [0, 1).
  double chance() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  size_t below(size_t count) { return static_cast<size_t>(chance() * static_cast<double>(count)); }

 private:
  std::mt19937_64 engine_;
};

struct Family {
  std::string name;
  std::string sql;
  // Values for $1, …; empty: it has none.
  std::function<db::Params(Random&)> params = {};
  double weight = 1;
};

// Those of a mix, alike in weight. Throws Error(kInvalidParameterValue) for an unknown name.
std::vector<Family> families_of_mix(const std::string& mix);
// Each statement of each file is a family, named after its file. Throws Error.
std::vector<Family> families_of_files(const std::vector<std::string>& paths);
// The family of that name gets the one statement of a file instead of its own; parameters stay. Throws Error.
void replace_statement(std::vector<Family>& families, const std::string& name, const std::string& path);
// The registry's writes: a run is recorded, a version deployed. `versions`: ids to choose from.
std::vector<Family> write_families(std::vector<std::string> versions);

struct Arrival {
  std::chrono::nanoseconds at{0};  // from the start
  size_t family = 0;
  db::Params params;
};

// Arrivals of a Poisson process: at random times, `rate` a second in the mean, whether or not the earlier ones are
// answered.
class Arrivals {
 public:
  // `families` must outlive it.
  Arrivals(const std::vector<Family>& families, double rate, int64_t seed);
  Arrival next();

 private:
  const std::vector<Family>& families_;
  double rate_;
  double weights_ = 0;
  double at_s_ = 0;
  Random random_;
};

}  // namespace cairn::workload
