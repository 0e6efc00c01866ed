// The rows of the lists that a scan reads, in the order of their distances. Of each row a code gives a bound below
// which its distance will not be; a vector is read only when its bound is the least of all (Seidl and Kriegel, SIGMOD
// 1998: no fewer could be read with these bounds).
//
// Most rows of a list are far, and a scan that ends at LIMIT 10 never asks for them. So only rows are kept whose bound
// is at most a threshold: the distance within which so many rows certainly lie. When these are given out, the lists'
// codes are read again with a threshold for eight times as many, and so on to the end.
#pragma once

#include "am/ivfflat/metric.h"
#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

// A heap of (distance, row), the least first, in a memory context.
class Heap {
 public:
  void attach(MemoryContext context) { context_ = context, keys_ = nullptr, ordered_ = true, size_ = capacity_ = 0; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  template <class F>
  void remove_if(F remove);  // remove(row)
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
  float bound;  // the safe one
};

// What is known of a distance.
struct Bounds {
  float safe;    // it is not less
  float likely;  // it is hardly ever less: in this order vectors are read
  float upper;   // hardly ever more
};

class ListReader {
 public:
  // `query` is prepared; the memory of both lives as long as `context`, from which everything is taken.
  void begin(Index* index, const Prepared& query, MemoryContext context);

  bool lists_left() const { return !lists_.empty(); }
  // Reads the next nearest list.
  void read_list();
  // Rows met so far.
  size_t rows() const { return row_count_; }

  // The nearest of the rows that were met and not given out yet; false if there is none.
  bool next(float* distance, ItemPointer tid);

 private:
  void rank_lists();
  void scan_list(uint32 list, bool again);
  void read_entries(Buffer buffer, bool again);
  void read_codes(Buffer buffer, bool again);
  void begin_list(uint32 list);
  // Null if the row is not kept.
  Row* consider(const Entry* entry, Buffer buffer, const Bounds& bounds, bool again);
  void widen();
  float exact_distance(const Row& row);

  Index* index_;
  Prepared query_;
  MemoryContext context_;
  Heap lists_;    // not read yet
  uint32* read_;  // read
  size_t read_count_;
  size_t row_count_;
  Heap bounds_;  // rows that are kept, by bound; by exact distance where there are no codes
  Heap exact_;   // rows whose vectors were read
  Row* rows_;
  size_t kept_;
  size_t capacity_;
  Heap uppers_;  // the `wanted_` least of them, negated: the largest first
  size_t wanted_;
  float threshold_;
  float floor_;      // the threshold before: rows up to it are kept or given out already
  float looked_at_;  // the largest bound of a row that left bounds_: the threshold stays above it, or it would be met
                     // again
  bool skipped_;     // rows beyond the threshold
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
