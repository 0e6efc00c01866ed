// Which replica answers a read: docs/formats/replicas.md has the rule.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"
#include "replicas/api.h"

namespace cairn::replicas {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kMaxStaleness = 1s;
constexpr auto kPatience = 50ms;
constexpr auto kPoll = 500us;
constexpr auto kRestAfterError = 1s;
constexpr auto kReadPatience = 3s;  // as give_up_on_hung_ones() says

std::string key_of(const std::string& method, const std::string& pattern) { return method + " " + pattern; }

}  // namespace

struct Reads::Reader {
  std::string name, connection_string;
  bool has_all = false;
  db::Pool pool;
  http::Router router;
  std::shared_ptr<void> kept;
  std::map<std::string, const http::Handler*> handlers;
  steady_clock::time_point caught_up_to, rests_until;
  bool asking = false;
  int64_t reads = 0, errors = 0;

  explicit Reader(db::PoolOptions options) : pool(std::move(options)) {}
};

// A read on a replica, with a request of its own.
struct Reads::Attempt {
  http::Request request;
  OneShot<http::Response> response;
  steady_clock::time_point begun = steady_clock::now();

  explicit Attempt(const http::Request& from) {
    request.method = from.method;
    request.path = from.path;
    request.raw_target = from.raw_target;
    request.query = from.query;
    request.headers = from.headers;
    request.body = from.body;
    request.captures = from.captures;
    request.user = from.user;
    request.request_id = from.request_id;
    request.traceparent = from.traceparent;
  }
};

Reads::Reads(http::Router& router, db::Pool& primary, std::vector<ReadRoute> routes, Register make_routes)
    : primary_(primary), make_routes_(std::move(make_routes)) {
  for (const auto& route : router.routes()) {
    const bool is_read = std::ranges::any_of(
        routes, [&](const ReadRoute& read) { return route->method == read.method && route->pattern == read.pattern; });
    if (!is_read && route->method == "GET") continue;
    // The original stays where it is for as long as the router.
    const auto original = std::make_shared<const http::Handler>(std::move(route->handler));
    const std::string key = key_of(route->method, route->pattern);
    if (is_read)
      route->handler = [this, original, key](http::Request& request) { return read(*original, key, request); };
    else
      route->handler = [this, original](http::Request& request) { return write(*original, request); };
  }
}

Reads::~Reads() = default;

void Reads::set_replicas(const std::vector<Running>& running, const db::PoolOptions& options) {
  give_up_on_hung_ones();
  for (size_t i = readers_.size(); i-- > 0;) {
    const auto same = std::ranges::find(running, readers_[i]->connection_string, &Running::connection_string);
    if (same != running.end() && same->has_all == readers_[i]->has_all) continue;
    retired_.push_back(readers_[i]);
    readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(i));
  }
  for (const Running& one : running) {
    if (std::ranges::any_of(readers_,
                            [&](const auto& reader) { return reader->connection_string == one.connection_string; }))
      continue;
    db::PoolOptions own = options;
    own.connection_string = one.connection_string;
    const auto reader = std::make_shared<Reader>(own);
    reader->name = one.name;
    reader->connection_string = one.connection_string;
    reader->has_all = one.has_all;
    reader->kept = make_routes_(reader->router, reader->pool);
    for (const auto& route : reader->router.routes())
      reader->handlers[key_of(route->method, route->pattern)] = &route->handler;
    readers_.push_back(reader);
    log::info("reads may go to replica {}", one.name);
  }
}

task<http::Response> Reads::write(const http::Handler& handler, http::Request& request) {
  // Also when it fails: what it wrote may have been committed.
  struct Mark {
    steady_clock::time_point& at;
    ~Mark() { at = steady_clock::now(); }
  } mark{last_write_};
  auto answering = handler(request);
  co_return co_await answering;
}

task<http::Response> Reads::read(const http::Handler& primary, std::string key, http::Request& request) {
  std::shared_ptr<Reader> reader;
  if (!readers_.empty()) {
    auto choosing = choose();
    reader = co_await choosing;
  }
  if (reader) {
    const auto attempt = std::make_shared<Attempt>(request);
    under_way_.push_back(attempt);
    Reactor::current().spawn("replicas", run(attempt, reader, key));
    try {
      http::Response response = co_await attempt->response.wait();
      under_way_.remove(attempt);
      ++reader->reads;
      co_return response;
    } catch (const db::DbError& error) {
      // Gone, hung, or a query that was in the way of what had to be replayed: the primary answers.
      log::warn("replica {} did not answer: {}", reader->name, error.what());
    } catch (...) {
      under_way_.remove(attempt);
      throw;
    }
    under_way_.remove(attempt);
    ++reader->errors;
    reader->rests_until = steady_clock::now() + kRestAfterError;
  }
  ++primary_reads_;
  auto answering = primary(request);
  co_return co_await answering;
}

