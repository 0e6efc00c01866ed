// Indexes that cost writes and room and give nothing: never used, there twice, covered by another, invalid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"
#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

enum class DropKind { kInvalid, kDuplicate, kCovered, kUnused };

struct Drop {
  DropKind kind = DropKind::kUnused;
  int64_t oid = 0;
  TableName table = {};
  std::string index = {};  // its name, in the table's schema
  int64_t bytes = 0;
  std::string reason = {};     // in words, with what must be looked at before
  std::string statement = {};  // the one that drops it, without blocking writers where PostgreSQL can
  std::string undo = {};       // the one that makes it again
};

// The largest first. An index stands here once, for the surest reason.
std::vector<Drop> propose_drops(const Catalog& catalog);

}  // namespace cairn::tuner
