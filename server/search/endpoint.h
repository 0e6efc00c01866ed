// Embeddings from an endpoint that speaks OpenAI's /v1/embeddings: batches, and tries again where that may help.
//
// All on the reactor's thread.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "search/embedder.h"

namespace cairn::search {

struct EndpointOptions {
  std::string base_url;  // with the API's version, as OpenAI's clients have it: https://api.openai.com/v1
  std::string model;
  std::string key;    // empty: none is sent. Never in a message or a log
  int dimension = 0;  // of each vector; 0: whatever comes
  bool normalise = false;
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  std::chrono::milliseconds first_delay{500};  // doubled with each try
  int tries = 6;
};

// Of what a collection says and the environment has: OPENAI_BASE_URL is used where the collection names no endpoint,
// and OPENAI_API_KEY goes to OPENAI_BASE_URL (without one, to OpenAI) and to nobody else, whatever a collection names.
// Throws Error(kInvalidParameterValue) for what is no address of an endpoint.
EndpointOptions endpoint_options(const EmbedderSettings& settings,
                                 const std::map<std::string, std::string>& environment);

// The process's environment over the file .env, read once.
const std::map<std::string, std::string>& endpoint_environment();

// The vectors in an answer, in the order of the texts. Throws Error(kInvalidParameterValue) that says what is wrong.
std::vector<std::vector<float>> parse_embeddings(std::string_view body, size_t texts);

class EndpointEmbedder : public Embedder {
 public:
  explicit EndpointEmbedder(EndpointOptions options) : options_(std::move(options)) {}
  std::string name() const override;
  task<std::vector<std::vector<float>>> embed(std::vector<std::string> texts) override;

 private:
  task<std::vector<std::vector<float>>> embed_batch(std::vector<std::string> texts);
  task<std::string> ask(std::string body);
  void check(std::vector<std::vector<float>>& vectors) const;
  std::string who() const;

  EndpointOptions options_;
};

}  // namespace cairn::search
