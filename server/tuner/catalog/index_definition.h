// An index as the tuner speaks of it: one that exists, one that is proposed, one that is tried.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace cairn::tuner {

struct TableName {
  std::string schema = {};
  std::string name = {};

  auto operator<=>(const TableName&) const = default;
};

struct IndexKey {
  // A column's name, or an expression's SQL text (as PostgreSQL prints it, without the outer brackets).
  std::string text = {};
  bool is_expression = false;
  std::string operator_class = {};  // empty: the type's own
  bool descending = false;
  bool nulls_first = false;  // as written: PostgreSQL's defaults are last for ASC, first for DESC

  auto operator<=>(const IndexKey&) const = default;
};

struct IndexDefinition {
  TableName table = {};
  std::string method = "btree";
  std::vector<IndexKey> keys = {};
  std::vector<std::string> include = {};  // columns
  std::string predicate = {};             // SQL text; empty: not partial
  std::string options = {};               // of WITH: "pages_per_range = 32"; empty: none
  bool unique = false;

  auto operator<=>(const IndexDefinition&) const = default;
  // Its rows are the nearest ones only about: some of them are missed.
  bool is_approximate() const { return method == "hnsw" || method == "ivfflat"; }
};

// The statement that makes it; without a name PostgreSQL chooses one.
std::string create_statement(const IndexDefinition& index, const std::optional<std::string>& name, bool concurrently);

// A name for it: idx_<table>_<columns>, at most 63 bytes, cut at a character's border and then made unlike others by a
// hash.
std::string index_name(const IndexDefinition& index);

}  // namespace cairn::tuner
