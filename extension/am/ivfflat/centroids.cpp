// PostgreSQL zone. A share lock on one page at a time.
#include "am/ivfflat/centroids.h"

#include <algorithm>

#include "kernels/distance.h"

namespace cairn::ivfflat {
namespace {

// Of a piece of a centroid: the distance over all pieces is the sum.
float piece_distance(const Layout& layout, const char* query, const char* centroid, uint64 bytes) {
  if (layout.type == VectorType::bit)
    return static_cast<float>(
        core::hamming(reinterpret_cast<const uint8*>(query), reinterpret_cast<const uint8*>(centroid), bytes));
  return core::l2_squared(reinterpret_cast<const float*>(query), reinterpret_cast<const float*>(centroid),
                          bytes / sizeof(float));
}

}  // namespace

void centroid_distances(Index& index, const float* space, float* distances) {
  const uint64 size = index.layout.centroid_bytes;
  const uint64 end = size * index.lists;
  const auto* query = reinterpret_cast<const char*>(space);
  memset(distances, 0, index.lists * sizeof(float));
  uint64 at = 0;  // in the stream
  for (BlockNumber block = index.centroids_begin; block < index.centroids_end; ++block) {
    CHECK_FOR_INTERRUPTS();
    Buffer buffer = read_page(index, block, PageKind::centroids, BUFFER_LOCK_SHARE);
    const char* data = page_data(BufferGetPage(buffer));
    const uint64 page_end = std::min(end, at + kCentroidBytesPerPage);
    while (at < page_end) {
      const uint64 offset = at % size;
      const uint64 bytes = std::min(size - offset, page_end - at);
      distances[at / size] += piece_distance(index.layout, query + offset, data, bytes);
      data += bytes;
      at += bytes;
    }
    UnlockReleaseBuffer(buffer);
  }
}

uint32 nearest_list(Index& index, const float* space) {
  auto* distances = static_cast<float*>(palloc(index.lists * sizeof(float)));
  centroid_distances(index, space, distances);
  const auto nearest = static_cast<uint32>(std::min_element(distances, distances + index.lists) - distances);
  pfree(distances);
  return nearest;
}

void read_centroid(Index& index, uint32 list, char* centroid) {
  uint64 at = static_cast<uint64>(index.layout.centroid_bytes) * list;
  uint32 left = index.layout.centroid_bytes;
  while (left > 0) {
    Buffer buffer = read_page(index, index.centroids_begin + static_cast<BlockNumber>(at / kCentroidBytesPerPage),
                              PageKind::centroids, BUFFER_LOCK_SHARE);
    const auto offset = static_cast<uint32>(at % kCentroidBytesPerPage);
    const uint32 bytes = std::min(left, kCentroidBytesPerPage - offset);
    memcpy(centroid, page_data(BufferGetPage(buffer)) + offset, bytes);
    UnlockReleaseBuffer(buffer);
    centroid += bytes;
    at += bytes;
    left -= bytes;
  }
}

}  // namespace cairn::ivfflat
