// Pages of an ivfflat index, as docs/formats/ivfflat.md draws them: sizes, places, and checks of everything that is
// read. What a page says is never used as an offset or a length before it was checked here: a flipped bit is an error,
// not a crash.
#pragma once

#include "pg/am.h"
#include "quantize/rotation.h"

namespace cairn::ivfflat {

constexpr uint32 kMagic = 0xCA1F0F1A;
constexpr uint32 kMagicOfPgvector = 0x014FF1A7;
constexpr uint32 kVersion = 1;
constexpr uint16 kPageId = 0xCA1F;
constexpr uint32 kHasCodes = 1;  // a flag of the metapage
constexpr int kListsMin = 1;
constexpr int kListsMax = 32768;
constexpr int kListsDefault = 100;
// Fewer dimensions than this: a code with its factors is not much smaller than the vector, nor is its bound tight.
constexpr int kCodeDimensionsMin = 64;

enum class PageKind : uint16 { meta = 1, directory, centroids, entries, vectors };
enum class VectorType : uint32 { vector, halfvec, bit };
enum class Metric { l2, inner_product, cosine, hamming };

struct PageEnd {  // special space
  uint32 unused;
  uint16 kind;
  uint16 page_id;
};

struct MetaPage {
  uint32 magic;
  uint32 version;
  uint32 type;
  uint32 dimensions;
  uint32 lists;
  BlockNumber centroids_begin;
  BlockNumber centroids_end;
  uint32 flags;
  uint64 seed;
};

struct ListHead {  // in the directory
  BlockNumber first;
  BlockNumber insert;  // where to look for room
  uint32 unused;
};

struct EntryHead {  // after the page header
  BlockNumber next;
  uint32 list;
  uint16 count;
  uint16 dead;
  uint32 unused;
  BlockNumber vectors[FLEXIBLE_ARRAY_MEMBER];
};

struct Factors {
  float length_squared;  // |r|^2
  float ratio;           // |r|^2 / |r|_1
  float error;
  float norm;
};

struct Entry {
  ItemPointerData tid;
  uint16 unused;
  // The vector; or Factors and the code.
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  const Factors* factors() const { return reinterpret_cast<const Factors*>(this + 1); }
  const uint8* code() const { return reinterpret_cast<const uint8*>(data() + sizeof(Factors)); }
};
static_assert(sizeof(Entry) == 8 && sizeof(Factors) == 16 && sizeof(ListHead) == 12 && sizeof(EntryHead) == 16 &&
              sizeof(MetaPage) == 40);

constexpr uint32 kPageBegin = MAXALIGN(SizeOfPageHeaderData);
constexpr uint32 kPageEnd = BLCKSZ - MAXALIGN(sizeof(PageEnd));
constexpr uint32 kListsPerPage = (kPageEnd - kPageBegin) / sizeof(ListHead);
constexpr uint32 kCentroidBytesPerPage = 8128;
constexpr uint32 kVectorsBegin = 64;
constexpr BlockNumber kMetaBlock = 0;
constexpr BlockNumber kDirectoryBlock = 1;

// What follows from the type and its dimensions.
struct Layout {
  VectorType type;
  uint32 dimensions;
  bool codes;
  uint32 payload_bytes;  // of a stored vector
  uint32 space;          // floats of a vector where lists are compared: rotated, padded; 0 for bit
  uint32 centroid_bytes;
  uint32 code_bytes;
  uint32 entry_bytes;
  uint32 entries_begin;  // byte of the first entry on its page
  uint32 entries_per_page;
  uint32 slot_bytes;  // the rest only with codes
  uint32 vectors_per_page;
  uint32 vector_pages;  // of an entry page
};

// Dimensions within the limits of the type (type_support).
Layout layout_of(VectorType type, uint32 dimensions);

// An index that is open: the metapage's content, checked.
struct Index {
  Relation relation;
  BlockNumber blocks;  // when it was opened, or more
  Metric metric;
  Layout layout;
  uint32 lists;
  BlockNumber centroids_begin;
  BlockNumber centroids_end;
  core::Rotation rotation;  // with codes
};

// Reads the metapage; memory for the rotation comes from the current context. ERROR where it is not an index of ours.
void open_index(Relation relation, Index* index);
// The same, but returns what is wrong; null if nothing is.
const char* try_open_index(Relation relation, Index* index);

// A new page at the end of the fork, exclusively locked, all zero.
Buffer new_buffer(Relation relation, ForkNumber fork);
void init_page(Page page, PageKind kind);
void init_entry_page(const Layout& layout, Page page, uint32 list);

// The page is of this kind, and what it says of itself is within bounds. Null, or what is wrong.
const char* page_problem(Page page, PageKind kind);
const char* entry_page_problem(const Index& index, Page page, uint32 list);

// Pinned and locked in `mode`; ERROR where the page is not what it should be.
Buffer read_page(Index& index, BlockNumber block, PageKind kind, int mode);
Buffer read_entry_page(Index& index, BlockNumber block, uint32 list, int mode);
[[noreturn]] void report_corrupted(Relation relation, BlockNumber block, const char* problem);

inline char* page_data(Page page) { return static_cast<char*>(page) + kPageBegin; }
inline EntryHead* entry_head(Page page) { return reinterpret_cast<EntryHead*>(page_data(page)); }
inline Entry* entry_at(const Layout& layout, Page page, uint32 i) {
  return reinterpret_cast<Entry*>(static_cast<char*>(page) + layout.entries_begin + i * layout.entry_bytes);
}
inline char* slot_at(const Layout& layout, Page page, uint32 i) {
  return static_cast<char*>(page) + kVectorsBegin + i * layout.slot_bytes;
}
inline void set_page_used(Page page, uint32 end) {
  reinterpret_cast<PageHeader>(page)->pd_lower = static_cast<LocationIndex>(end);
}
inline bool is_dead(const Entry* entry) { return entry->tid.ip_posid == InvalidOffsetNumber; }

// Where list `list` is in the directory.
inline BlockNumber directory_block(uint32 list) { return kDirectoryBlock + list / kListsPerPage; }
inline uint32 directory_pages(uint32 lists) { return (lists + kListsPerPage - 1) / kListsPerPage; }
inline ListHead* list_head(Page page, uint32 list) {
  return reinterpret_cast<ListHead*>(page_data(page)) + list % kListsPerPage;
}
ListHead read_list_head(Index& index, uint32 list);

inline uint32 centroid_pages(const Layout& layout, uint32 lists) {
  return static_cast<uint32>((static_cast<uint64>(layout.centroid_bytes) * lists + kCentroidBytesPerPage - 1) /
                             kCentroidBytesPerPage);
}

}  // namespace cairn::ivfflat
