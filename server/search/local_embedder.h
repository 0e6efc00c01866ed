// The embedder that needs no network: a model of the collection's own texts (lsa.h), kept in search.embedders.
//
// Models in use are remembered, a thread its own.
#pragma once

#include <memory>

#include "search/embedder.h"
#include "search/lsa.h"

namespace cairn::search {

class LocalEmbedder : public Embedder {
 public:
  LocalEmbedder(std::string name, std::shared_ptr<const LsaModel> model)
      : name_(std::move(name)), model_(std::move(model)) {}
  std::string name() const override { return name_; }
  task<std::vector<std::vector<float>>> embed(std::vector<std::string> texts) override;

 private:
  std::string name_;
  std::shared_ptr<const LsaModel> model_;
};

// The newest model of the collection; where there is none yet, one that was trained on nothing.
task<std::unique_ptr<Embedder>> local_embedder(db::Pool& pool, int32_t collection_id);

}  // namespace cairn::search
