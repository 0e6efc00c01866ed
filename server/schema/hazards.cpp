#include "schema/hazards.h"

#include <regex>

namespace cairn::schema {
namespace {

// The length of varchar(n), the precision of numeric(n,s); 0: none is said.
struct Modified {
  std::string name;
  int size = 0;
  int scale = 0;
};

Modified modified(const std::string& type) {
  static const std::regex kModified(R"(^(character varying|numeric|character|bit varying)(?:\((\d+)(?:,(\d+))?\))?$)");
  std::smatch match;
  if (!std::regex_match(type, match, kModified)) return {type};
  return {match[1], match[2].matched ? std::stoi(match[2]) : 0, match[3].matched ? std::stoi(match[3]) : 0};
}

// Whether PostgreSQL leaves the rows as they are.
bool keeps_rows(const std::string& before, const std::string& after) {
  const Modified from = modified(before), to = modified(after);
  if (from.name == "character varying" && to.name == "text") return true;
  if (from.name == "text" && to.name == "character varying") return to.size == 0;
  if (from.name != to.name || from.name == "character") return false;
  if (to.size == 0) return true;
  return from.size != 0 && to.size >= from.size && from.scale == to.scale;
}

bool is_volatile(const std::string& expression) {
  static const std::regex kVolatile(R"((nextval|random|uuid\w*|clock_timestamp|timeofday|gen_\w+)\()");
  return std::regex_search(expression, kVolatile);
}

}  // namespace

std::string hazard_of_drop(const Object& object, bool again) {
  switch (object.kind) {
    case Kind::kTable:
      return "its rows are lost, and no step back brings them again";
    case Kind::kColumn:
      return again ? "it is computed again: the table is rewritten under ACCESS EXCLUSIVE"
                   : "its values are lost, and no step back brings them again";
    case Kind::kView:
      return again ? "it is made again: privileges that were granted on it are not" : "";
    case Kind::kIndex:
      return "ACCESS EXCLUSIVE on its table; DROP INDEX CONCURRENTLY, in a step of its own that is marked "
             "`-- cairn: no transaction`, waits without blocking";
    default:
      return "";
  }
}

std::string hazard_of_creation(const Object& object) {
  switch (object.kind) {
    case Kind::kColumn:
      if (object.fact("generated") == "s" || !object.fact("identity").empty() || is_volatile(object.fact("default")))
        return "it rewrites the table under ACCESS EXCLUSIVE";
      if (!object.fact("not_null").empty() && object.fact("default").empty())
        return "it fails where the table has rows: give it a default, or add it without NOT NULL, fill it, then set it";
      return "";
    case Kind::kIndex:
      return "SHARE on its table: writes wait until it is built; CREATE INDEX CONCURRENTLY, in a step of its own that "
             "is marked `-- cairn: no transaction`, lets them go on";
    case Kind::kConstraint: {
      const std::string type = object.fact("type");
      if (type == "p" || type == "u" || type == "x")
        return "it builds an index under ACCESS EXCLUSIVE; CREATE UNIQUE INDEX CONCURRENTLY first, then ADD "
               "CONSTRAINT … USING INDEX, holds it but shortly";
      return std::string(type == "f" ? "SHARE ROW EXCLUSIVE on both tables" : "ACCESS EXCLUSIVE") +
             " while all rows are checked; ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in the next step, lets "
             "writes go on";
    }
    default:
      return "";
  }
}

std::string hazard_of_type(const Object& before, const Object& after) {
  if (before.fact("collation") == after.fact("collation") && keeps_rows(before.fact("type"), after.fact("type")))
    return "";
  return "it rewrites the table and its indexes under ACCESS EXCLUSIVE, and fails where a value does not fit";
}

std::string hazard_of_not_null(const Object& column) {
  return "all rows are looked at under ACCESS EXCLUSIVE; ADD CHECK (" + column.name +
         " IS NOT NULL) NOT VALID and VALIDATE CONSTRAINT before it spare that";
}

}  // namespace cairn::schema
