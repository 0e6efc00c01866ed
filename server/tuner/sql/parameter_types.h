// Types to PREPARE a normalised statement with. pg_stat_statements puts $n also where PostgreSQL determines no type of
// it, since a quoted constant needed none: concat('a', x), json_build_object('a', x).
#pragma once

#include <string>
#include <vector>

#include "db/statement.h"

namespace cairn::tuner {

class ParameterTypes {
 public:
  // After PREPARE was refused: whether to try again. Text is then declared for the parameter that the error names.
  bool learn(const db::DbError& error);
  // What goes behind the statement's name: "(unknown, text)", or nothing.
  std::string sql() const;

 private:
  std::vector<bool> are_text_;
};

}  // namespace cairn::tuner
