// What an index is about: its element type and metric from the operator class, its layout, its vectors' form.
#include <cmath>

#include "am/hnsw/am.h"
#include "am/hnsw/distance.h"
#include "kernels/distance.h"
#include "pg/page_change.h"
#include "types/bit.h"
#include "types/sparsevec.h"
#include "types/vector.h"

PG_FUNCTION_DECLARE(hnsw_halfvec_support);
PG_FUNCTION_DECLARE(hnsw_bit_support);
PG_FUNCTION_DECLARE(hnsw_sparsevec_support);

namespace cairn::hnsw {
namespace {

constexpr uint64_t kRotationSeed = 0x6361697266;
// An insertion reads so many times ef_construction nodes: the list of candidates is by estimates, and a node that is
// read costs a tenth of one in a graph without codes.
constexpr uint32_t kConstructionNodes = 2;
constexpr int32_t kMaxSparseElements = 1000;
constexpr uint32_t kStockMagic = 0xA953A953;  // of pgvector's meta page

struct ElementKind {
  Element element;
  const char* type;
  uint32_t max_dimensions;
};

// Of an operator class of the user's own.
[[noreturn]] void refuse_function(Relation index, uint16 number) {
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("support function %u is not supported for hnsw index", index_getprocid(index, 1, number)),
                  errhint("Use an operator class that comes with the extension.")));
}

ElementKind element_kind(Relation index) {
  const PGFunction support =
      OidIsValid(index_getprocid(index, 1, 3)) ? index_getprocinfo(index, 1, 3)->fn_addr : nullptr;
  if (support == nullptr) return {Element::float32, "vector", 16000};
  if (support == hnsw_halfvec_support) return {Element::float16, "halfvec", 4000};
  if (support == hnsw_bit_support) return {Element::bit, "bit", 64000};
  if (support == hnsw_sparsevec_support) return {Element::sparse, "sparsevec", 0};
  refuse_function(index, 3);
}

// Cosine classes give the inner product as distance and have the norm beside it.
Metric metric_of(Relation index) {
  static const struct {
    PGFunction function;
    Metric metric;
  } kMetrics[] = {
      {vector_l2_squared_distance, Metric::l2},
      {vector_negative_inner_product, Metric::inner_product},
      {l1_distance, Metric::l1},
      {halfvec_l2_squared_distance, Metric::l2},
      {halfvec_negative_inner_product, Metric::inner_product},
      {halfvec_l1_distance, Metric::l1},
      {sparsevec_l2_squared_distance, Metric::l2},
      {sparsevec_negative_inner_product, Metric::inner_product},
      {sparsevec_l1_distance, Metric::l1},
      {hamming_distance, Metric::hamming},
      {jaccard_distance, Metric::jaccard},
  };
  const PGFunction distance = index_getprocinfo(index, 1, 1)->fn_addr;
  for (const auto& known : kMetrics)
    if (known.function == distance) {
      if (known.metric == Metric::inner_product && OidIsValid(index_getprocid(index, 1, 2))) return Metric::cosine;
      return known.metric;
    }
  refuse_function(index, 1);
}

}  // namespace

uint32_t vector_bytes(const Index& index) {
  switch (index.element) {
    case Element::float32:
      return index.dimensions * 4;
    case Element::float16:
      return index.dimensions * 2;
    default:
      return (index.dimensions + 7) / 8;
  }
}

