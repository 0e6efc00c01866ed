// The access method hnsw. docs/formats/hnsw.md describes its pages, their WAL, and the locks; README.md the files.
#pragma once

#include "graph/insert.h"
#include "graph/page.h"
#include "pg/am.h"

namespace cairn::hnsw {

struct Options {  // reloptions
  int32 vl_len_;
  int m;
  int ef_construction;
};

constexpr int kDefaultM = 16;
constexpr int kDefaultEfConstruction = 64;

enum IterativeScan { kScanOff, kScanRelaxed, kScanStrict };

extern int ef_search;
extern int iterative_scan;
extern int max_scan_tuples;
extern double scan_mem_multiplier;

// From _PG_init.
void init_settings();
void init_nearest();

enum class Element : uint16_t { float32 = 1, float16 = 2, bit = 3, sparse = 4 };
enum class Metric : uint16_t { l2 = 1, inner_product = 2, cosine = 3, l1 = 4, hamming = 5, jaccard = 6 };

constexpr uint32_t kMagic = 0xca17a4e0;
constexpr uint32_t kFormatVersion = 1;

// The contents of block 0, behind the page header.
struct Meta {
  uint32_t magic;
  uint32_t format_version;
  uint32_t dimensions;
  uint32_t code_dimensions;
  uint16_t degree;
  uint16_t ef_construction;
  uint16_t m;
  Element element;
  Metric metric;
  uint16_t entry_level;
  uint32_t entry_block;   // kNoBlock: the graph is empty
  uint32_t insert_block;  // where the next node is tried; kNoBlock: none yet
  uint16_t entry_offset;
  uint16_t unused;
  uint64_t rotation_seed;
};

inline Meta* page_meta(Page page) { return reinterpret_cast<Meta*>(PageGetContents(page)); }

// How an index's vectors are read, compared and coded. Made for each scan and statement in the current memory context.
struct Index {
  Relation relation;
  core::Space space;
  Element element;
  Metric metric;
  uint32_t dimensions;
  uint32_t m;
  uint32_t ef_construction;  // nodes that an insertion reads
};

// From the relation's column and operator class (a new index). Errors where the column cannot be indexed.
void describe_new(Relation relation, core::Arena* arena, Index* out);

// From the meta page of an index that is there. Errors with a hint to REINDEX where the pages are not this format's.
void describe(Relation relation, core::Arena* arena, Index* out, Meta* meta);

// The meta page's contents; the same errors.
void read_meta(Relation relation, Meta* meta);

// A stored vector in the form that the index holds: the elements alone, of length one for cosine. Null where the row is
// not indexed: a zero vector under cosine. May return a pointer into `datum`, or palloc'd memory.
const void* form_payload(const Index& index, Datum datum, uint32_t* bytes);

// An error where the payload is too much for the index (sparse vectors with too many elements).
void check_storable(const Index& index, const void* payload);

// The length of every vector of an index whose elements are not sparse.
uint32_t vector_bytes(const Index& index);

// Makes an empty index's pages in the fork; returns after the meta page has been written and logged.
void create_meta(Relation relation, ForkNumber fork, const Index& index);

}  // namespace cairn::hnsw
