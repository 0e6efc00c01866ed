// Vectors from a collection's own texts, without a network: latent semantic analysis, and beside it the words
// themselves by hash, so that a word that the model never saw has a place too. docs/formats/lsa.md has the model's
// bytes; docs/reference/embeddings.md says how good it is.
//
// Deterministic: equal texts in equal order give equal bytes. A model is immutable; any thread may use it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cairn::search {

inline constexpr int kLatent = 256;
inline constexpr int kHashed = 128;
inline constexpr int kLsaDimension = kLatent + kHashed;
// More texts teach it hardly more, and make training longer than seconds.
inline constexpr int kLsaTexts = 20'000;

// A text's words in lower case, of ideographs the pairs. What is no UTF-8 divides words.
std::vector<std::string> words_of(std::string_view text);

// What training and use share: the words stemmed, and the weight of a word that `with_word` of `texts` texts have.
std::vector<std::string> lsa_words(std::string_view text, const std::string& language);
float lsa_idf(size_t texts, size_t with_word);
inline constexpr std::string_view kLsaMagic = "cairn-lsa-1\n";

// The bytes of a model of these texts (those after kLsaTexts are left out). `language` is PostgreSQL's name of it;
// words are stemmed where there is a stemmer for it.
std::string train_lsa(const std::vector<std::string>& texts, const std::string& language);

class LsaModel {
 public:
  // Throws Error(kInternalError) for bytes that are no model.
  explicit LsaModel(std::string bytes);
  LsaModel(const LsaModel&) = delete;
  LsaModel& operator=(const LsaModel&) = delete;

  // kLsaDimension numbers of length 1, for any text.
  std::vector<float> embed(std::string_view text) const;

 private:
  struct Term {
    float idf = 0;
    float scale = 0;
    const int8_t* row = nullptr;
  };
  std::string bytes_;
  std::string language_;
  float unknown_idf_ = 0;
  std::unordered_map<std::string_view, Term> terms_;
};

}  // namespace cairn::search
