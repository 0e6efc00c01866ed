// The parts of a report that are run or followed: a psql script of the indexes, and the runbook.
#pragma once

#include <string>

namespace cairn::tuner {

struct ReportFacts;

// Makes the advice's indexes (those that a proof rejected as comments), lists them and analyzes their tables. May be
// run again.
std::string index_script(const ReportFacts& facts);

// The runbook without its head.
std::string runbook_text(const ReportFacts& facts);

}  // namespace cairn::tuner
