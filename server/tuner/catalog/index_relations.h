// What one B-tree can do in the place of another.
#pragma once

#include <optional>

#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

// Whatever `narrow` serves, `wide` serves.
bool covers(const IndexDefinition& wide, const IndexDefinition& narrow);
// One index in the place of two that begin alike: the keys of the first, then what the second has beside them.
std::optional<IndexDefinition> merged(const IndexDefinition& first, const IndexDefinition& second);
// The index without its INCLUDE, else without its last key; nothing when there would be nothing left.
std::optional<IndexDefinition> narrower(IndexDefinition index);

}  // namespace cairn::tuner
