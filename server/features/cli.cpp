#include "features/cli.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "base/error.h"
#include "base/log.h"
#include "base/table.h"
#include "features/bulk_write.h"
#include "features/definitions.h"
#include "features/feast_registry.h"
#include "features/file_stream.h"
#include "features/health.h"
#include "features/rollups.h"
#include "features/values.h"

namespace cairn::features {
namespace {

db::PoolOptions pool_options(const FeaturesOptions& options) {
  db::PoolOptions pool;
  pool.connection_string = options.connection_string;
  pool.size = 1;
  return pool;
}

constexpr std::streamsize kMaxFile = 64 << 20;

std::string read_file(const std::string& name, const char* what) {
  std::ifstream file;
  if (name != "-") file.open(name, std::ios::binary);
  std::istream& in = name == "-" ? std::cin : file;
  std::string text;
  for (std::array<char, 65536> part{}; in && std::ssize(text) <= kMaxFile;) {
    in.read(part.data(), part.size());
    text.append(part.data(), static_cast<size_t>(in.gcount()));
  }
  if (name != "-" && !file.is_open()) throw not_found("cannot read " + name + ": give " + what);
  if (std::ssize(text) > kMaxFile) throw invalid(name + " is larger than 64 MiB: it cannot be " + what);
  return text;
}

// The declaration as JSON.
std::string read_declaration(const std::string& name) {
  const std::string text = read_file(name, "a TOML or JSON file with definitions");
  if (!name.ends_with(".toml")) return text;
  try {
    std::ostringstream json;
    json << toml::json_formatter(toml::parse(text));
    return json.str();
  } catch (const toml::parse_error& error) {
    throw invalid(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
}

std::string listed(simdjson::dom::element list, const char* name) {
  std::string text;
  for (const auto item : list.get_array()) {
    const std::string_view word = name == nullptr ? item.get_string().value() : item[name].get_string().value();
    text += (text.empty() ? "" : ", ") + std::string(word);
  }
  return on_one_line(text);
}

}  // namespace

int run_list(const FeaturesOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  DefinitionStore store(pool);
  const std::string text = reactor.block_on(store.as_json());
  if (options.json) {
    out << text << "\n";
    return 0;
  }
  const json::Document document(text);
  std::vector<std::vector<std::string>> rows = {{"feature view", "entities", "ttl", "features"}};
  for (const auto view : document.root()["feature_views"].get_array()) {
    const double ttl_s = view["ttl_s"].get_double().value();
    rows.push_back({on_one_line(std::string(view["name"].get_string().value())), listed(view["entities"], nullptr),
                    ttl_s > 0 ? fmt::format("{:g} s", ttl_s) : "-", listed(view["features"], "name")});
  }
  if (rows.size() == 1)
    out << "no feature views; declare some with `cairn features apply FILE`\n";
  else
    print_table(out, rows, 80);
  return 0;
}

namespace {

// Applies a declaration and shows what changed, or would.
int apply_declared(const std::string& declaration, const FeaturesOptions& options, std::ostream& out) {
  const json::Document declared(declaration);
  Reactor reactor;
  db::Pool pool(pool_options(options));
  DefinitionStore store(pool);
  const std::string text = reactor.block_on(store.apply(json::root_fields(declared), options.dry_run));
  if (options.json) {
    out << text << "\n";
    return 0;
  }
  const json::Document answer(text);
  const auto changes = answer.root()["changes"].get_array().value();
  for (const auto change : changes) out << on_one_line(std::string(change.get_string().value())) << "\n";
  if (changes.size() == 0)
    out << "nothing to change\n";
  else if (options.dry_run)
    out << "nothing was changed: without --dry-run this is done\n";
  return 0;
}

}  // namespace

int run_apply(const FeaturesOptions& options, std::ostream& out) {
  return apply_declared(read_declaration(options.file), options, out);
}

int run_export_registry(const FeaturesOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  DefinitionStore store(pool);
  const json::Document definitions(reactor.block_on(store.as_json()));
  const std::string bytes = registry_of(definitions.root(), {options.project, std::time(nullptr)});
  // A reader never sees half of it.
  const std::string beside = options.file + ".new";
  std::ofstream file(beside, std::ios::binary);
  file << bytes;
  file.close();
  if (!file || std::rename(beside.c_str(), options.file.c_str()) != 0) {
    std::remove(beside.c_str());
    throw invalid("cannot write " + options.file + ": name a file in a folder that may be written");
  }
  const size_t views = definitions.root()["feature_views"].get_array().size();
  if (options.json)
    out << fmt::format("{{\"file\":{},\"feature_views\":{}}}\n", json::quote(options.file), views);
  else
    out << fmt::format("{}: {} feature views, as project {}\n", options.file, views, options.project);
  return 0;
}

int run_import_registry(const FeaturesOptions& options, std::ostream& out) {
  const ImportedRegistry imported =
      declaration_of(read_file(options.file, "the registry.db of a Feast repository"), options.project);
  for (const std::string& what : imported.left_out) log::warn("left out: {}", what);
  return apply_declared(imported.declaration, options, out);
}

int run_write(const FeaturesOptions& options, std::ostream& out) {
  BulkWrite write;
  write.view = options.view;
  write.binary = options.format == "binary";
  write.columns = options.columns;
  auto file = std::make_unique<FileStream>(options.file);
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const BulkReport report = reactor.block_on(bulk_write(pool, std::move(write), std::move(file)));
  if (options.json) {
    out << bulk_report_json(report) << "\n";
    return 0;
  }
  out << fmt::format("{} rows read, {} new in the history, latest values of {} entities are new\n", report.rows,
                     report.history, report.latest);
  return 0;
}

int run_rollup(const FeaturesOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const std::optional<std::string> view = options.view.empty() ? std::nullopt : std::optional(options.view);
  const std::vector<RolledUp> done = reactor.block_on(roll_up(pool, view));
  if (options.json) {
    std::string text;
    json::Writer json(text);
    json.begin_object();
    for (const RolledUp& one : done) json.field(one.view, one.buckets);
    json.end_object();
    out << text << "\n";
    return 0;
  }
  for (const RolledUp& one : done) out << fmt::format("{}: {} buckets\n", on_one_line(one.view), one.buckets);
  if (done.empty()) out << "no feature view has a rollup; declare one with rollup_s\n";
  return 0;
}

namespace {

std::string shown_number(const std::optional<double>& number) { return number ? fmt::format("{:.6g}", *number) : "-"; }

std::string shown_drift(const std::optional<double>& psi) {
  if (!psi) return "-";
  return fmt::format("{:.3f}{}", *psi, *psi > kDrifted ? " drifted" : "");
}

}  // namespace

int run_health(const FeaturesOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  if (options.save_baseline) {
    const int64_t features = reactor.block_on(save_baselines(pool));
    if (!options.json) out << fmt::format("saved the baseline of {} features\n", features);
  }
  const std::vector<ViewHealth> views = reactor.block_on(read_health(pool));
  const int64_t now_us = int64_t{std::time(nullptr)} * 1'000'000;
  if (options.json) {
    out << health_json(views, now_us) << "\n";
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {
      {"feature", "entities", "newest event", "too old", "null", "least", "greatest", "mean", "drift"}};
  for (const ViewHealth& view : views) {
    for (const FeatureHealth& feature : view.features)
      rows.push_back({on_one_line(view.name + ":" + feature.name), std::to_string(view.entities),
                      shown_time(*view.newest_us), fmt::format("{:.1f} %", 100 * view.stale_rate),
                      fmt::format("{:.1f} %", 100 * feature.null_rate), shown_number(feature.min),
                      shown_number(feature.max), shown_number(feature.mean), shown_drift(feature.psi)});
    if (view.features.empty())
      rows.push_back({on_one_line(view.name), std::to_string(view.entities), "-", "-", "-", "-", "-", "-", "-"});
  }
  if (rows.size() == 1)
    out << "no feature views; declare some with `cairn features apply FILE`\n";
  else
    print_table(out, rows, 80);
  return 0;
}

}  // namespace cairn::features
