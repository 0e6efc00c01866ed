// The constants of a statement: found by holding the text that was run against the normalised one of
// pg_stat_statements, and written back into it. From the parse trees alone.
//
// Constants are others' bytes. They become SQL in one way only: each as one quoted literal, in the place of a
// placeholder that the parser found.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "tuner/catalog/session.h"

namespace cairn::tuner {

// Values for $1, $2, … of `normalised`, as `run` had them: constants of its text, or `parameters` for its own
// placeholders. Nothing where the two are not the same statement, or a value is not known.
std::optional<Values> constants_in(const std::string& normalised, const std::string& run, const Values& parameters);

// The statement with literals for the placeholders of these numbers; the others stay. Nothing where it does not parse.
std::optional<std::string> with_constants(const std::string& statement, const std::map<int, Value>& constants);
std::optional<std::string> with_constants(const std::string& statement, const Values& constants);

}  // namespace cairn::tuner
