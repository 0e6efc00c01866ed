// `cairn search`: collections, documents and searches from the command line, straight in the database.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace cairn::search {

struct SearchOptions {
  std::string connection_string;
  bool json = false;
  std::string name;

  // create
  std::string language = "english";
  std::string metric = "cosine";
  std::string index = "auto";
  std::string embedder = "none";
  std::string model;
  std::string base_url;
  int dimension = 0;
  int chunk_size = 1000;
  int chunk_overlap = 100;

  // add: files and folders; - is JSON lines from standard input
  std::vector<std::string> files;
  bool bulk = false;

  // query
  std::string query;
  std::string mode = "auto";
  std::string fusion = "rrf";
  int k = 10;
  std::vector<std::string> where;
  bool explain = false;

  // tune
  double recall = 0.95;
  int sample = 100;
};

// Each gives the exit code and throws Error. Results go to `out`, what happens meanwhile to `progress`.
int run_create(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_add(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_query(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_list(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_drop(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_index(const SearchOptions& options, std::ostream& out, std::ostream& progress);
int run_tune(const SearchOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::search
