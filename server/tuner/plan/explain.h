// `cairn tune explain`: a statement's plan, read.
//
// Nothing is changed: all happens in a READ ONLY transaction that is rolled back, under a statement_timeout. Without
// `analyze` the statement is only planned. With it, it runs, and is refused unless it is one SELECT, VALUES or TABLE;
// what its functions do outside of the transaction (dblink, advisory locks) cannot be taken back.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "db/connection.h"
#include "tuner/plan/findings.h"

namespace cairn::tuner {

struct ExplainOptions {
  std::string statement = {};
  bool analyze = false;
  // Values for $1, $2, … as text; absent ones are NULL. Without any, a statement with $n gets its generic plan.
  std::vector<std::optional<std::string>> parameters = {};
  int timeout_s = 60;
  // The plan of the statement's slowest call that auto_explain wrote into the server's log, instead of a new one. The
  // statement may be the id that `cairn tune profile` shows.
  bool logged = false;
  std::string log = {};  // the server's, on this machine; empty: it is read through the server
};

struct Explained {
  std::string plan_json = {};
  Plan plan = {};
  PlanFacts facts = {};
  std::vector<Finding> findings = {};
  bool generic = false;                  // planned without values for its parameters
  std::string text_plan = {};            // a logged plan that is no JSON: shown as it is
  std::optional<double> logged_ms = {};  // of the call whose plan was logged
  std::vector<std::string> notes = {};   // what is not known, and how to allow it
};

// Throws Error(kInvalidParameterValue) with the reason for what is refused, DbError for what PostgreSQL refuses.
task<Explained> explain(db::Connection& connection, ExplainOptions options);

// Of the tables in the plan, and the settings. `notes` gets a line where something may not be read.
task<PlanFacts> read_facts(db::Connection& connection, const Plan& plan, std::vector<std::string>& notes);

void print_explained(const Explained& explained, std::ostream& out);
std::string explained_json(const Explained& explained);

// The command. Returns the exit code.
int run_explain(const std::string& connection_string, const ExplainOptions& options, bool json, std::ostream& out);

}  // namespace cairn::tuner
