// The walk over a parse tree behind columns_used: scopes, names, conditions. For columns_used.cpp and conditions.cpp
// only.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tuner/sql/columns_used.h"

namespace cairn::tuner::reading {

struct Reference {
  size_t use = 0;
  const Column* column = nullptr;
};

// A subquery's columns by name; without a reference they are computed, or not to be reached from outside.
using Columns = std::map<std::string, std::optional<Reference>>;

// What a FROM item gives its query: the columns of a table, or those of a subquery. Of an opaque one nothing is known.
struct Source {
  std::string alias = {};
  const Table* table = nullptr;
  size_t use = 0;
  Columns columns = {};
};

struct Cte {
  std::optional<Node> query = {};  // read where it is named, when that is one place; else its columns are opaque
  Columns columns = {};
};

struct Scope {
  const Scope* outer = nullptr;
  std::vector<Source> sources = {};
  std::map<std::string, Cte> with = {};

  // What a subquery in FROM sees that is not LATERAL.
  Scope without_sources() const { return {.outer = outer, .sources = {}, .with = with}; }
};

enum class Owner { kNobody, kUse, kOther };
struct Resolved {
  Owner owner = Owner::kNobody;
  Reference reference = {};
  bool outer = false;
};

class Reader {
 public:
  explicit Reader(const Catalog& catalog) : catalog_(catalog) {}

  void statement(const Node& node, const Scope* outer);
  std::vector<TableUse> take();

 private:
  // In columns_used.cpp: queries, what they read from, what they give.
  Columns query(const Node& select, const Scope* outer, bool top);
  void modification(const Node& node, const Scope* outer);
  void add_with(const Node& statement, Scope& scope);
  Source add_table(const Node& range, Scope& scope);
  void add_source(const Node& item, Scope& scope, std::vector<Node>& conditions);
  void add_join(const Node& join, Scope& scope, std::vector<Node>& conditions);
  std::optional<Source> find_cte(const std::string& name, const Scope& scope);
  void using_columns(const Node& join, const Scope& scope, size_t left, size_t right);
  Columns output(const std::vector<Node>& targets, const Scope& scope, bool whole, bool reachable);
  void star(const Node& reference, const Scope& scope, bool whole, Columns& columns);
  void conditions(const std::vector<Node>& all, const Scope& scope);
  void group_and_order(const Node& select, const Scope& scope, bool aggregated);
  void order_by(const std::vector<Node>& keys, const std::vector<Node>& targets, const Scope& scope, bool limited);
  bool distance(const Node& key, const Scope& scope);
  Node target_of(const Node& key, const std::vector<Node>& targets, const Scope& scope, bool alias_first) const;
  void window(const Node& definition, const Scope& scope);
  void extreme(const std::vector<Node>& targets, const Scope& scope);
  void grouping(const std::vector<Node>& keys, const std::vector<Node>& targets, const Scope& scope);

  // In conditions.cpp: names, WHERE and ON.
  void visit(const Node& node, const Scope& scope);
  void sublink(const Node& link, const Scope& scope);
  void condition(const Node& node, const Scope& scope);
  void either(const std::vector<Node>& arms, const Scope& scope);
  void negation(const Node& node, const Scope& scope);
  void comparison(const Node& node, const Scope& scope);
  void compare(const Node& left, const std::string& op, const Node& right, const Scope& scope);
  void like(const Node& node, const Scope& scope);
  void rows(const Node& left, const std::string& op, const Node& right, const Scope& scope);
  void boolean(const Node& node, bool truth, const Scope& scope);
  void add(size_t use, Predicate predicate);

  std::optional<std::pair<size_t, Expression>> operand(const Node& node, const Scope& scope) const;
  // Whether the value can be known before the table is read: nothing when not, else whether it is another's column.
  std::optional<bool> value(const Node& node, size_t use, const Scope& scope) const;
  Resolved resolve(const Node& reference, const Scope& scope) const;

  const Catalog& catalog_;
  std::deque<TableUse> uses_;
  std::vector<std::pair<size_t, TableUse>> arms_;            // of ORs, by the use that they are of
  std::map<size_t, std::vector<Predicate>>* arm_ = nullptr;  // where predicates go inside of an OR
};

}  // namespace cairn::tuner::reading
