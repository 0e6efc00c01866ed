// What each placeholder ($1) of a statement stands for: the column that it is compared with, and how. From the parse
// tree and the catalog alone; names are looked for in the whole statement, so that a column in a subquery is found
// wherever it is.
#pragma once

#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"

namespace cairn::tuner {

enum class Role {
  kUnknown,   // to be known by its type
  kValue,     // = IN <> ANY, a distance, an argument beside a column
  kLow,       // column > $n
  kHigh,      // column < $n
  kPattern,   // LIKE, ILIKE
  kWord,      // of a regular expression or a text search
  kElement,   // of an array: @> && <@, $n = ANY (column)
  kDocument,  // of jsonb: @>
  kKey,       // of json: -> ->> ?
  kKeyValue,  // column ->> key = $n
  kLimit,
  kLimitOfOne,  // of a subquery that stands for one value
  kOffset,
  kInserted,  // a row of INSERT
  kUpdated,   // SET column = $n
};

struct Placeholder {
  int number = 0;
  Role role = Role::kUnknown;
  const Table* table = nullptr;  // of the catalog that was given
  std::string column = {};
  // Uses of a table are numbered: values for one of them are taken from one row.
  int use = 0;
  std::string function = {};  // lower or upper, around the column
  int key_number = 0;         // of kKeyValue: the placeholder that is the key …
  std::string key = {};       // … or the key
  bool numeric = false;       // of kKeyValue: compared as a number; of kKey: of such a one
};

// By number. Empty where the statement does not parse.
std::vector<Placeholder> placeholders_of(const Catalog& catalog, const std::string& statement);

}  // namespace cairn::tuner
