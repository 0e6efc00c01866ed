// The last act: a registry's database beside the demonstration's own, with primary keys alone, under a load, and what
// `cairn tune` makes of it. Its steps are run in their order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "demo/queries.h"
#include "demo/report.h"
#include "demo/server_process.h"

namespace cairn::demo {

class Tuning {
 public:
  // `kept`: the server stays up, so how to undo is told with its address.
  Tuning(const ServerProcess& server, bool kept) : server_(server), kept_(kept) {}

  // A database that is slow: made, filled, and measured under the load.
  void slow(Step& step);
  void advise(Step& step);
  // On a copy; what is not faster there is not made.
  void prove(Step& step);
  void apply(Step& step);
  // The same load again.
  void measure(Step& step);

 private:
  struct Family {
    std::string name;
    double mean_ms = 0;
    double p99_ms = 0;
  };

  std::string connection_string(const std::string& database) const;
  std::string cairn(const std::string& command, const std::vector<std::string>& arguments);
  std::vector<Family> load(const std::vector<std::string>& more);
  // Whether this step has nothing to do, and says why.
  bool is_left_out(Step& step) const;
  void keep_the_statement(const std::string& advice, const std::string& proof);

  const ServerProcess& server_;
  const bool kept_;
  std::string left_out_;
  std::string advice_;
  std::string numbers_;                // of the changes that the proof kept
  std::vector<std::string> replaced_;  // --replace FAMILY=FILE
  std::vector<Family> before_;
};

}  // namespace cairn::demo
