// `cairn features training-set`: straight in the database.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace cairn::features {

struct TrainingSetOptions {
  std::string connection_string;
  std::string name;
  std::optional<std::string> query, table, csv;  // the spine; a CSV file, - is standard input
  std::vector<std::string> features;
  std::optional<std::string> feature_service, known_by, to_table;
  std::string output = "-";  // a CSV file; - is standard output
  std::string run_id;
  bool full_names = false;
  bool late_too = false;
  bool json = false;
};

// All give the exit code and throw Error.
int run_training_set_create(const TrainingSetOptions& options, std::ostream& out);
int run_training_set_list(const TrainingSetOptions& options, std::ostream& out);
int run_training_set_show(const TrainingSetOptions& options, std::ostream& out);
int run_training_set_again(const TrainingSetOptions& options, std::ostream& out);
int run_training_set_log_input(const TrainingSetOptions& options, std::ostream& out);
int run_training_set_remove(const TrainingSetOptions& options, std::ostream& out);

}  // namespace cairn::features
