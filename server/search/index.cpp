#include "search/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "db/transaction.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begun) { return std::chrono::duration<double>(Clock::now() - begun).count(); }

struct Existing {
  std::string name;
  std::string kind;
  int64_t lists = 0;
  bool valid = false;
};

// $1: the chunks' table.
constexpr Statement kExisting{
    "search_existing_indexes",
    "SELECT i.relname::text, a.amname::text, coalesce((SELECT option_value::bigint FROM"
    " pg_options_to_table(i.reloptions) WHERE option_name = 'lists'), 100), x.indisvalid FROM pg_index x"
    " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam"
    " WHERE x.indrelid = to_regclass($1) AND a.amname IN ('hnsw', 'ivfflat') ORDER BY i.relname"};

task<std::vector<Existing>> existing_indexes(db::Pool& pool, const Collection& collection) {
  const db::Rows rows = co_await pool.query(kExisting, Params::of(collection.chunks_table()));
  std::vector<Existing> found;
  for (int row = 0; row < rows.size(); ++row)
    found.push_back({rows.text(row, 0), rows.text(row, 1), rows.integer(row, 2), rows.boolean(row, 3)});
  co_return found;
}

task<> drop(db::Pool& pool, std::string name) {
  const std::string sql = "DROP INDEX IF EXISTS search." + db::quote_identifier(name);
  const Statement statement{"", sql};
  co_await pool.query(statement);
}

task<int64_t> count_vectors(db::Pool& pool, const Collection& collection) {
  const std::string sql = "SELECT count(embedding) FROM " + collection.chunks_table();
  const Statement statement{"", sql};
  const db::Rows row = co_await pool.query(statement);
  co_return row.integer(0, 0);
}

std::string create_statement(const Collection& collection, const IndexPlan& plan, const std::string& name) {
  const std::string options = plan.kind == "ivfflat" ? fmt::format(" WITH (lists = {})", plan.lists) : "";
  return fmt::format("CREATE INDEX CONCURRENTLY {} ON {} USING {} (embedding vector_{}_ops){}",
                     db::quote_identifier(name), collection.chunks_table(), plan.kind, collection.embedder.metric,
                     options);
}

constexpr Statement kProgress{
    "search_index_progress",
    "SELECT phase, CASE WHEN tuples_total > 0 THEN 100 * tuples_done / tuples_total WHEN blocks_total > 0"
    " THEN 100 * blocks_done / blocks_total ELSE 0 END FROM pg_stat_progress_create_index"
    " WHERE relid = to_regclass($1)"};

// Until `done`: says what the build is at, when that has changed.
task<> watch(db::Pool& pool, std::string table, std::shared_ptr<bool> done, Say say) {
  using namespace std::chrono_literals;
  std::string shown;
  while (!*done) {
    co_await sleep_for(500ms);
    if (*done) co_return;
    const db::Rows row = co_await pool.query(kProgress, Params::of(table));
    if (row.empty() || *done) continue;
    const std::string line = fmt::format("index: {} {} %", row.text(0, 0), row.integer(0, 1) / 10 * 10);
    if (line != shown) say(line);
    shown = line;
  }
}