namespace {

void half_payload_to_floats(const void* payload, float* out, size_t n) {
  core::half_to_float(static_cast<const uint16_t*>(payload), out, n);
}

void float_payload_to_floats(const void* payload, float* out, size_t n) { memcpy(out, payload, n * sizeof(float)); }

// Short vectors get more bits than coordinates: with fewer the estimates are too rough to choose by.
constexpr uint32_t kLeastCode = 192;

// Room for the edges of one node in one page, with codes of all coordinates where those leave room for 2 m edges or for
// at least kEnoughCode of them. What the nodes of a page then leave over goes to more edges: they cost no page, and
// fewer must give way.
void choose_layout(Index* index) {
  constexpr uint32_t kEnoughCode = 1024;
  constexpr uint32_t kRoom = core::kPageSpace - core::kLinePointerBytes;
  core::NodeLayout& layout = index->space.layout;
  const bool has_codes =
      (index->element == Element::float32 || index->element == Element::float16) && index->metric != Metric::l1;
  layout.degree = Min(2 * index->m, core::kMaxDegree);
  if (has_codes) {
    const auto padded = static_cast<uint32_t>(core::padded_dimensions(Max(index->dimensions, kLeastCode)));
    const uint32_t edge_room = (kRoom - sizeof(core::Node)) / layout.degree;
    const uint32_t fitting = edge_room <= sizeof(core::Edge) ? 0 : (edge_room - sizeof(core::Edge)) / 8 * 64;
    layout.code_dimensions =
        Min(Min(padded, Max(fitting, kEnoughCode)), static_cast<uint32_t>(core::kMaxCodeDimensions));
  }
  layout.edge_bytes = sizeof(core::Edge) + layout.code_dimensions / 8;
  layout.degree = Min(layout.degree, (kRoom - static_cast<uint32_t>(sizeof(core::Node))) / layout.edge_bytes);
  layout.chosen_max = layout.degree * 3 / 4;
  layout.room = kRoom;
  if (index->element == Element::sparse) return;
  const uint32_t node_bytes = layout.node_bytes(vector_bytes(*index));
  const uint32_t nodes = core::kPageSpace / (node_bytes + core::kLinePointerBytes);
  const uint32_t spare = core::kPageSpace / nodes - core::kLinePointerBytes - node_bytes;
  layout.degree = Min(layout.degree + spare / layout.edge_bytes, core::kMaxDegree);
}

void complete(Index* index, core::Arena* arena, uint64_t seed) {
  core::Space& space = index->space;
  space.distance = distance_function(index->element, index->metric);
  space.code_metric = index->metric == Metric::inner_product ? core::CodeMetric::inner_product : core::CodeMetric::l2;
  space.payload_bytes_max =
      index->element == Element::sparse
          ? static_cast<uint32_t>(sizeof(SparsePayload) + kMaxSparseElements * (sizeof(int32) + sizeof(float)))
          : vector_bytes(*index);
  space.to_floats = index->element == Element::float16 ? half_payload_to_floats : float_payload_to_floats;
  if (space.layout.code_dimensions > 0) space.rotation.init(index->dimensions, seed, arena, kLeastCode);
  if (space.distance == nullptr)
    elog(ERROR, "hnsw has no such metric for the type of index \"%s\"", RelationGetRelationName(index->relation));
}

[[noreturn]] void refuse_pages(Relation relation, uint32_t magic) {
  ereport(ERROR, (errcode(magic == kStockMagic ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE : ERRCODE_INDEX_CORRUPTED),
                  magic == kStockMagic ? errmsg("index \"%s\" was built by pgvector", RelationGetRelationName(relation))
                                       : errmsg("index \"%s\" is not an hnsw index of this version of the extension",
                                                RelationGetRelationName(relation)),
                  errhint("Rebuild it: REINDEX INDEX %s;", quote_identifier(RelationGetRelationName(relation)))));
}

const void* dense_payload(const Index& index, const void* x, int dim, uint32_t* bytes) {
  *bytes = vector_bytes(index);
  if (static_cast<uint32_t>(dim) != index.dimensions)
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("different vector dimensions %d and %u", dim, index.dimensions)));
  if (index.metric != Metric::cosine) return x;
  auto* floats = static_cast<float*>(palloc((index.dimensions + 16) * sizeof(float)));
  index.space.to_floats(x, floats, index.dimensions);
  double norm = 0;
  for (uint32_t i = 0; i < index.dimensions; ++i) norm += static_cast<double>(floats[i]) * floats[i];
  if (norm == 0) return nullptr;
  norm = std::sqrt(norm);
  for (uint32_t i = 0; i < index.dimensions; ++i) floats[i] = static_cast<float>(floats[i] / norm);
  if (index.element == Element::float32) return floats;
  auto* halves = static_cast<uint16_t*>(palloc(index.dimensions * sizeof(uint16_t)));
  core::float_to_half(floats, halves, index.dimensions);
  return halves;
}

const void* sparse_payload(const Index& index, const SparseVector* vector, uint32_t* bytes) {
  if (static_cast<uint32_t>(vector->dim) != index.dimensions)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different sparsevec dimensions %d and %u", vector->dim, index.dimensions)));
  const auto count = static_cast<uint32_t>(vector->nnz);
  *bytes = static_cast<uint32_t>(sizeof(SparsePayload) + count * (sizeof(int32) + sizeof(float)));
  auto* payload = static_cast<SparsePayload*>(palloc(*bytes));
  payload->count = vector->nnz;
  memcpy(payload->indices, vector->indices, count * (sizeof(int32) + sizeof(float)));
  if (index.metric != Metric::cosine) return payload;
  auto* values = reinterpret_cast<float*>(payload->indices + count);
  double norm = 0;
  for (uint32_t i = 0; i < count; ++i) norm += static_cast<double>(values[i]) * values[i];
  if (norm == 0) return nullptr;
  for (uint32_t i = 0; i < count; ++i) values[i] = static_cast<float>(values[i] / std::sqrt(norm));
  return payload;
}

}  // namespace

