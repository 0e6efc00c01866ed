// One element into the pages of an index.
#pragma once

#include "am/hnsw/hnsw.h"

namespace cairn::hnsw {

// The payload is form_payload's. Memory comes from the arena and from the current context: reset them after each
// element.
void insert_payload(const Index& index, core::Arena* arena, const void* payload, uint32_t bytes, ItemPointerData row);

}  // namespace cairn::hnsw
