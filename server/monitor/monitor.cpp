#include "monitor/monitor.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "http/transfer.h"

namespace cairn::monitor {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr size_t kMostKnown = 10'000;
constexpr double kFiguresEvery = 60;

// Held for a while, and longer by whoever holds it. No lock of a session: there may be a pooler.
constexpr Statement kLead{
    "monitor_lead",
    "INSERT INTO monitor.watch AS w (holder, until) VALUES ($1, clock_timestamp() + $2 * interval '1 second')"
    " ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    " WHERE w.holder = excluded.holder OR w.until < clock_timestamp()"};

constexpr Statement kLoad{
    "monitor_load_alerts",
    "SELECT alert_id, alert, labels::text, description, value, extract(epoch FROM started_at)::float8,"
    " extract(epoch FROM told_at)::float8 FROM monitor.alerts WHERE ended_at IS NULL ORDER BY alert_id LIMIT 10000"};

constexpr Statement kEndForgotten{"monitor_end_alert",
                                  "UPDATE monitor.alerts SET ended_at = now() WHERE alert_id = $1"};

constexpr Statement kInsert{
    "monitor_insert_alert",
    "INSERT INTO monitor.alerts (alert, labels, severity, summary, description, value, started_at, ended_at, told_at,"
    " told_end_at) VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7), to_timestamp($8), to_timestamp($9), "
    "to_timestamp($10))"
    " ON CONFLICT (alert, labels) WHERE ended_at IS NULL DO UPDATE SET told_at = excluded.told_at RETURNING alert_id"};

constexpr Statement kUpdate{"monitor_update_alert",
                            "UPDATE monitor.alerts SET ended_at = to_timestamp($2), told_at = to_timestamp($3),"
                            " told_end_at = to_timestamp($4) WHERE alert_id = $1"};

constexpr Statement kForgetAlerts{"monitor_forget_alerts",
                                  "DELETE FROM monitor.alerts WHERE ended_at < now() - interval '7 days'"};

constexpr Statement kKeepFigures{
    "monitor_keep_figures",
    "INSERT INTO monitor.figures (observed_at, figures) VALUES (to_timestamp($1), $2) ON CONFLICT DO NOTHING"};

constexpr Statement kForgetFigures{"monitor_forget_figures",
                                   "DELETE FROM monitor.figures WHERE observed_at < now() - interval '1 day'"};

constexpr Statement kReadAlerts{
    "monitor_read_alerts",
    "SELECT coalesce(json_agg(a ORDER BY a.started_at DESC), '[]')::text FROM (SELECT alert_id, alert, labels, "
    "severity,"
    " summary, description, value, (extract(epoch FROM started_at) * 1000)::int8 AS started_at, (extract(epoch FROM"
    " ended_at) * 1000)::int8 AS ended_at, told_at IS NOT NULL AS told FROM monitor.alerts WHERE ended_at IS NULL OR $1"
    " ORDER BY monitor.alerts.started_at DESC LIMIT 1000) a"};

constexpr Statement kReadFigures{
    "monitor_read_figures",
    "SELECT coalesce(jsonb_agg(jsonb_build_object('observed_at', (extract(epoch FROM observed_at) * 1000)::int8) || "
    "figures"
    " ORDER BY observed_at), '[]')::text FROM monitor.figures WHERE observed_at > to_timestamp($1::int8 / 1000.0)"};

double now_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string time_text(double seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<time_t>(seconds)));
}

std::string labels_json(const LabelMap& labels) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  for (const auto& [name, value] : labels) out.field(name, value);
  out.end_object();
  return text;
}

LabelMap labels_of(const std::string& text) {
  LabelMap labels;
  const json::Document document(text);
  for (const auto field : simdjson::dom::object(document.root()))
    labels.emplace(field.key, std::string(std::string_view(field.value)));
  return labels;
}

task<std::string> on_alerts(db::Pool& pool, http::Request& request) {
  const http::Arguments arguments(request);
  const std::string alerts = co_await read_alerts(pool, arguments->boolean("all").value_or(false));
  co_return "{\"alerts\":" + alerts + "}";
}

