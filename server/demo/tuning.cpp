#include "demo/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "demo/command.h"

namespace cairn::demo {
namespace {

constexpr const char* kDatabase = "model_registry";
constexpr const char* kScale = "0.3";
constexpr const char* kRate = "40";
constexpr const char* kSeconds = "3";
constexpr size_t kShownStatement = 300;
// The family that a materialized view can serve, and a word of its statement that no other one has.
constexpr const char* kStatistics = "model-stats";
constexpr const char* kStatisticsWord = "best_accuracy";

std::string shortened(const std::string& text) {
  return text.size() <= kShownStatement ? text : text.substr(0, kShownStatement) + " …";
}

std::string text_of(simdjson::dom::element value) { return std::string(std::string_view(value)); }

std::string ms_text(double ms) { return fmt::format("{:.{}f}", ms, ms < 10 ? 2 : 1); }

bool hypopg_available(Database& database) {
  return PQntuples(database.execute("SELECT FROM pg_available_extensions WHERE name = 'hypopg'").get()) > 0;
}

// As a figure: a list of texts.
std::string json_list(const std::vector<std::string>& texts) {
  std::string list;
  json::Writer writer(list);
  writer.begin_array();
  for (const std::string& text : texts) writer.string(text);
  writer.end_array();
  return list;
}

std::string replace_all(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size()) text.replace(at, what.size(), by);
  return text;
}

}  // namespace

// As the superuser, who may copy the database. Of a word that is there twice libpq takes the last.
std::string Tuning::connection_string(const std::string& database) const {
  return server_.connection_string() + " user=postgres dbname=" + database;
}

std::string Tuning::cairn(const std::string& command, const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (size_t start = 0; start <= command.size();) {
    const size_t end = std::min(command.find(' ', start), command.size());
    words.push_back(command.substr(start, end - start));
    start = end + 1;
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"--database-url", connection_string(kDatabase)});
  if (words[0] == "tune" && words[1] != "undo")
    words.insert(words.end(), {"--state-dir", server_.directory() + "/tuner"});
  return run_command(server_.directory(), std::move(words));
}

bool Tuning::is_left_out(Step& step) const {
  step.summary = left_out_;
  return !left_out_.empty();
}

std::vector<Tuning::Family> Tuning::load(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"--rate", kRate, "--duration", kSeconds};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const json::Document answer(cairn("workload run", arguments));
  std::vector<Family> families;
  const auto add = [&](simdjson::dom::element family) {
    const std::string name = text_of(family["family"]);
    require(int64_t(family["answered"]) == int64_t(family["count"]), "not every request of " + name + " was answered");
    families.push_back({name, double(family["mean_ms"]), double(family["p99_ms"])});
  };
  for (const auto family : simdjson::dom::array(answer.root()["families"])) add(family);
  add(answer.root()["total"]);
  return families;
}

void Tuning::slow(Step& step) {
  Database cluster(connection_string("postgres"));
  if (!hypopg_available(cluster)) {
    left_out_ = "left out: the extension hypopg is not installed (Debian: postgresql-15-hypopg)";
    is_left_out(step);
    return;
  }
  cluster.execute(fmt::format("CREATE DATABASE {}", kDatabase).c_str());
  // The page shows this database too, with the rights of those who only look.
  cluster.execute("GRANT pg_read_all_data TO cairn_reader");
  Database database(connection_string(kDatabase));
  database.execute("CREATE EXTENSION pg_stat_statements");
  database.execute("CREATE EXTENSION hypopg");
  const json::Document seeded(cairn("workload seed", {"--scale", kScale}));
  int64_t rows = 0;
  for (const auto table : simdjson::dom::array(seeded.root()["tables"])) rows += int64_t(table["rows"]);
  cairn("tune profile", {"--save"});  // so that the advice is for the load, and not for the filling
  before_ = load({});
  step.figure("rows", rows);
  step.figure("mean_ms", before_.back().mean_ms);
  step.figure("p99_ms", before_.back().p99_ms);
  step.summary =
      fmt::format("a database of {} rows with primary keys alone, under a load: {} ms in the mean, P99 {} ms",
                  with_commas(rows), ms_text(before_.back().mean_ms), ms_text(before_.back().p99_ms));
}

void Tuning::advise(Step& step) {
  if (is_left_out(step)) return;
  advice_ = cairn("tune advise", {"--since", "last"});
  const json::Document advice(advice_);
  const size_t changes = simdjson::dom::array(advice.root()["changes"]).size();
  require(changes > 0, "nothing is proposed for a database without indexes");
  step.figure("changes", changes);
  step.figure("rejected", simdjson::dom::array(advice.root()["rejected"]).size());
  step.figure("estimated_ms_before", double(advice.root()["ms_before"]));
  step.figure("estimated_ms_after", double(advice.root()["ms_after"]));
  step.summary = fmt::format(
      "{} changes are proposed, {} were weighed and left; by the planner's word the indexes take "
      "{:.0f} % off",
      changes, simdjson::dom::array(advice.root()["rejected"]).size(),
      100 * (1 - double(advice.root()["ms_after"]) / double(advice.root()["ms_before"])));
}