// Waits for older transactions, for as long as they take. What a failure leaves, an invalid index, is dropped the next
// time. It sets nothing: behind a pooler that would be set for others.
task<> build(db::Pool& pool, const Collection& collection, std::string sql, Say say) {
  const auto done = std::make_shared<bool>(false);
  if (say) Reactor::current().spawn("index progress", watch(pool, collection.chunks_table(), done, say));
  std::exception_ptr failure;
  try {
    const Statement create{"", sql};
    co_await pool.query(create);
  } catch (const db::DbError& error) {
    failure = std::current_exception();
    if (error.is_lock_timeout()) {
      failure = std::make_exception_ptr(
          Error(ErrorCode::kInvalidState,
                "the index could not wait for older transactions: lock_timeout ended it; set it to 0 for the server's "
                "role (ALTER ROLE … SET lock_timeout = 0) and build the index again"));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  *done = true;
  if (failure) std::rethrow_exception(failure);
}

task<> analyze(db::Pool& pool, const Collection& collection) {
  const std::string sql = "ANALYZE " + collection.chunks_table();
  const Statement statement{"", sql};
  co_await pool.query(statement);
}

}  // namespace

IndexPlan index_plan(const std::string& wanted, int64_t vectors) {
  if (wanted == "none" || vectors < kIndexFrom) return {};
  if (wanted == "ivfflat") return {"ivfflat", vectors < 100000 ? 100 : vectors / 1000};
  return {"hnsw", 0};
}

namespace {

task<IndexReport> care(db::Pool& pool, const Collection& collection, const Say& say) {
  IndexReport report;
  if (collection.embedder.dimension > 0) {
    report.vectors = co_await count_vectors(pool, collection);
    report.plan = index_plan(collection.index_kind, report.vectors);
  }
  const std::vector<Existing> existing = co_await existing_indexes(pool, collection);
  const auto fits = [&](const Existing& index) {
    return index.valid && index.kind == report.plan.kind &&
           (report.plan.lists == 0 || (index.lists <= 2 * report.plan.lists && report.plan.lists <= 2 * index.lists));
  };
  const auto keep = std::ranges::find_if(existing, fits);
  std::string kept = keep == existing.end() ? "" : keep->name;
  for (const Existing& index : existing)
    if (!index.valid) co_await drop(pool, index.name);
  if (kept.empty() && report.plan.kind != "none") {
    kept = fmt::format("idx_chunks_{}_embedding_{}", collection.id, report.plan.kind);
    if (report.plan.lists > 0) kept += fmt::format("_{}", report.plan.lists);
    if (say) say(fmt::format("index: {} over {} vectors", report.plan.kind, report.vectors));
    co_await build(pool, collection, create_statement(collection, report.plan, kept), say);
    report.built = true;
  }
  for (const Existing& index : existing) {
    if (!index.valid || index.name == kept) continue;
    co_await drop(pool, index.name);
    report.dropped = true;
  }
  co_await analyze(pool, collection);
  co_return report;
}

// $1: the collection. One at a time cares for an index: an index that is being built looks as one that a failure left.
// A lock of the transaction, for behind a pooler there is no session.
constexpr Statement kLock{"search_lock_index", "SELECT pg_try_advisory_xact_lock('search.chunks'::regclass::int, $1)"};
// Comes last: a query's snapshot is kept until the next statement, and who builds would wait for it; SET has none.
constexpr Statement kMayBeIdle{"search_may_be_idle", "SET LOCAL idle_in_transaction_session_timeout = 0"};

}  // namespace

task<IndexReport> care_for_index(db::Pool& pool, std::string name, Say say) {
  using namespace std::chrono_literals;
  const Collection collection = co_await require_collection(pool, name);
  const auto begun = Clock::now();
  // Asked again and again, since a statement that waits would be waited for by who builds; and who waits must not keep
  // the connections that the builder needs.
  std::optional<db::Transaction> lock;
  for (;; co_await sleep_for(100ms)) {
    lock.emplace(co_await pool.acquire(), db::Isolation::kReadCommitted);
    const Params wanted = Params::of(collection.id);
    const db::Rows locked = co_await lock->query(kLock, wanted);
    if (locked.boolean(0, 0)) break;
    lock.reset();
  }
  co_await lock->query(kMayBeIdle);
  IndexReport report = co_await care(pool, collection, say);
  co_await lock->commit();
  report.seconds = seconds_since(begun);
  co_return report;
}

task<bool> index_is_due(db::Pool& pool, const Collection& collection) {
  if (collection.embedder.dimension == 0 || collection.index_kind == "none") co_return false;
  const auto existing = co_await existing_indexes(pool, collection);
  if (!existing.empty()) co_return false;
  const std::string sql = fmt::format("SELECT count(*) FROM (SELECT FROM {} WHERE embedding IS NOT NULL LIMIT {}) c",
                                      collection.chunks_table(), kIndexFrom);
  const Statement statement{"", sql};
  const db::Rows row = co_await pool.query(statement);
  co_return row.integer(0, 0) == kIndexFrom;
}

task<bool> drop_index(db::Pool& pool, std::string name) {
  const Collection collection = co_await require_collection(pool, name);
  const auto existing = co_await existing_indexes(pool, collection);
  for (const Existing& index : existing) co_await drop(pool, index.name);
  co_return !existing.empty();
}

std::string as_json(const IndexReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("kind", report.plan.kind);
  if (report.plan.lists > 0) out.field("lists", report.plan.lists);
  out.field("vectors", report.vectors);
  out.field("built", report.built);
  out.field("dropped", report.dropped);
  out.field("seconds", report.seconds);
  out.end_object();
  return text;
}

}  // namespace cairn::search
