// How many requests a second each caller may make. A bucket of tokens for each: it holds what two seconds allow (at
// least one), so that a page may ask for what it needs at once.
//
// Reactor only. Callers are few: users and tokens, and all whom nobody asks for their name together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <unordered_map>

namespace cairn::http {

class RateLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // 0: no limit.
  explicit RateLimit(double per_second) : per_second_(per_second), most_(std::max(1.0, 2 * per_second)) {}

  // Whether the caller may make a request now; else the seconds after which one will be allowed, at least one.
  int seconds_to_wait(const std::string& caller, Time now) {
    if (per_second_ <= 0) return 0;
    Bucket& bucket = buckets_.try_emplace(caller, Bucket{most_, now}).first->second;
    const double seconds = std::chrono::duration<double>(now - bucket.at).count();
    bucket = {std::min(most_, bucket.tokens + seconds * per_second_), now};
    if (bucket.tokens < 1) return std::max(1, static_cast<int>(std::ceil((1 - bucket.tokens) / per_second_)));
    bucket.tokens -= 1;
    return 0;
  }

 private:
  struct Bucket {
    double tokens;
    Time at;
  };
  double per_second_;
  double most_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace cairn::http
