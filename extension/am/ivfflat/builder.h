// What the steps of a build share. sample.cpp chooses centroids from a sample, assign.cpp puts every row to its list
// and sorts, writer.cpp writes the pages, build.cpp calls them in turn.
#pragma once

#include "am/ivfflat/metric.h"
#include "am/ivfflat/page.h"
#include "base/parallel.h"

namespace cairn::ivfflat {

struct Builder {
  Relation heap;  // null: an empty index
  Relation index;
  IndexInfo* info;
  ForkNumber fork;
  Metric metric;
  Layout layout;
  uint32 lists;
  uint64 seed;
  core::Rotation rotation;
  core::Workers workers;
  MemoryContext context;  // lives as long as the build
  char* centroids;        // lists times centroid_bytes

  double heap_tuples;
  double index_tuples;

  const core::Rotation* rotation_or_null() const { return layout.codes ? &rotation : nullptr; }
};

// ERROR when the value cannot be in this index; false when it is not (zero and cosine): `out` is filled as prepare
// does.
bool prepare_datum(const Builder& builder, Datum datum, float* scratch, Prepared* out);

// Fills builder->centroids.
void choose_centroids(Builder* builder);

// A row as it is sorted, in a bytea: Factors and code (with codes), then the vector's bytes.
uint32 sorted_bytes(const Layout& layout);

// Calls `begin` with the number of rows, then `row` for each in the order of the lists.
struct RowSink {
  void (*begin)(void* context, int64 rows);
  void (*row)(void* context, uint32 list, ItemPointer tid, const char* data);
  void* context;
};
void assign_rows(Builder* builder, const RowSink& sink);

// Writes metapage, directory and centroids; the lists are empty.
void write_head(const Builder& builder);
// Rows come through the sink, in the order of their lists; `finish` writes what is left, and the directory.
class ListWriter;
ListWriter* begin_lists(Builder* builder);
void add_row(ListWriter* writer, uint32 list, ItemPointer tid, const char* data);
void finish_lists(ListWriter* writer);

}  // namespace cairn::ivfflat
