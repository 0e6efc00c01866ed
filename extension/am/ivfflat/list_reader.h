// What a scan knows of the rows that it has met: for each the least distance that it may have, and where its vector is.
// Rows come out in the order of their exact distances, and a vector is read only when its bound is the least of all
// (Seidl and Kriegel, SIGMOD 1998: no fewer could be read with these bounds).
#pragma once

#include "am/ivfflat/metric.h"
#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

// A heap of (distance, row), the least first, in a memory context.
class Heap {
 public:
  void attach(MemoryContext context) { context_ = context, keys_ = nullptr, ordered_ = true, size_ = capacity_ = 0; }
  bool empty() const { return size_ == 0; }
  // Many at a time: they are put in order when the least is asked for.
  void append(float distance, uint32 row);
  void push(float distance, uint32 row);
  // NaN counts as minus infinity, so that what is not known is looked at.
  float top_distance();
  uint32 pop();

 private:
  void order();

  MemoryContext context_;
  bool ordered_;
  uint64* keys_;  // distance in the upper half, as an unsigned number of the same order
  size_t size_;
  size_t capacity_;
};

struct Row {
  ItemPointerData tid;
  uint16 slot;  // of the vector, with codes
  BlockNumber block;
};

class ListReader {
 public:
  // `query` is prepared; the memory of both lives as long as `context`, from which everything is taken.
  void begin(const Index* index, const Prepared& query, MemoryContext context);

  bool lists_left() const { return !lists_.empty(); }
  // Reads the next nearest list.
  void read_list();
  // Rows met so far.
  size_t rows() const { return row_count_; }

  // The nearest of the rows that were met and not given out yet; false if there is none.
  bool next(float* distance, ItemPointer tid);

 private:
  void rank_lists();
  void read_entries(Buffer buffer);
  void read_codes(Buffer buffer);
  void begin_list(uint32 list);
  float exact_distance(const Row& row);
  uint32 add_row(const Entry* entry, Buffer buffer);

  const Index* index_;
  Prepared query_;
  MemoryContext context_;
  Heap lists_;
  Heap bounds_;
  Heap exact_;
  Row* rows_;
  size_t row_count_;
  size_t row_capacity_;
  // The query beside the centroid of the list that is read: codes only.
  float* residual_;
  int8* residual_bytes_;
  int32* sums_;
  float residual_scale_;
  float residual_total_;
  float residual_square_;
  float residual_length_;
};

}  // namespace cairn::ivfflat
