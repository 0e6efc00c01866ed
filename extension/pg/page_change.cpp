#include "pg/page_change.h"

extern "C" {
#include "access/generic_xlog.h"
}

namespace cairn::pg {

void PageChange::finish() {
  if (used_ == 0) return;
  char* const page = reinterpret_cast<char*>(BufferGetPage(buffer_));
  START_CRIT_SECTION();
  for (uint32_t at = 0; at < used_;) {
    uint16_t head[2];
    memcpy(head, data_ + at, sizeof(head));
    memcpy(page + head[0], data_ + at + sizeof(head), head[1]);
    at += sizeof(head) + head[1];
  }
  MarkBufferDirty(buffer_);
  if (RelationNeedsWAL(index_)) {
    XLogBeginInsert();
    XLogRegisterBuffer(0, buffer_, REGBUF_STANDARD);
    XLogRegisterBufData(0, data_, static_cast<int>(used_));
    const XLogRecPtr end = XLogInsert(RM_GENERIC_ID, 0);  // PageSetLSN names its argument twice
    PageSetLSN(reinterpret_cast<Page>(page), end);
  }
  END_CRIT_SECTION();
}

void write_new_page(Relation index, Buffer buffer, const void* image, bool always_log) {
  char* const page = reinterpret_cast<char*>(BufferGetPage(buffer));
  START_CRIT_SECTION();
  memcpy(page, image, BLCKSZ);
  MarkBufferDirty(buffer);
  if (always_log || RelationNeedsWAL(index)) {
    XLogBeginInsert();
    XLogRegisterBuffer(0, buffer, REGBUF_FORCE_IMAGE | REGBUF_STANDARD);
    const XLogRecPtr end = XLogInsert(RM_GENERIC_ID, 0);  // PageSetLSN names its argument twice
    PageSetLSN(reinterpret_cast<Page>(page), end);
  }
  END_CRIT_SECTION();
}

Buffer extend_index(Relation index) {
  const bool lock = !RELATION_IS_LOCAL(index);
  if (lock) LockRelationForExtension(index, ExclusiveLock);
  const Buffer buffer = ReadBuffer(index, P_NEW);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  if (lock) UnlockRelationForExtension(index, ExclusiveLock);
  return buffer;
}

}  // namespace cairn::pg
