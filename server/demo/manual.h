// PostgreSQL's own manual (Debian's postgresql-doc-15) as a collection of documents, and questions that a reader can
// judge the answers to.
#pragma once

#include "demo/client.h"
#include "demo/report.h"

namespace cairn::demo {

bool manual_available();
// `vectors`: whether the server can keep them; without, the search is by text.
void search_manual(Client& client, bool vectors, Step& step);

}  // namespace cairn::demo
