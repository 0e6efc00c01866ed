// `cairn features`: definitions from the command line, straight in the database.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace cairn::features {

struct FeaturesOptions {
  std::string connection_string;
  std::string file;     // to apply: .toml, else JSON; to write: rows; - is standard input
  std::string project;  // of a Feast registry
  std::string view;
  std::string format = "csv";
  std::vector<std::string> columns;
  bool save_baseline = false;
  bool dry_run = false;
  bool json = false;
};

// All give the exit code and throw Error.
int run_list(const FeaturesOptions& options, std::ostream& out);
int run_apply(const FeaturesOptions& options, std::ostream& out);
// Feast's registry.db: out into a file, and in from one.
int run_export_registry(const FeaturesOptions& options, std::ostream& out);
int run_import_registry(const FeaturesOptions& options, std::ostream& out);
int run_write(const FeaturesOptions& options, std::ostream& out);

// Works out what rollups lack: of a view, or of all.
int run_rollup(const FeaturesOptions& options, std::ostream& out);

// How features are, and the baseline of their drift.
int run_health(const FeaturesOptions& options, std::ostream& out);

}  // namespace cairn::features
