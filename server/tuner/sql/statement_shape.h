// What kind of statement a text is, by PostgreSQL's own parser (libpg_query, PostgreSQL 15's grammar), without a
// server.
#pragma once

#include <optional>
#include <string>

namespace cairn::tuner {

struct StatementShape {
  // Why the parser refuses it; it may still be a statement of a newer PostgreSQL.
  std::optional<std::string> error = {};
  int statements = 0;
  std::string kind = {};    // the parse tree's name of the first: SelectStmt (of VALUES and TABLE too), InsertStmt, …
  bool writes = false;      // it, or a part of it (a CTE), is no SELECT; or it is SELECT … INTO
  bool locks_rows = false;  // FOR UPDATE and its like
  int parameters = 0;       // the highest $n
};

StatementShape statement_shape(const std::string& statement);

// The statement as the parser writes it anew, with what pg_stat_statements' placeholders leave unreadable put right
// (interval $1, extract($1 FROM …)). Empty when it cannot be parsed.
std::optional<std::string> readable_statement(const std::string& statement);

// For what pg_stat_statements' placeholders keep from being prepared: also with the fields of EXTRACT, DATE_TRUNC and
// DATE_PART as constants, the placeholders that are left numbered anew. Empty when it cannot be parsed.
std::optional<std::string> preparable_statement(const std::string& statement);

}  // namespace cairn::tuner
