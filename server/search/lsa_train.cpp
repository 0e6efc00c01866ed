// Training: a truncated singular value decomposition of the texts' weighted words by subspace iteration (Halko,
// Martinsson, Tropp: "Finding structure with randomness"), from a fixed start.
#include <Eigen/Dense>
#include <Eigen/Sparse>
#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "search/lsa.h"

namespace cairn::search {
namespace {

constexpr size_t kMaxTerms = 32'768;
// Columns beside those that are kept, and rounds: more change no figure of the quality.
constexpr int kSpare = 16;
// As many directions as texts or words would keep each word apart: there is to be a multiple of what is kept.
constexpr int kTimesLatent = 4;
constexpr int kRounds = 2;

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Sparse = Eigen::SparseMatrix<float, Eigen::RowMajor>;
using Counts = std::vector<std::pair<std::string, int>>;

Counts counts_of(std::string_view text, const std::string& language) {
  std::vector<std::string> words = lsa_words(text, language);
  std::ranges::sort(words);
  Counts counts;
  for (std::string& word : words) {
    if (counts.empty() || counts.back().first != word) counts.emplace_back(std::move(word), 0);
    ++counts.back().second;
  }
  return counts;
}

struct Vocabulary {
  std::vector<std::string> words;
  std::vector<float> idf;
  std::unordered_map<std::string_view, int> place;
};

// Words of two texts or more, the most frequent first; of a word in one text nothing can be learnt.
Vocabulary vocabulary_of(const std::vector<Counts>& texts) {
  std::unordered_map<std::string_view, int> frequency;
  for (const Counts& counts : texts)
    for (const auto& [word, count] : counts) ++frequency[word];
  std::vector<std::pair<int, std::string_view>> order;
  for (const auto& [word, count] : frequency)
    if (count >= 2) order.emplace_back(-count, word);
  std::ranges::sort(order);
  order.resize(std::min(order.size(), kMaxTerms));
  Vocabulary vocabulary;
  for (const auto& [negative, word] : order) {
    vocabulary.words.emplace_back(word);
    vocabulary.idf.push_back(lsa_idf(texts.size(), static_cast<size_t>(-negative)));
  }
  for (size_t i = 0; i < vocabulary.words.size(); ++i) vocabulary.place.emplace(vocabulary.words[i], int(i));
  return vocabulary;
}

// A row a text, of length 1.
Sparse weights_of(const std::vector<Counts>& texts, const Vocabulary& vocabulary) {
  std::vector<Eigen::Triplet<float>> entries;
  for (size_t row = 0; row < texts.size(); ++row) {
    const size_t first = entries.size();
    float squares = 0;
    for (const auto& [word, count] : texts[row]) {
      const auto found = vocabulary.place.find(word);
      if (found == vocabulary.place.end()) continue;
      const float weight = (1 + std::log(float(count))) * vocabulary.idf[size_t(found->second)];
      entries.emplace_back(int(row), found->second, weight);
      squares += weight * weight;
    }
    for (size_t i = first; i < entries.size(); ++i)
      entries[i] = {entries[i].row(), entries[i].col(), entries[i].value() / std::sqrt(squares)};
  }
  Sparse weights(Eigen::Index(texts.size()), Eigen::Index(vocabulary.words.size()));
  weights.setFromTriplets(entries.begin(), entries.end());
  return weights;
}

// The eigenvectors of columns' inner products, largest first, and what they are divided by to become of length 1
// (0 for those that are nothing but rounding).
struct Axes {
  Matrix vectors;
  Eigen::VectorXf inverse_lengths;
};

Axes axes_of(const Matrix& columns) {
  const Matrix products = columns.transpose() * columns;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(products.cast<double>());
  Axes axes;
  axes.vectors = solver.eigenvectors().rowwise().reverse().cast<float>();
  const Eigen::VectorXd values = solver.eigenvalues().reverse();
  axes.inverse_lengths = values.unaryExpr([&](double value) {
    return static_cast<float>(value > 1e-9 * values[0] && value > 0 ? 1 / std::sqrt(value) : 0);
  });
  return axes;
}

Matrix orthonormal(const Matrix& columns) {
  const Axes axes = axes_of(columns);
  return columns * (axes.vectors * axes.inverse_lengths.asDiagonal());
}

// A row a term: its place in the space of the texts' largest singular vectors.
Matrix latent_terms(const Sparse& weights) {
  const Eigen::Index width = std::min<Eigen::Index>({kLatent + kSpare, weights.rows(), weights.cols()});
  Matrix latent = Matrix::Zero(weights.cols(), kLatent);
  if (width == 0) return latent;
  std::mt19937_64 random(1);
  const Matrix start = Matrix::NullaryExpr(weights.rows(), width, [&] { return random() & 1 ? 1.f : -1.f; });
  Matrix space = orthonormal(weights.transpose() * start);
  for (int round = 0; round < kRounds; ++round) {
    const Matrix texts = weights * space;
    space = orthonormal(weights.transpose() * texts);
  }
  const Matrix turned = space * axes_of(weights * space).vectors;
  const Eigen::Index kept = std::min<Eigen::Index>(kLatent, std::min(weights.rows(), weights.cols()) / kTimesLatent);
  latent.leftCols(kept) = turned.leftCols(kept);
  return latent;
}

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

float lsa_idf(size_t texts, size_t with_word) { return std::log((1 + float(texts)) / (1 + float(with_word))) + 1; }

std::string train_lsa(const std::vector<std::string>& texts, const std::string& language) {
  std::vector<Counts> counts;
  for (size_t i = 0; i < std::min<size_t>(texts.size(), kLsaTexts); ++i)
    counts.push_back(counts_of(texts[i], language));
  const Vocabulary vocabulary = vocabulary_of(counts);
  const Matrix latent = latent_terms(weights_of(counts, vocabulary));

  std::string bytes(kLsaMagic);
  append(bytes, static_cast<uint8_t>(language.size()));
  bytes += language;
  append(bytes, lsa_idf(counts.size(), 1));
  append(bytes, static_cast<uint32_t>(vocabulary.words.size()));
  std::string rows;
  for (size_t i = 0; i < vocabulary.words.size(); ++i) {
    const auto row = latent.row(Eigen::Index(i));
    const float scale = std::max(row.cwiseAbs().maxCoeff() / 127, 1e-30f);
    append(bytes, static_cast<uint8_t>(vocabulary.words[i].size()));
    bytes += vocabulary.words[i];
    append(bytes, vocabulary.idf[i]);
    append(bytes, scale);
    for (const float x : row) rows += static_cast<char>(static_cast<int8_t>(std::lround(x / scale)));
  }
  return bytes + rows;
}

}  // namespace cairn::search
