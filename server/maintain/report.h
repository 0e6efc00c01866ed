// Plans and what came of them, for people and for programs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "base/json.h"
#include "maintain/execute.h"
#include "maintain/history.h"
#include "maintain/plan.h"

namespace cairn::maintain {

void print_plan(const Plan& plan, std::ostream& out);
std::string plan_json(const Plan& plan);
void print_outcomes(const std::vector<Outcome>& outcomes, std::ostream& out);
void write_outcomes(json::Writer& writer, const std::vector<Outcome>& outcomes);
void print_jobs(const std::vector<JobRow>& jobs, std::ostream& out);
std::string jobs_json(const std::vector<JobRow>& jobs);
// Of the texts that History gives.
void print_runs(const std::string& runs_json, std::ostream& out);
void print_run(const std::string& run_json, std::ostream& out);

// "2026-11-22 02:00" of seconds since 1970, in UTC.
std::string shown_time(int64_t at_s);

}  // namespace cairn::maintain
