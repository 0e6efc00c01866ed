#include "monitor/gatherer.h"

#include "base/log.h"
#include "monitor/exposition.h"

namespace cairn::monitor {
namespace {

using db::Rows;
using db::Statement;

constexpr std::chrono::seconds kRetry{60};  // what failed is asked again after that

// Nothing that would stay with the session: through a pooler it would be somebody else's next. (A name stays, and is
// each client's own there.)
constexpr Statement kName{"metrics_name", "SELECT set_config('application_name', 'cairn monitor', false)"};
// For the transaction of each statement: it must not wait behind anybody's lock, nor write anything.
constexpr Statement kBounds{
    "metrics_bounds",
    "SELECT set_config('statement_timeout', '3s', true), set_config('lock_timeout', '200ms', true),"
    " set_config('jit', 'off', true), set_config('transaction_read_only', 'on', true)"};
// Nor be the heaviest statement of its own list. Who may not set it is told so, once a connection.
constexpr Statement kBoundsUncounted{
    "metrics_bounds_uncounted",
    "SELECT set_config('statement_timeout', '3s', true), set_config('lock_timeout', '200ms', true),"
    " set_config('jit', 'off', true), set_config('transaction_read_only', 'on', true),"
    " set_config('pg_stat_statements.track', 'none', true)"};

constexpr Statement kFacts{
    "metrics_facts",
    "SELECT quote_ident(n.nspname), version >= '{1,11}', version >= '{1,9}', EXISTS (SELECT FROM pg_class c JOIN"
    " pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'jobs' AND c.relname = 'jobs' AND"
    " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) FROM (SELECT) one LEFT JOIN"
    " (SELECT extnamespace, string_to_array(extversion, '.')::int[] AS version FROM pg_extension"
    " WHERE extname = 'pg_stat_statements') e ON true LEFT JOIN pg_namespace n ON n.oid = e.extnamespace"};

DatabaseFacts facts_of(const Rows& rows) {
  DatabaseFacts facts;
  facts.has_statements = !rows.is_null(0, 0);
  if (facts.has_statements) {
    facts.statements_schema = rows.text(0, 0);
    facts.statements_shared_names = rows.boolean(0, 1);
    facts.statements_toplevel = rows.boolean(0, 2);
  }
  facts.has_jobs = rows.boolean(0, 3);
  return facts;
}

bool is_refusal(const db::DbError& error) {
  return error.sqlstate() == "42501" || error.sqlstate() == "55000" || error.sqlstate() == "0A000";
}

std::string row_labels(const Collector& collector, const std::vector<std::optional<std::string>>& values, size_t first,
                       size_t end) {
  Labels labels;
  for (size_t i = first; i < std::min({end, values.size(), collector.labels.size()}); ++i)
    labels.emplace_back(collector.labels[i], values[i].value_or(""));
  return label_text(labels);
}

std::string render_named(const Collector& collector, const Rows& rows) {
  Exposition out;
  for (int row = 0; row < rows.size(); ++row) {
    const std::string name = rows.optional_texts(row, 0).at(0).value_or("");
    const auto value = rows.optional_numbers(row, 1).at(0);
    if (!value) continue;
    out.family(name, collector.families[0].type, collector.families[0].help);
    out.sample(name, "", *value);
  }
  return out.take();
}

std::string render_rows(const Collector& collector, const Rows& rows) {
  std::vector<std::vector<std::optional<std::string>>> labels;
  std::vector<std::vector<std::optional<double>>> values;
  for (int row = 0; row < rows.size(); ++row) {
    labels.push_back(rows.optional_texts(row, 0));
    values.push_back(rows.optional_numbers(row, 1));
  }
  Exposition out;
  std::vector<std::string> texts;
  size_t first = 0, end = 0;  // of the labels that `texts` has
  for (size_t i = 0; i < collector.families.size(); ++i) {
    const Family& family = collector.families[i];
    if (texts.empty() || first != family.first_label || end != family.end_label) {
      texts.clear();
      first = family.first_label;
      end = family.end_label;
      for (const auto& row : labels) texts.push_back(row_labels(collector, row, first, end));
    }
    out.family(family.name, family.type, family.help);
    for (size_t row = 0; row < values.size(); ++row)
      if (i < values[row].size() && values[row][i]) out.sample(family.name, texts[row], *values[row][i]);
  }
  return out.take();
}

}  // namespace

task<> Gatherer::connect() {
  connection_.reset();
  parts_.clear();
  std::unique_ptr<db::Connection> connection = co_await db::Connection::connect(connection_string_);
  co_await connection->query(kName);
  counted_ = false;
  try {
    co_await connection->query(kBoundsUncounted);
  } catch (const db::DbError& error) {
    if (!is_refusal(error)) throw;
    counted_ = true;
  }
  const Rows facts = co_await connection->query(kFacts);
  for (Collector& collector : collectors(facts_of(facts))) {
    auto part = std::make_unique<Part>();
    part->collector = std::move(collector);
    part->statement_name = std::string("metrics_") + part->collector.name;
    parts_.push_back(std::move(part));
  }
  connection_ = std::move(connection);
}

bool Gatherer::is_due(const Part& part, bool another) const {
  if (!part.asked) return true;
  const auto since = Clock::now() - *part.asked;
  if (!part.succeeded) return since >= kRetry;
  return since >= part.collector.keep + (another ? kSpread : std::chrono::seconds(0));
}

task<> Gatherer::ask(Part& part) {
  const auto start = Clock::now();
  part.asked = start;
  part.succeeded = part.refused = false;
  part.text.clear();
  try {
    std::vector<db::Query> queries{{counted_ ? kBounds : kBoundsUncounted, {}},
                                   {{part.statement_name, part.collector.sql}, {}}};
    auto results = co_await connection_->run(std::move(queries));
    part.rows = std::move(results.back());
    part.succeeded = true;
  } catch (const db::DbError& error) {
    if (connection_->broken()) throw;
    part.refused = is_refusal(error);
    if (part.refused)
      log::debug("metrics: no {}: {}", part.collector.name, error.what());
    else
      log::warn("metrics: no {} for a minute: {}", part.collector.name, error.what());
  }
  part.seconds = std::chrono::duration<double>(Clock::now() - start).count();
}

std::string Gatherer::render(double seconds, bool up) {
  Exposition out;
  out.gauge("pg_up", "1 while PostgreSQL answers.", up);
  bool failed = !up;
  size_t size = 0;
  if (up) {
    out.family("pg_scrape_collector_success", "gauge", "1 where these figures could be had.");
    for (const auto& part : parts_) {
      out.sample("pg_scrape_collector_success", label_text({{"collector", part->collector.name}}), part->succeeded);
      failed = failed || !(part->succeeded || part->refused);
    }
    out.family("pg_scrape_collector_duration_seconds", "gauge", "How long it took to get them.");
    for (const auto& part : parts_) {
      out.sample("pg_scrape_collector_duration_seconds", label_text({{"collector", part->collector.name}}),
                 part->seconds);
      if (part->rows) {
        part->text = part->collector.named ? render_named(part->collector, *part->rows)
                                           : render_rows(part->collector, *part->rows);
        part->rows.reset();
      }
      size += part->text.size();
    }
  }
  out.gauge("pg_exporter_last_scrape_error", "1 when the last scrape lacks something that it should have.", failed);
  out.gauge("pg_exporter_last_scrape_duration_seconds", "How long it took.", seconds);
  std::string page = out.take();
  if (!up) return page;
  page.reserve(page.size() + size);  // megabytes: copied once
  for (const auto& part : parts_) page += part->text;
  return page;
}

task<> Gatherer::gather() {
  const auto start = Clock::now();
  bool up = false;
  // An old connection may have died since: a new one is tried before anything is said.
  for (bool again = true; again;) {
    again = connection_ != nullptr;
    try {
      if (!connection_ || !connection_->alive()) co_await connect();
      bool another = false;  // of those that are kept was asked for in this scrape
      for (size_t i = 0; i < parts_.size(); ++i) {
        Part& part = *parts_[i];
        const bool kept = part.collector.keep.count() > 0;
        if (!is_due(part, kept && another)) continue;
        another = another || kept;
        co_await ask(part);
      }
      up = true;
      again = false;
      failure_.clear();
    } catch (const std::exception& error) {
      if (!again && failure_.empty()) log::warn("metrics: PostgreSQL does not answer: {}", error.what());
      if (!again) failure_ = error.what();
      connection_.reset();
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto make_text = off_thread_.guard([this, seconds, up] { return render(seconds, up); });
  try {
    auto making = offload(make_text);
    std::string page = co_await making;
    page_ = std::make_shared<const std::string>(std::move(page));
  } catch (const std::exception& error) {
    log::error("metrics: {}", error.what());
    page_ = std::make_shared<const std::string>(render(seconds, false));
  }
  under_way_ = false;
  for (const auto& waiter : std::exchange(waiters_, {}))
    if (!waiter->is_set()) waiter->set(true);
}

task<Gatherer::Page> Gatherer::page() {
  const auto waiter = std::make_shared<OneShot<bool>>();
  waiters_.push_back(waiter);
  if (!under_way_) {
    under_way_ = true;
    Reactor::current().spawn("metrics", gather());
  }
  auto give_up = [](std::shared_ptr<OneShot<bool>> late) -> task<> {
    co_await sleep_for(kPatience);
    if (!late->is_set()) late->set(false);
  };
  Reactor::current().spawn("metrics", give_up(waiter));
  auto waiting = waiter->wait();
  const bool arrived = co_await waiting;
  if (arrived) co_return page_;
  Exposition out;
  out.gauge("pg_up", "1 while PostgreSQL answers.", 0);
  out.gauge("pg_exporter_last_scrape_error", "1 when the last scrape lacks something that it should have.", 1);
  co_return std::make_shared<const std::string>(out.take());
}

}  // namespace cairn::monitor
