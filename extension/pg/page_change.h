// Changes of one page in one generic WAL record, without the copy and the comparison of whole pages that
// GenericXLogFinish makes: who changes a node knows which bytes change. The record's format is
// access/transam/generic_xlog.c's: for each run of bytes its offset, its length, and the bytes; replayed by PostgreSQL
// itself.
//
//   PageChange change;
//   change.start(index, buffer);              exclusively locked by the caller
//   change.put(offset, bytes, length);        any number; the page is not touched yet
//   change.finish();                          page changed, marked dirty, logged
// Nothing can fail between the change of the page and its record: put() copies into memory that finish() writes from.
#pragma once

#include "pg/am.h"

namespace cairn::pg {

class PageChange {
 public:
  void start(Relation index, Buffer buffer) {
    index_ = index;
    buffer_ = buffer;
    used_ = 0;
  }

  void put(uint32_t offset, const void* bytes, uint32_t length) {
    Assert(offset + length <= BLCKSZ && used_ + length + 4 <= sizeof(data_));
    const uint16_t head[2] = {static_cast<uint16_t>(offset), static_cast<uint16_t>(length)};
    memcpy(data_ + used_, head, sizeof(head));
    memcpy(data_ + used_ + sizeof(head), bytes, length);
    used_ += sizeof(head) + length;
  }

  bool empty() const { return used_ == 0; }

  void finish();

 private:
  Relation index_;
  Buffer buffer_;
  uint32_t used_;
  char data_[2 * BLCKSZ];
};

// Writes `image` over a whole page, with a full image in the WAL: for new pages and rare changes. The buffer is
// exclusively locked. `always_log`: also for a relation that is not logged (the init fork of an unlogged index).
void write_new_page(Relation index, Buffer buffer, const void* image, bool always_log = false);

// Extends the index by one page of zeros; returned exclusively locked and pinned.
Buffer extend_index(Relation index);

}  // namespace cairn::pg
