// `cairn import mlflow` and `cairn export mlflow`: copies between Cairn's tables and those of an MLflow database.
//
// Both can be run again: what is there already is found by its name or id and brought up to date, never doubled, and
// what was begun is finished. The database that is read is read in one snapshot; the other is written in batches, each
// one transaction, so memory is bounded on both sides.
#pragma once

#include <iosfwd>
#include <string>

namespace cairn::transfer {

struct Options {
  // libpq URL of MLflow's database, or SQLAlchemy's form of it (postgresql+psycopg2://…).
  std::string mlflow_url;
  // Cairn's database, its schema up to date.
  std::string connection_string;
  // Only say what would be copied.
  bool dry_run = false;
  bool json = false;
};

// Print the summary to `out`, progress to `progress`. Throw Error. Return the exit code.
int import_mlflow(const Options& options, std::ostream& out, std::ostream& progress);
int export_mlflow(const Options& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::transfer
