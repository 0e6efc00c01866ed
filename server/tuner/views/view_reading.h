// Reads statements that group and aggregate into drafts of materialised views.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tuner/sql/expression.h"
#include "tuner/views/view_candidates.h"

namespace cairn::tuner {

// Why there is no view for a statement; thrown.
struct ViewRefused {
  std::string reason;
};

struct ViewColumn {
  std::string name = {};
  std::string sql = {};
};

// A view while statements add what they read of it.
struct ViewDraft {
  struct Reader {
    size_t statement = 0;
    std::string before = {}, after = {};  // around the view's name
  };
  std::string with = {}, from = {};
  std::vector<std::string> conditions = {};
  std::vector<std::string> grouping = {};  // what the statements group by
  std::vector<std::string> extra = {};     // and columns that follow from it
  std::vector<ViewColumn> columns = {};
  std::vector<std::string> keys = {};
  bool nullable_keys = false;
  std::vector<Reader> readers = {};
  const Table* largest = nullptr;

  // The name of the column that holds `sql`; made when it is not there.
  const std::string& column(const std::string& sql, const std::string& wanted);
};

// By what decides which view it is: statements that differ only in what they read of it share one.
using ViewDrafts = std::map<std::string, ViewDraft>;

// What decides where an expression, or all below a node, may be computed.
struct ViewContents {
  bool placeholder = false;
  bool subquery = false;
  bool clock = false;
  bool aggregate = false;
};
ViewContents contents_of(const Node& node, const ViewFacts& facts);

// `text` as deparsed() writes it, `select` its SelectStmt. Throws ViewRefused, and leaves the drafts alone then.
void read_into_drafts(const Catalog& catalog, const ViewFacts& facts, size_t number, const std::string& text,
                      const Node& select, ViewDrafts& drafts);

// A name's first bytes, whole characters.
std::string cut_name(std::string name, size_t bytes);

// Calls visit(kind, body) for each node below; it says whether to look into the node.
template <class F>
void walk_tree(const Node& node, const F& visit) {
  if (node.is_array()) {
    for (const Node& item : items(node)) walk_tree(item, visit);
  } else if (node.is_object()) {
    for (const auto& [kind, body] : members(node))
      if (visit(kind, body)) walk_tree(body, visit);
  }
}

}  // namespace cairn::tuner