void describe_new(Relation relation, core::Arena* arena, Index* out) {
  *out = {};
  out->relation = relation;
  const auto* options = reinterpret_cast<const Options*>(relation->rd_options);
  out->m = options == nullptr ? kDefaultM : static_cast<uint32_t>(options->m);
  out->ef_construction = options == nullptr ? kDefaultEfConstruction : static_cast<uint32_t>(options->ef_construction);
  const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), 0);
  const ElementKind kind = element_kind(relation);
  if (kind.element == Element::bit && attribute->atttypid == VARBITOID)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("type not supported for hnsw index")));
  if (attribute->atttypmod < 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("column does not have dimensions")));
  out->element = kind.element;
  out->metric = metric_of(relation);
  out->dimensions = static_cast<uint32_t>(attribute->atttypmod);
  if (kind.max_dimensions > 0 && out->dimensions > kind.max_dimensions)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("column cannot have more than %u dimensions for hnsw index", kind.max_dimensions)));
  if (out->ef_construction < 2 * out->m)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("ef_construction must be greater than or equal to 2 * m")));
  out->ef_construction *= kConstructionNodes;
  choose_layout(out);
  complete(out, arena, kRotationSeed);
}

void read_meta(Relation relation, Meta* meta) {
  const Buffer buffer = ReadBuffer(relation, 0);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  memcpy(meta, page_meta(BufferGetPage(buffer)), sizeof(*meta));
  UnlockReleaseBuffer(buffer);
  if (meta->magic != kMagic || meta->format_version != kFormatVersion) refuse_pages(relation, meta->magic);
}

void describe(Relation relation, core::Arena* arena, Index* out, Meta* meta) {
  read_meta(relation, meta);
  *out = {};
  out->relation = relation;
  out->m = meta->m;
  out->ef_construction = kConstructionNodes * meta->ef_construction;
  out->element = meta->element;
  out->metric = meta->metric;
  out->dimensions = meta->dimensions;
  choose_layout(out);
  if (element_kind(relation).element != meta->element || metric_of(relation) != meta->metric || meta->m < 2 ||
      meta->m > 100 || meta->dimensions > 1000000000 || out->space.layout.degree != meta->degree ||
      out->space.layout.code_dimensions != meta->code_dimensions)
    ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
                    errmsg("the first page of index \"%s\" is damaged", RelationGetRelationName(relation)),
                    errhint("Rebuild it: REINDEX INDEX %s;", quote_identifier(RelationGetRelationName(relation)))));
  complete(out, arena, meta->rotation_seed);
}

const void* form_payload(const Index& index, Datum datum, uint32_t* bytes) {
  switch (index.element) {
    case Element::float32: {
      const DenseView<float> view(datum);
      return dense_payload(index, view.x, view.dim, bytes);
    }
    case Element::float16: {
      const DenseView<uint16_t> view(datum);
      return dense_payload(index, view.x, view.dim, bytes);
    }
    case Element::bit: {
      VarBit* bits = DatumGetVarBitP(datum);
      if (static_cast<uint32_t>(VARBITLEN(bits)) != index.dimensions)
        ereport(ERROR,
                (errcode(ERRCODE_DATA_EXCEPTION),
                 errmsg("different bit lengths %u and %u", static_cast<uint32_t>(VARBITLEN(bits)), index.dimensions)));
      *bytes = vector_bytes(index);
      return VARBITS(bits);
    }
    case Element::sparse:
      return sparse_payload(index, sparse_argument(datum), bytes);
  }
  return nullptr;
}

void check_storable(const Index& index, const void* payload) {
  if (index.element == Element::sparse && static_cast<const SparsePayload*>(payload)->count > kMaxSparseElements)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("sparsevec cannot have more than %d non-zero elements for hnsw index", kMaxSparseElements)));
}

void create_meta(Relation relation, ForkNumber fork, const Index& index) {
  PGAlignedBlock page;
  core::page_init(reinterpret_cast<uint8_t*>(page.data), core::kMetaPage);
  Meta* meta = page_meta(page.data);
  *meta = {};
  meta->magic = kMagic;
  meta->format_version = kFormatVersion;
  meta->dimensions = index.dimensions;
  meta->code_dimensions = index.space.layout.code_dimensions;
  meta->degree = static_cast<uint16_t>(index.space.layout.degree);
  meta->ef_construction = static_cast<uint16_t>(index.ef_construction / kConstructionNodes);
  meta->m = static_cast<uint16_t>(index.m);
  meta->element = index.element;
  meta->metric = index.metric;
  meta->entry_block = core::kNoBlock;
  meta->insert_block = core::kNoBlock;
  meta->rotation_seed = kRotationSeed;
  reinterpret_cast<PageHeader>(page.data)->pd_lower =
      static_cast<LocationIndex>(MAXALIGN(SizeOfPageHeaderData) + sizeof(Meta));
  const Buffer buffer = ReadBufferExtended(relation, fork, P_NEW, RBM_NORMAL, nullptr);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  pg::write_new_page(relation, buffer, page.data, fork == INIT_FORKNUM);
  UnlockReleaseBuffer(buffer);
}

}  // namespace cairn::hnsw