task<std::string> on_figures(db::Pool& pool, http::Request& request) {
  const http::Arguments arguments(request);
  auto params = Params::of(arguments->integer("since").value_or(0));
  const Rows rows = co_await pool.query(kReadFigures, std::move(params));
  co_return "{\"figures\":" + rows.text(0, 0) + "}";
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"GET", "/api/v1/monitor/alerts", on_alerts},
    {"GET", "/api/v1/monitor/figures", on_figures},
};

void write_alert(json::Writer& out, const ToldAlert& told) {
  const Rule& rule = *told.alert->rule;
  out.begin_object();
  out.field("status", told.ended ? "resolved" : "firing");
  out.key("labels");
  out.begin_object();
  out.field("alertname", rule.alert);
  out.field("severity", rule.severity);
  for (const auto& [name, value] : told.alert->labels) out.field(name, value);
  out.end_object();
  out.key("annotations");
  out.begin_object();
  out.field("summary", rule.summary);
  out.field("description", told.description);
  out.end_object();
  out.field("startsAt", time_text(told.alert->since));
  out.field("endsAt", told.ended ? time_text(*told.ended) : "0001-01-01T00:00:00Z");
  out.field("generatorURL", "");
  out.end_object();
}

}  // namespace

std::string webhook_body(const std::vector<ToldAlert>& alerts) {
  bool firing = false;
  for (const ToldAlert& told : alerts) firing = firing || !told.ended;
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("version", "4");
  out.field("groupKey", "{}:{}");
  out.field("truncatedAlerts", 0);
  out.field("status", firing ? "firing" : "resolved");
  out.field("receiver", "cairn");
  for (const char* name : {"groupLabels", "commonLabels", "commonAnnotations"}) {
    out.key(name);
    out.raw("{}");
  }
  out.field("externalURL", "");
  out.key("alerts");
  out.begin_array();
  for (const ToldAlert& told : alerts) write_alert(out, told);
  out.end_array();
  out.end_object();
  return text;
}

task<std::string> read_alerts(db::Pool& pool, bool all) {
  auto params = Params::of(all);
  const Rows rows = co_await pool.query(kReadAlerts, std::move(params));
  co_return rows.text(0, 0);
}

Monitor::Monitor(http::Router& router, db::Pool& pool, MonitorOptions options)
    : pool_(pool),
      options_(std::move(options)),
      gatherer_(options_.connection_string),
      book_(options_.scale),
      name_(to_hex(random_bytes(8))) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
}

task<> Monitor::watch(std::function<std::string()> own) {
  for (;;) {
    try {
      co_await look(own);
    } catch (const std::exception& error) {
      log::warn("monitor: {}", error.what());
    }
    co_await sleep_for(options_.interval);
  }
}

task<> Monitor::look(const std::function<std::string()>& own) {
  const Gatherer::Page of_postgres = co_await gatherer_.page();
  leads_ = co_await leads();
  if (!leads_) co_return;
  const double now = now_s();
  if (!loaded_ && gatherer_.failure().empty()) co_await load();
  const auto page = std::make_shared<const std::string>(own() + *of_postgres);
  const auto evaluate = off_thread_.guard([this, page, now] {
    return book_.look(read_exposition(*page, [this](std::string_view name) { return book_.wants(name); }), now);
  });
  auto evaluating = offload(evaluate);
  const AlertBook::Change change = co_await evaluating;
  note(change, now);
  co_await tell();
  if (!gatherer_.failure().empty()) co_return;
  co_await save();
  if (now - figures_at_ >= kFiguresEvery * options_.scale) co_await keep_figures(now);
}

// Without a database it stays as it was: whoever watched then has the more to say.
task<bool> Monitor::leads() {
  const double held_s = 5 + 2 * std::chrono::duration<double>(options_.interval).count();
  auto params = Params::of(name_, held_s);
  try {
    const Rows rows = co_await pool_.query(kLead, std::move(params));
    co_return rows.affected() == 1;
  } catch (const Error&) {
    co_return leads_;
  }
}

