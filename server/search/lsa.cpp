#include "search/lsa.h"

#include <libstemmer.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>

#include "base/error.h"

namespace cairn::search {
namespace {

// How much the hashed words count beside the latent part; measured (docs/reference/embeddings.md).
constexpr float kHashedWeight = 0.5f;
// Each word has a few signed places of the hashed part: with one, two words that share it would be the same.
constexpr int kPlaces = 4;

// FNV-1a, then splitmix64's last steps: the same on every machine.
uint64_t hash_of(std::string_view word) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const unsigned char c : word) hash = (hash ^ c) * 0x100000001b3u;
  hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
  return hash ^ hash >> 31;
}

void scale_to(std::span<float> part, float length) {
  double squares = 0;
  for (const float x : part) squares += double{x} * x;
  if (squares == 0) return;
  const auto factor = static_cast<float>(length / std::sqrt(squares));
  for (float& x : part) x *= factor;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  std::string_view take(size_t count) {
    if (count > left_.size())
      throw Error(ErrorCode::kInternalError, "the embedding model in the database is cut short");
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
};

}  // namespace

std::vector<std::string> lsa_words(std::string_view text, const std::string& language) {
  std::vector<std::string> words = words_of(text);
  const std::unique_ptr<sb_stemmer, decltype(&sb_stemmer_delete)> stemmer(sb_stemmer_new(language.c_str(), "UTF_8"),
                                                                          &sb_stemmer_delete);
  if (!stemmer) return words;
  for (std::string& word : words) {
    const sb_symbol* stem =
        sb_stemmer_stem(stemmer.get(), reinterpret_cast<const sb_symbol*>(word.data()), static_cast<int>(word.size()));
    if (stem != nullptr)
      word.assign(reinterpret_cast<const char*>(stem), static_cast<size_t>(sb_stemmer_length(stemmer.get())));
  }
  return words;
}

LsaModel::LsaModel(std::string bytes) : bytes_(std::move(bytes)) {
  Reader reader(bytes_);
  if (reader.take(kLsaMagic.size()) != kLsaMagic)
    throw Error(ErrorCode::kInternalError, "the embedding model in the database is none, or of another version");
  language_ = reader.take(reader.number<uint8_t>());
  unknown_idf_ = reader.number<float>();
  const auto count = reader.number<uint32_t>();
  std::vector<std::string_view> words;
  std::vector<Term> terms;
  for (uint32_t i = 0; i < count; ++i) {
    words.push_back(reader.take(reader.number<uint8_t>()));
    Term& term = terms.emplace_back();
    term.idf = reader.number<float>();
    term.scale = reader.number<float>();
  }
  terms_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    terms[i].row = reinterpret_cast<const int8_t*>(reader.take(kLatent).data());
    terms_.emplace(words[i], terms[i]);
  }
  if (!reader.empty()) throw Error(ErrorCode::kInternalError, "the embedding model in the database has bytes too many");
}

std::vector<float> LsaModel::embed(std::string_view text) const {
  std::vector<std::string> words = lsa_words(text, language_);
  if (words.empty()) words.emplace_back();  // even nothing has a place, so that every vector has a length
  std::ranges::sort(words);
  std::vector<float> vector(kLsaDimension);
  const std::span<float> latent(vector.data(), kLatent);
  const std::span<float> hashed(vector.data() + kLatent, kHashed);
  for (size_t at = 0, next = 0; at < words.size(); at = next) {
    while (next < words.size() && words[next] == words[at]) ++next;
    const auto found = terms_.find(words[at]);
    const float weight =
        (1 + std::log(static_cast<float>(next - at))) * (found != terms_.end() ? found->second.idf : unknown_idf_);
    if (found != terms_.end()) {
      const Term& term = found->second;
      for (int i = 0; i < kLatent; ++i) latent[size_t(i)] += weight * term.scale * term.row[i];
    }
    uint64_t hash = hash_of(words[at]);
    for (int i = 0; i < kPlaces; ++i, hash >>= 8) hashed[hash % kHashed] += hash & 0x80 ? weight : -weight;
  }
  scale_to(latent, 1);
  scale_to(hashed, kHashedWeight);
  scale_to(vector, 1);
  return vector;
}

}  // namespace cairn::search
