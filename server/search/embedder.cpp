#include "search/embedder.h"

#include "base/error.h"
#include "search/endpoint.h"
#include "search/local_embedder.h"

namespace cairn::search {

task<std::unique_ptr<Embedder>> make_embedder(db::Pool& pool, EmbedderSettings settings) {
  if (settings.kind == "none" || settings.kind == "own") co_return nullptr;
  if (settings.kind == "local") {
    if (!settings.model.empty() || !settings.base_url.empty())
      throw invalid("the embedder 'local' takes no model and no base_url: it is trained on the collection");
    if (settings.dimension != 0 && settings.dimension != kLsaDimension)
      throw invalid("the embedder 'local' has " + std::to_string(kLsaDimension) + " dimensions: leave 'dimension' out");
    co_return co_await local_embedder(pool, settings.collection_id);
  }
  if (settings.kind == "openai")
    co_return std::make_unique<EndpointEmbedder>(endpoint_options(settings, endpoint_environment()));
  throw invalid("there is no embedder '" + settings.kind +
                "': local (needs no network), openai (an OpenAI-style endpoint), own (you bring the vectors) or none");
}

}  // namespace cairn::search
