// A filter on metadata, in the form of OpenAI's vector stores, as SQL:
//   {"type": "eq", "key": "lang", "value": "en"}      also ne, gt, gte, lt, lte, in, nin (value: a list), exists
//   {"type": "and", "filters": [...]}                 also or
#pragma once

#include <simdjson.h>

#include <string>

#include "db/statement.h"

namespace cairn::search {

// A condition on `column` (jsonb); its values go to `params`, none into the text. A key that is missing fulfils no
// comparison, not even ne and nin. Numbers are compared with numbers only, and texts with texts. Throws
// Error(kInvalidParameterValue).
std::string filter_sql(simdjson::dom::element filter, const std::string& column, db::Params& params);

// The same from the command line's form: key=value, key!=value, key>=value (also > < <=); the value is JSON, else text.
// Gives JSON.
std::string filter_json(const std::string& condition);

}  // namespace cairn::search
