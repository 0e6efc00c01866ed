// What collections there are (docs/formats/search.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "db/pool.h"
#include "search/embedder.h"

namespace cairn::search {

// One row of search.collections.
struct Collection {
  int32_t id = 0;
  std::string name;
  std::string language;
  double title_weight = 1.0;
  double body_weight = 0.4;
  int chunk_size = 1000;
  int chunk_overlap = 100;
  EmbedderSettings embedder;  // dimension 0: no vectors
  std::string index_kind;     // auto, none, hnsw, ivfflat: what is wanted
  int ef_search = 0;          // 0: the extension's default
  int probes = 0;

  // Quoted, with its schema.
  std::string chunks_table() const { return "search.chunks_" + std::to_string(id); }
  // The metric's operator.
  const char* distance() const;
};

// Throws Error(kResourceDoesNotExist).
task<Collection> require_collection(db::Pool& pool, std::string name);

// Makes one of {"name", "language", "description", "title_weight", "body_weight", "chunk_size", "chunk_overlap",
// "metric", "index", "embedder": {"kind", "model", "base_url", "dimension"}}; where the dimension is not given, a text
// is embedded to know it. Gives it as show_collection does. Throws Error(kResourceAlreadyExists).
task<std::string> create_collection(db::Pool& pool, json::Fields declared);
task<> drop_collection(db::Pool& pool, std::string name);

// As JSON: {"collections": [{name, language, …, documents, chunks, index}]}; one of them.
task<std::string> list_collections(db::Pool& pool);
task<std::string> show_collection(db::Pool& pool, std::string name);

}  // namespace cairn::search
