// What the parts of a report share: which statements are in it, by what number and what name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tuner/report/report.h"

namespace cairn::tuner {

// Those that a tuner can do something about: what can be planned, and the program's own. Their positions are what all
// documents number them by.
std::vector<const StatementGroup*> reported(const Profile& profile);
// Of the statement in the baseline, where it is explained; nothing where it is not in it.
std::optional<size_t> position_of(const ReportFacts& facts, const std::string& id);
// The number with a link to the baseline.
std::string query_link(size_t position);
// The statement's position in the advice.
std::optional<size_t> advised(const ReportFacts& facts, const StatementGroup& group);
const StatementGroup* same_group(const Profile& profile, const std::string& id);
// What was measured of it on a clone.
const StatementProof* proof_of(const ReportFacts& facts, const std::string& id);

// Of the statements that were counted in both.
struct Both {
  Counters before = {};
  Counters after = {};
};
Both in_both(const Profile& before, const Profile& after);

// The tables that it reads or writes, "deployments, models": what tells statements apart at a glance.
std::string tables_text(const std::string& text);
// The beginning, on a line.
std::string short_text(const std::string& text);
std::string since_text(const Profile& profile);
// The ratio of cache hits.
std::optional<double> hits(const Counters& counters);
std::string hits_text(const std::optional<double>& ratio);
// "-67.9 %"
std::string change_text(double before, double after);
// The title, the date, the database.
std::string report_head(const std::string& title, const ReportFacts& facts);

std::string report_baseline(const ReportFacts& facts);
std::string report_strategy(const ReportFacts& facts);
std::string report_results(const ReportFacts& facts);
// What the results show as a picture; empty where there is nothing to compare.
std::string report_chart(const ReportFacts& facts);

}  // namespace cairn::tuner
