// The centroids of an index: a stream of bytes over pages that never change after the build.
#pragma once

#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

// distances[list] between `space` (Prepared) and each centroid: the square of Euclid's; bit: Hamming's.
void centroid_distances(const Index& index, const float* space, float* distances);
uint32 nearest_list(const Index& index, const float* space);
// Copies one: centroid_bytes of them.
void read_centroid(const Index& index, uint32 list, char* centroid);

}  // namespace cairn::ivfflat
