// `cairn tune report`.
#pragma once

#include <iosfwd>
#include <string>

#include "tuner/report/report.h"

namespace cairn::tuner {

struct ReportOptions {
  std::string connection_string = {};
  std::string state_directory = {};
  std::string directory = {};  // where docs/ and sql/ are, or are made
  std::string advice;  // its id; empty: the last applied, else the newest; the report goes without where there is none
};

// Reads all that a report says. Only reads.
ReportFacts read_report_facts(Reactor& reactor, const ReportOptions& options);

// Writes the documents and names them on `out`. A file of one of the names that this command did not write is left
// alone, and Error(kResourceConflict) thrown before anything is written.
int run_report(const ReportOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
