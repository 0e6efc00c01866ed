// Materialised views for statements that group and aggregate: the view's query, the index that lets it be refreshed
// without blocking its readers, and the statement that reads the view instead. From the texts and the catalog alone.
//
// A statement's conditions that rest on what it groups by are left to the reader of the view, with their placeholders;
// so one view serves every constant there. All other conditions, and the aggregates, must be without placeholders.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"

namespace cairn::tuner {

// What a text does not say of functions and tables.
struct ViewFacts {
  std::set<std::string> aggregates = {};        // names that only aggregates have
  std::map<std::string, char> volatility = {};  // of the names that have a stable ('s') or volatile ('v') function
  std::set<TableName> secured = {};             // with row security: a view would show all rows to everybody
};

struct ViewReader {
  size_t statement = 0;
  std::string text = {};  // that reads the view
};

struct ViewCandidate {
  TableName view = {};   // in the schema of `table`, named after it, its keys and a hash of the query
  TableName table = {};  // the largest that it reads
  std::string query = {};
  std::vector<std::string> keys = {};  // columns that are unique together
  bool nullable_keys = false;
  bool reads_clock = false;  // now() is the moment of the refresh
  std::vector<ViewReader> readers = {};
};

struct ViewRefusal {
  size_t statement = 0;
  std::string reason = {};
};

struct ViewCandidates {
  std::vector<ViewCandidate> views = {};
  std::vector<ViewRefusal> refusals = {};  // of statements that group or aggregate
};

ViewCandidates propose_views(const Catalog& catalog, const ViewFacts& facts,
                             const std::vector<std::string>& statements);

// That makes it, its index and its comment, one by one.
std::vector<std::string> create_view_statements(const ViewCandidate& view, int server_version);
std::string drop_view_statement(const TableName& view);

// By which `cairn tune refresh` knows the tuner's views.
constexpr const char* kViewComment = "cairn tune: kept fresh by `cairn tune refresh`";

}  // namespace cairn::tuner
