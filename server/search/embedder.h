// What turns texts into vectors, and how a collection's own is found.
//
// All on the reactor's thread; work of more than a few milliseconds is offloaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/task.h"
#include "db/pool.h"

namespace cairn::search {

class Embedder {
 public:
  virtual ~Embedder() = default;
  // Stable id of the model and its parameters, stored with each vector: vectors of two names are not compared.
  virtual std::string name() const = 0;
  // One vector a text, in their order, all of one length. Throws Error: kTemporarilyUnavailable where trying later may
  // help, kInvalidParameterValue where it will not.
  virtual task<std::vector<std::vector<float>>> embed(std::vector<std::string> texts) = 0;
};

// What a collection says of its embedder (search.collections).
struct EmbedderSettings {
  int32_t collection_id = 0;  // for those that are trained on the collection's chunks
  std::string kind = "none";
  std::string model;
  std::string base_url;
  int dimension = 0;  // 0: whatever the model gives
  std::string metric = "cosine";
};

// Of the kinds local and openai; nothing for none, and for own, whose vectors the caller brings. Throws
// Error(kInvalidParameterValue) for a kind that there is not, or settings that it does not take.
task<std::unique_ptr<Embedder>> make_embedder(db::Pool& pool, EmbedderSettings settings);

// Trains the embedder of a collection of the kind local on its chunks, where it was not yet, or where the collection
// has grown to a multiple since. True: there is a new model, and the chunks want vectors of it.
task<bool> train_local_embedder(db::Pool& pool, int32_t collection_id);

}  // namespace cairn::search
