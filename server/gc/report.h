// What a collection did, for the user.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace cairn::gc {

// Counts everything, but names only so many, for memory's sake.
struct Report {
  struct Named {
    std::string kind, id, why;
  };
  struct List {
    static constexpr size_t kNamed = 100;
    int64_t count = 0;
    std::vector<Named> first;
    void add(Named entry) {
      ++count;
      if (first.size() < kNamed) first.push_back(std::move(entry));
    }
  };
  bool dry_run = false;
  int64_t runs = 0, logged_models = 0, experiments = 0;
  // Directories of artifacts that were looked for and removed.
  int64_t artifacts = 0;
  // Kept on purpose.
  List kept;
  // Artifacts that lie where this server does not keep any, or in a place that others may share: left there.
  List elsewhere;
  // Artifacts that could not be removed; what they belong to is kept.
  List failed;
};

void print(const Report& report, bool as_json, std::ostream& out);

}  // namespace cairn::gc
