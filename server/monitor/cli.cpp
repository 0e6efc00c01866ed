#include "monitor/cli.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "monitor/monitor.h"

namespace cairn::monitor {
namespace {

std::string time_text(const simdjson::dom::element& value) {
  if (value.is_null()) return "";
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<time_t>(int64_t(value) / 1000)));
}

std::string labels_text(const simdjson::dom::element& labels) {
  std::string text;
  for (const auto field : simdjson::dom::object(labels))
    text += (text.empty() ? "" : " ") + std::string(field.key) + "=" + std::string(std::string_view(field.value));
  return text;
}

std::string text_of(const simdjson::dom::element& alert, const char* name) {
  return std::string(std::string_view(alert[name]));
}

void print_alerts(const json::Document& document, bool all, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{{"alert", "severity", "since (UTC)", "of", "summary", "description"}};
  if (all) rows[0].insert(rows[0].begin() + 3, "until");
  for (const auto alert : simdjson::dom::array(document.root())) {
    std::vector<std::string> row{text_of(alert, "alert"),        text_of(alert, "severity"),
                                 time_text(alert["started_at"]), labels_text(alert["labels"]),
                                 text_of(alert, "summary"),      text_of(alert, "description")};
    if (all) row.insert(row.begin() + 3, time_text(alert["ended_at"]));
    rows.push_back(std::move(row));
  }
  if (rows.size() == 1)
    out << (all ? "no alert fired within a week\n" : "no alert fires\n");
  else
    print_table(out, rows, 100);
}

}  // namespace

int run_metrics(const std::string& connection_string, std::ostream& out) {
  Reactor reactor;
  Gatherer gatherer(connection_string);
  const Gatherer::Page page = reactor.block_on(gatherer.page());
  if (!gatherer.failure().empty())
    throw Error(ErrorCode::kTemporarilyUnavailable, "the database gives no figures: " + gatherer.failure());
  out << *page;
  return 0;
}

int run_alerts(const AlertsOptions& options, std::ostream& out) {
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  try {
    const std::string alerts = reactor.block_on(read_alerts(pool, options.all));
    if (options.json)
      out << alerts << "\n";
    else
      print_alerts(json::Document(alerts), options.all, out);
  } catch (const db::DbError& error) {
    if (error.sqlstate() != "42P01") throw;
    throw not_found("nobody watches this database: a Cairn server on it does (cairn serve --database-url)");
  }
  return 0;
}

}  // namespace cairn::monitor
