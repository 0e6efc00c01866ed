#include <cmath>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "search/endpoint.h"

namespace cairn::search {
namespace {

constexpr size_t kMaxDimension = 16'000;

std::vector<float> vector_of(simdjson::dom::element element) {
  simdjson::dom::array numbers;
  if (element.get(numbers) != simdjson::SUCCESS) throw invalid("an 'embedding' is not a list of numbers");
  std::vector<float> vector;
  for (const simdjson::dom::element number : numbers) {
    double value = 0;
    if (number.get(value) != simdjson::SUCCESS) throw invalid("an 'embedding' is not a list of numbers");
    vector.push_back(static_cast<float>(value));
    if (!std::isfinite(vector.back())) throw invalid("a number in an 'embedding' is too large");
    if (vector.size() > kMaxDimension)
      throw invalid("an 'embedding' has more than " + std::to_string(kMaxDimension) + " numbers");
  }
  if (vector.empty()) throw invalid("an 'embedding' is empty");
  return vector;
}

}  // namespace

std::vector<std::vector<float>> parse_embeddings(std::string_view body, size_t texts) {
  const json::Document document(body);
  simdjson::dom::array data;
  if (document.root()["data"].get(data) != simdjson::SUCCESS) throw invalid("it has no list 'data'");
  std::vector<std::vector<float>> vectors(texts);
  size_t position = 0;
  for (const simdjson::dom::element element : data) {
    // Without an index they are in the texts' order.
    uint64_t index = position++;
    if (const auto named = element["index"];
        named.error() == simdjson::SUCCESS && named.get(index) != simdjson::SUCCESS)
      throw invalid("an 'index' is not a number of a text");
    simdjson::dom::element embedding;
    if (element["embedding"].get(embedding) != simdjson::SUCCESS)
      throw invalid("an element of 'data' has no 'embedding'");
    if (index >= texts || !vectors[index].empty())
      throw invalid("it has a vector for text " + std::to_string(index) +
                    (index >= texts ? ", which there is not" : " twice"));
    vectors[index] = vector_of(embedding);
  }
  for (const std::vector<float>& vector : vectors) {
    if (vector.empty())
      throw invalid("it has " + std::to_string(position) + " vectors for " + std::to_string(texts) + " texts");
    if (vector.size() != vectors[0].size()) throw invalid("its vectors differ in length");
  }
  return vectors;
}

}  // namespace cairn::search
