// What a database's schemas are made of, read from its catalog, and what needs what. Members of extensions are left
// out, as is what follows a parent by itself: columns, constraints, indexes and triggers of partitions.
#pragma once

#include <libpq-fe.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace cairn::schema {

// In the order in which they are made where nothing else decides.
enum class Kind {
  kSchema,
  kExtension,
  kType,
  kSequence,
  kTable,
  kColumn,
  kFunction,
  kOwnership,  // of a sequence by a column
  kConstraint,
  kIndex,
  kView,
  kTrigger
};

struct Object {
  Kind kind = Kind::kTable;
  std::string name;        // as SQL writes it
  std::string table;       // key of what it is part of, and goes with; empty: of nothing
  std::string definition;  // equal definitions are equal objects
  std::string create;      // statements, without the last semicolon
  std::string drop;
  std::string comment_on;  // TABLE public.t
  std::string comment;
  // Of some kinds: a column's type, default, …; an enum's labels; a function's head; a view's columns.
  std::map<std::string, std::string> facts;
  std::string fact(const std::string& name) const {
    const auto found = facts.find(name);
    return found == facts.end() ? "" : found->second;
  }
};

// By keys such as `column public.t.c`, which say the same thing in every database.
struct Catalog {
  std::map<std::string, Object> objects;
  std::map<std::string, std::set<std::string>> needs;

  const Object* find(const std::string& key) const {
    const auto found = objects.find(key);
    return found == objects.end() ? nullptr : &found->second;
  }
};

// The schemas that are not PostgreSQL's own or an extension's.
std::vector<std::string> list_schemas(PGconn* connection);
Catalog read_catalog(PGconn* connection, const std::vector<std::string>& schemas);

}  // namespace cairn::schema