// The statement that reads the materialized view, in the place of the load's own: what its program would then send.
void Tuning::keep_the_statement(const std::string& advice_text, const std::string& proof_text) {
  const json::Document advice(advice_text), proof(proof_text);
  const auto statements = simdjson::dom::array(advice.root()["statements"]);
  const auto rewrites = simdjson::dom::array(advice.root()["rewrites"]);
  for (const auto tried : simdjson::dom::array(proof.root()["rewrites"])) {
    const auto rewrite = rewrites.at(static_cast<size_t>(int64_t(tried["number"]) - 1));
    const auto served = statements.at(static_cast<size_t>(int64_t(rewrite["serves"]) - 1));
    if (!bool(tried["confirmed"]) || text_of(rewrite["rule"]) != "materialized-view" ||
        text_of(served["text"]).find(kStatisticsWord) == std::string::npos)
      continue;
    const std::string path = server_.directory() + "/" + kStatistics + ".sql";
    std::ofstream(path) << replace_all(text_of(rewrite["text"]), "$1", "true");  // WHERE m.is_active = true
    replaced_ = {"--replace", std::string(kStatistics) + "=" + path};
  }
}

void Tuning::prove(Step& step) {
  if (is_left_out(step)) return;
  const std::string text =
      cairn("tune prove", {"last", "--clone", "template", "--rounds", "2", "--parameters", "2", "--seconds", "4"});
  const json::Document proof(text);
  Table table{{"verdict", "change", "why"}, {}};
  int kept = 0;
  for (const auto change : simdjson::dom::array(proof.root()["changes"])) {
    const std::string verdict = text_of(change["verdict"]);
    table.rows.push_back({verdict, text_of(change["name"]), shortened(text_of(change["reason"]))});
    if (verdict != "kept") continue;
    ++kept;
    numbers_ += (numbers_.empty() ? "" : ",") + std::to_string(int64_t(change["number"]));
  }
  require(kept > 0, "no change made anything faster");
  keep_the_statement(advice_, text);
  step.figure("kept", kept);
  step.figure("rejected", table.rows.size() - static_cast<size_t>(kept));
  step.summary = fmt::format("on {}: {} of {} changes are kept, the statements run before and after, rows compared",
                             text_of(proof.root()["clone"]), kept, table.rows.size());
  step.table = std::move(table);
}

void Tuning::apply(Step& step) {
  if (is_left_out(step)) return;
  const json::Document report(cairn("tune apply", {"last", "--only", numbers_}));
  Table table{{"id", "statement"}, {}};
  std::vector<std::string> statements;
  for (const auto change : simdjson::dom::array(report.root()["changes"])) {
    statements.push_back(text_of(change["statement"]));
    table.rows.push_back({std::to_string(int64_t(change["id"])), shortened(statements.back())});
  }
  require(bool(report.root()["ok"]), "a change could not be made");
  const std::string undo =
      "cairn tune undo --all" + (kept_ ? " --database-url \"" + connection_string(kDatabase) + "\"" : std::string());
  step.figure("changes", table.rows.size());
  step.figures.emplace_back("statements", json_list(statements));
  step.figure("undo", undo);
  step.summary = fmt::format("{} changes made, nobody who writes waited; taken back by: {}", table.rows.size(), undo);
  step.table = std::move(table);
}

void Tuning::measure(Step& step) {
  if (is_left_out(step)) return;
  const std::vector<Family> after = load(replaced_);
  Table table{{"family", "mean_ms", "p99_ms", "mean_ms_tuned", "p99_ms_tuned", "mean_change"}, {}};
  for (size_t i = 0; i < after.size(); ++i)
    table.rows.push_back({after[i].name, ms_text(before_[i].mean_ms), ms_text(before_[i].p99_ms),
                          ms_text(after[i].mean_ms), ms_text(after[i].p99_ms),
                          fmt::format("{:+.1f}%", 100 * (after[i].mean_ms / before_[i].mean_ms - 1))});
  for (size_t i = 0; i < after.size(); ++i) {
    step.figure(after[i].name + " mean_ms before", before_[i].mean_ms);
    step.figure(after[i].name + " p99_ms before", before_[i].p99_ms);
    step.figure(after[i].name + " mean_ms", after[i].mean_ms);
    step.figure(after[i].name + " p99_ms", after[i].p99_ms);
  }
  step.summary = fmt::format("the same load again{}: {} ms in the mean instead of {}, P99 {} ms instead of {}",
                             replaced_.empty() ? "" : fmt::format(", {} reading the materialized view", kStatistics),
                             ms_text(after.back().mean_ms), ms_text(before_.back().mean_ms),
                             ms_text(after.back().p99_ms), ms_text(before_.back().p99_ms));
  step.table = std::move(table);
}

}  // namespace cairn::demo