task<> Monitor::load() {
  const Rows rows = co_await pool_.query(kLoad);
  for (int row = 0; row < rows.size(); ++row) {
    auto known = std::make_unique<Known>();
    known->id = rows.integer(row, 0);
    known->alert = {nullptr, labels_of(rows.text(row, 2)), rows.number(row, 4), rows.number(row, 5)};
    known->description = rows.text(row, 3);
    known->saved = true;
    if (!rows.is_null(row, 6)) known->told = rows.number(row, 6);
    const std::string name = rows.text(row, 1);
    for (const Rule& rule : rules())
      if (rule.alert == name) known->alert.rule = &rule;
    if (!book_.resume(name, known->alert.labels, known->alert.since)) {
      auto params = Params::of(*known->id);
      co_await pool_.query(kEndForgotten, std::move(params));
      continue;
    }
    known_.push_back(std::move(known));
  }
  loaded_ = true;
}

void Monitor::note(const AlertBook::Change& change, double now) {
  for (const Alert& alert : change.started) {
    if (known_.size() >= kMostKnown) break;
    auto known = std::make_unique<Known>();
    known->alert = alert;
    known->description = alert.description();
    if (options_.webhook.empty()) known->told = now;
    log::warn("alert {}: {}. {}", alert.rule->alert, alert.rule->summary, known->description);
    known_.push_back(std::move(known));
  }
  for (const Alert& alert : change.ended) {
    for (const auto& known : known_) {
      if (known->ended || known->alert.rule != alert.rule || known->alert.labels != alert.labels) continue;
      known->ended = now;
      known->saved = false;
      if (options_.webhook.empty()) known->told_end = now;
      log::info("alert {} is over: {}", alert.rule->alert, known->description);
    }
  }
}

task<> Monitor::tell() {
  if (options_.webhook.empty()) co_return;
  std::vector<Known*> untold;
  std::vector<ToldAlert> alerts;
  for (const auto& known : known_) {
    if (known->told && (!known->ended || known->told_end)) continue;
    untold.push_back(known.get());
    alerts.push_back({&known->alert, known->description, known->ended});
  }
  if (untold.empty()) co_return;
  http::Transfer transfer;
  transfer.url = options_.webhook;
  transfer.body = webhook_body(alerts);
  transfer.timeout = std::chrono::seconds(10);
  const http::TransferResult result = co_await http::post_json(std::move(transfer));
  if (!result.failure.empty() || result.status / 100 != 2) {
    // The address may hold a secret: it is not named.
    if (!webhook_fails_)
      log::warn("monitor: the webhook does not take alerts: {}; they are kept and sent again",
                result.failure.empty() ? "it answers with status " + std::to_string(result.status) : result.failure);
    webhook_fails_ = true;
    co_return;
  }
  webhook_fails_ = false;
  const double now = now_s();
  for (Known* known : untold) {
    if (!known->told) known->told = now;
    if (known->ended) known->told_end = now;
    known->saved = false;
  }
}

task<> Monitor::save() {
  for (size_t i = 0; i < known_.size(); ++i) {
    Known& known = *known_[i];
    if (!known.saved) co_await save(known);
  }
  std::erase_if(known_, [](const auto& known) { return known->saved && known->ended && known->told_end; });
}

task<> Monitor::save(Known& known) {
  if (known.id) {
    auto params = Params::of(*known.id, known.ended, known.told, known.told_end);
    co_await pool_.query(kUpdate, std::move(params));
  } else {
    const std::string labels = labels_json(known.alert.labels);
    auto params =
        Params::of(known.alert.rule->alert, db::Jsonb{labels}, known.alert.rule->severity, known.alert.rule->summary,
                   known.description, known.alert.value, known.alert.since, known.ended, known.told, known.told_end);
    const Rows rows = co_await pool_.query(kInsert, std::move(params));
    known.id = rows.integer(0, 0);
  }
  known.saved = true;
}

task<> Monitor::keep_figures(double now) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  for (const auto& [name, value] : book_.figures()) out.field(name, value);
  out.end_object();
  auto params = Params::of(now, db::Jsonb{text});
  co_await pool_.query(kKeepFigures, std::move(params));
  co_await pool_.query(kForgetFigures);
  co_await pool_.query(kForgetAlerts);
  figures_at_ = now;
}

}  // namespace cairn::monitor