// Outlives a request that no longer waits for it.
task<> Reads::run(std::shared_ptr<Attempt> attempt, std::shared_ptr<Reader> reader, std::string key) {
  std::exception_ptr error;
  try {
    auto answering = reader->handlers.at(key)->operator()(attempt->request);
    http::Response response = co_await answering;
    if (!attempt->response.is_set()) attempt->response.set(std::move(response));
  } catch (...) {
    error = std::current_exception();
  }
  if (error && !attempt->response.is_set()) attempt->response.fail(error);
}

void Reads::give_up_on_hung_ones() {
  const auto now = steady_clock::now();
  for (const auto& attempt : under_way_)
    if (now - attempt->begun > kReadPatience && !attempt->response.is_set())
      attempt->response.fail(
          std::make_exception_ptr(db::DbError("57014", "no answer came within three seconds", "a read on a replica")));
}

std::shared_ptr<Reads::Reader> Reads::caught_up(steady_clock::time_point need) {
  const auto now = steady_clock::now();
  for (size_t i = 0; i < readers_.size(); ++i) {
    const auto& reader = readers_[++turn_ % readers_.size()];
    if (reader->caught_up_to >= need && now >= reader->rests_until) return reader;
  }
  return nullptr;
}

task<std::shared_ptr<Reads::Reader>> Reads::choose() {
  const auto begun = steady_clock::now();
  const auto written = last_write_;
  for (;;) {
    const auto now = steady_clock::now();
    if (auto reader = caught_up(primary_away_ ? written : std::max(written, begun - kMaxStaleness))) co_return reader;
    if (now - begun > kPatience || readers_.empty()) co_return nullptr;
    if (!asking_) Reactor::current().spawn("replicas", ask_primary());
    for (const auto& reader : readers_)
      if (!reader->asking && now >= reader->rests_until) Reactor::current().spawn("replicas", ask_reader(reader));
    co_await sleep_for(kPoll);
  }
}

constexpr db::Statement kPosition{"replicas_position", "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::int8"};

task<> Reads::ask_primary() {
  asking_ = true;
  const auto at = steady_clock::now();
  try {
    auto asking = primary_.query(kPosition);
    const db::Rows rows = co_await asking;
    position_ = rows.integer(0, 0);
    position_at_ = at;
    primary_away_ = false;
  } catch (const Error&) {
    primary_away_ = true;
  }
  asking_ = false;
}

constexpr db::Statement kReplayed{"replicas_replayed",
                                  "SELECT (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0'::pg_lsn)::int8, "
                                  "(coalesce(pg_last_wal_receive_lsn(), '0/0') - '0/0'::pg_lsn)::int8"};

task<> Reads::ask_reader(std::shared_ptr<Reader> reader) {
  reader->asking = true;
  const auto at = steady_clock::now();
  try {
    auto asking = reader->pool.query(kReplayed);
    const db::Rows rows = co_await asking;
    const int64_t replayed = rows.integer(0, 0);
    if (replayed >= position_) reader->caught_up_to = std::max(reader->caught_up_to, position_at_);
    if (primary_away_ && reader->has_all && replayed >= rows.integer(0, 1))
      reader->caught_up_to = std::max(reader->caught_up_to, at);
  } catch (const Error& error) {
    log::warn("replica {} does not answer: {}", reader->name, error.what());
    reader->rests_until = steady_clock::now() + kRestAfterError;
  }
  reader->asking = false;
}

std::string Reads::metrics() const {
  if (readers_.empty()) return "";
  std::string text =
      "# HELP cairn_replica_reads_total Reads that a replica answered.\n# TYPE cairn_replica_reads_total counter\n";
  for (const auto& reader : readers_)
    text += fmt::format("cairn_replica_reads_total{{replica=\"{}\"}} {}\n", reader->name, reader->reads);
  text +=
      "# HELP cairn_replica_errors_total Reads that a replica failed to answer.\n# TYPE cairn_replica_errors_total "
      "counter\n";
  for (const auto& reader : readers_)
    text += fmt::format("cairn_replica_errors_total{{replica=\"{}\"}} {}\n", reader->name, reader->errors);
  text +=
      "# HELP cairn_replica_fallbacks_total Reads that the primary answered, though there are replicas.\n"
      "# TYPE cairn_replica_fallbacks_total counter\n";
  return text + fmt::format("cairn_replica_fallbacks_total {}\n", primary_reads_);
}

}  // namespace cairn::replicas
