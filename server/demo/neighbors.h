// The nearest images, with the extension `vector`: the five most alike of what was learnt from, for each test image, by
// an HNSW index and by an exact search. Nothing is trained: the neighbours' digits are the answer.
#pragma once

#include "demo/digits.h"
#include "demo/queries.h"
#include "demo/report.h"

namespace cairn::demo {

// Whether the server found it to install, as it does with the extensions that it wants.
bool vector_available(Database& database);
// Makes the table and the index in a schema of their own. Throws Error when they do not hold.
void find_neighbors(Database& database, const Digits& digits, Step& step);

}  // namespace cairn::demo
