// The centroids of an index: a stream of bytes over pages that never change after the build.
#pragma once

#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

// distances[list] between `space` (Prepared) and each centroid: the square of Euclid's; bit: Hamming's.
void centroid_distances(Index& index, const float* space, float* distances);
uint32 nearest_list(Index& index, const float* space);
// Copies one: centroid_bytes of them.
void read_centroid(Index& index, uint32 list, char* centroid);

}  // namespace cairn::ivfflat
