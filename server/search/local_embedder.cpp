#include "search/local_embedder.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "base/bytes.h"
#include "base/error.h"
#include "base/reactor.h"
#include "db/transaction.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

constexpr size_t kModelsRemembered = 16;
constexpr size_t kOffloadBytes = 64u << 10;
// A model is made anew when the collection has this many times the chunks that it had then.
constexpr int64_t kGrowth = 4;

std::string from_hex(std::string_view text) {
  std::string bytes(text.size() / 2, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = 0;
    std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, value, 16);
    bytes[i] = static_cast<char>(value);
  }
  return bytes;
}

std::map<std::string, std::shared_ptr<const LsaModel>>& remembered() {
  thread_local std::map<std::string, std::shared_ptr<const LsaModel>> models;
  return models;
}

void remember(const std::string& name, std::shared_ptr<const LsaModel> model) {
  if (remembered().size() >= kModelsRemembered) remembered().erase(remembered().begin());
  remembered()[name] = std::move(model);
}

// local:<collection>:<chunks that there were>:<hash>
std::string prefix_of(int32_t collection_id) { return "local:" + std::to_string(collection_id) + ":"; }

}  // namespace

task<std::vector<std::vector<float>>> LocalEmbedder::embed(std::vector<std::string> texts) {
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  auto work = [&] {
    std::vector<std::vector<float>> vectors;
    for (const std::string& text : texts) vectors.push_back(model_->embed(text));
    return vectors;
  };
  if (bytes <= kOffloadBytes) co_return work();
  co_return co_await offload(work);
}

// Of two that were made at once the later is the collection's.
constexpr Statement kNewest{
    "newest_embedder",
    "SELECT name FROM search.embedders WHERE name ^@ $1 ORDER BY created_at DESC, embedder_id DESC"
    " LIMIT 1"};
constexpr Statement kModel{"embedder_model", "SELECT encode(model, 'hex') FROM search.embedders WHERE name = $1"};

task<std::unique_ptr<Embedder>> local_embedder(db::Pool& pool, int32_t collection_id) {
  std::string name = "local:untrained";
  if (const db::Rows rows = co_await pool.query(kNewest, Params::of(prefix_of(collection_id))); !rows.empty())
    name = rows.text(0, 0);
  if (const auto found = remembered().find(name); found != remembered().end())
    co_return std::make_unique<LocalEmbedder>(name, found->second);
  std::string hex;
  if (name != "local:untrained") {
    const db::Rows rows = co_await pool.query(kModel, Params::of(name));
    if (rows.empty() || rows.is_null(0, 0))
      throw Error(ErrorCode::kTemporarilyUnavailable, "the collection's embedder was just trained anew: try again");
    hex = rows.text(0, 0);
  }
  auto work = [&] { return std::make_shared<const LsaModel>(hex.empty() ? train_lsa({}, "english") : from_hex(hex)); };
  std::shared_ptr<const LsaModel> model = co_await offload(work);
  remember(name, model);
  co_return std::make_unique<LocalEmbedder>(name, std::move(model));
}

constexpr Statement kState{
    "local_embedder_state",
    "SELECT language, (SELECT split_part(name, ':', 3)::bigint FROM search.embedders WHERE name ^@ $2"
    " ORDER BY created_at DESC, embedder_id DESC LIMIT 1) FROM search.collections WHERE collection_id = $1"};
constexpr Statement kStore{
    "store_embedder",
    "INSERT INTO search.embedders (name, model) VALUES ($1, decode($2, 'hex'))"
    " ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at, model = excluded.model"};
// Their names stay: chunks refer to them until they have got their new vectors.
constexpr Statement kForget{
    "forget_embedder_models",
    "UPDATE search.embedders SET model = NULL WHERE name ^@ $1 AND name <> $2 AND model IS NOT NULL"};

task<bool> train_local_embedder(db::Pool& pool, int32_t collection_id) {
  const std::string prefix = prefix_of(collection_id);
  const db::Rows state = co_await pool.query(kState, Params::of(collection_id, prefix));
  if (state.empty()) throw not_found("the collection was just dropped");
  const std::string language = state.text(0, 0);
  const std::optional<int64_t> before = state.optional_integer(0, 1);
  const std::string table = "search.chunks_" + std::to_string(collection_id);
  const std::string count = "SELECT count(*) FROM " + table;
  const db::Rows counted = co_await pool.query(Statement{"", count});
  const int64_t chunks = counted.integer(0, 0);
  if (chunks == 0 || (before && chunks < kGrowth * *before)) co_return false;

  // By their hashes: a sample that is the same whatever the order in which they came.
  const std::string sample =
      fmt::format("SELECT title || E'\\n' || content FROM {} ORDER BY hash LIMIT {}", table, kLsaTexts);
  std::vector<std::string> texts;
  {
    const db::Rows rows = co_await pool.query(Statement{"", sample});
    for (int row = 0; row < rows.size(); ++row) texts.push_back(rows.text(row, 0));
  }
  std::string model;
  auto work = [&] {
    model = train_lsa(texts, language);
    return prefix + std::to_string(chunks) + ":" + sha256_hex(model).substr(0, 16);
  };
  const std::string name = co_await offload(work);
  co_await pool.query(kStore, Params::of(name, to_hex(model)));
  co_await pool.query(kForget, Params::of(prefix, name));
  co_return true;
}

}  // namespace cairn::search
