#include "workload/families.h"

#include <pg_query.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>

#include "base/error.h"
#include "workload/api.h"

namespace cairn::workload {
namespace {

namespace fs = std::filesystem;

// The statements of a registry's pages, letter by letter: what is measured is what is asked for.
constexpr const char* kDashboard = R"(SELECT
    m.model_name,
    mv.semver,
    d.environment_id,
    d.status,
    d.deployed_at,
    d.deployed_by
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days'
ORDER BY d.deployed_at DESC
LIMIT 50)";

constexpr const char* kTrainingRuns = R"(SELECT
    run_id,
    model_name,
    status,
    accuracy,
    created_at
FROM training_runs
WHERE experiment_name = $1
  AND created_at > NOW() - INTERVAL '7 days'
ORDER BY accuracy DESC NULLS LAST
LIMIT 20)";

constexpr const char* kModelStats = R"(SELECT
    m.model_name,
    COUNT(DISTINCT mv.version_id) as version_count,
    COUNT(DISTINCT tr.run_id) as training_runs,
    COUNT(DISTINCT d.deployment_id) as deployments,
    MAX(tr.accuracy) as best_accuracy
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN training_runs tr ON tr.version_id = mv.version_id
LEFT JOIN deployments d ON d.version_id = mv.version_id
WHERE m.is_active = true
GROUP BY m.model_id, m.model_name
ORDER BY deployments DESC)";

constexpr const char* kDeploymentStatus = R"(SELECT
    m.model_name,
    mv.semver,
    d.status,
    d.replicas,
    d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.environment_id = 1
  AND d.status = 'active'
ORDER BY d.deployed_at DESC)";

const std::vector<std::string> kExperiments = {"fraud-exp-001", "churn-exp-002", "recommender-exp-003"};

// $1: version, $2: accuracy.
constexpr const char* kInsertRun = R"(INSERT INTO training_runs
    (version_id, model_name, experiment_name, status, accuracy, hyperparameters, metrics, started_at, finished_at)
VALUES ($1::uuid, 'fraud-detection', 'fraud-exp-001', 'succeeded', $2,
        '{"learning_rate": 0.001, "batch_size": 64, "optimizer": "adamw", "epochs": 20}',
        jsonb_build_object('accuracy', $2, 'loss', 1 - $2), now(), now()))";

// $1: version, $2: environment.
constexpr const char* kInsertDeployment = R"(INSERT INTO deployments
    (version_id, environment_id, status, replicas, deployed_by, config)
VALUES ($1::uuid, $2, 'pending', 1, 'ci', '{"image": "model-server", "strategy": "rolling", "cpu": 2, "memory_mb": 4096}'))";

std::vector<Family> all_families() {
  return {{.name = "dashboard", .sql = kDashboard},
          {.name = "training-runs",
           .sql = kTrainingRuns,
           .params = [](Random& random) { return db::Params::of(kExperiments[random.below(kExperiments.size())]); }},
          {.name = "model-stats", .sql = kModelStats},
          {.name = "deployment-status", .sql = kDeploymentStatus}};
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) throw not_found("cannot read the file " + path.string());
  if (text.find('\0') != std::string::npos) throw invalid("the file " + path.string() + " is no text: it holds NUL");
  return text;
}

// A connection in pipeline mode would never come back from COPY.
bool is_copy(const std::string& sql) {
  const PgQueryParseResult parsed = pg_query_parse(sql.c_str());
  const bool copy = parsed.error == nullptr &&
                    std::string_view(parsed.parse_tree).find(R"("stmts":[{"stmt":{"CopyStmt":)") != std::string::npos;
  pg_query_free_parse_result(parsed);
  return copy;
}

std::vector<std::string> statements_of(const fs::path& path) {
  const std::string text = read_file(path);
  const std::unique_ptr<PgQuerySplitResult, void (*)(PgQuerySplitResult*)> split(
      new PgQuerySplitResult(pg_query_split_with_scanner(text.c_str())), [](PgQuerySplitResult* result) {
        pg_query_free_split_result(*result);
        delete result;
      });
  if (split->error != nullptr)
    throw invalid("the file " + path.string() + " is not SQL: " + std::string(split->error->message));
  std::vector<std::string> statements;
  for (int i = 0; i < split->n_stmts; ++i) {
    const std::string statement = text.substr(static_cast<size_t>(split->stmts[i]->stmt_location),
                                              static_cast<size_t>(split->stmts[i]->stmt_len));
    statements.push_back(statement.substr(std::min(statement.find_first_not_of(" \t\r\n"), statement.size())));
    if (is_copy(statements.back()))
      throw invalid("the file " + path.string() + " holds COPY, which a load cannot run: take it out");
  }
  if (statements.empty()) throw invalid("the file " + path.string() + " holds no statement");
  return statements;
}

// A directory's files by name; those of its directories are not looked for.
std::vector<fs::path> files_of(const std::string& given) {
  std::error_code failure;
  const fs::path path(given);
  if (!fs::is_directory(path, failure)) {
    if (!fs::is_regular_file(path, failure)) throw not_found("there is no file or directory " + given);
    return {path};
  }
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && entry.path().extension() == ".sql") files.push_back(entry.path());
  }
  if (files.empty()) throw invalid("the directory " + given + " holds no .sql file");
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<std::string> mixes() {
  std::vector<std::string> names = {"mixed"};
  for (const Family& family : all_families()) names.push_back(family.name);
  return names;
}

std::vector<Family> families_of_mix(const std::string& mix) {
  std::vector<Family> families = all_families();
  if (mix == "mixed") return families;
  for (Family& family : families) {
    if (family.name == mix) return {std::move(family)};
  }
  throw invalid("there is no mix '" + mix + "'");
}

std::vector<Family> families_of_files(const std::vector<std::string>& paths) {
  std::vector<Family> families;
  std::set<std::string> names;
  for (const std::string& given : paths) {
    for (const fs::path& path : files_of(given)) {
      // Two files of one name are told apart by their paths.
      std::string name = path.stem().string();
      if (!names.insert(name).second && !names.insert(name = path.string()).second) continue;
      const std::vector<std::string> statements = statements_of(path);
      for (size_t i = 0; i < statements.size(); ++i) {
        const std::string number = statements.size() == 1 ? "" : "#" + std::to_string(i + 1);
        families.push_back({.name = name + number, .sql = statements[i]});
      }
    }
  }
  return families;
}

void replace_statement(std::vector<Family>& families, const std::string& name, const std::string& path) {
  const auto family =
      std::find_if(families.begin(), families.end(), [&](const auto& known) { return known.name == name; });
  if (family == families.end())
    throw invalid("the load has no family '" + name + "' whose statement could be replaced");
  std::vector<std::string> statements = statements_of(path);
  if (statements.size() != 1)
    throw invalid("the file " + path + " holds " + std::to_string(statements.size()) +
                  " statements, and a family has one");
  family->sql = std::move(statements[0]);
}

std::vector<FileStatement> statements_of_files(const std::vector<std::string>& paths) {
  std::vector<FileStatement> statements;
  for (Family& family : families_of_files(paths)) statements.push_back({std::move(family.name), std::move(family.sql)});
  return statements;
}

std::vector<Family> write_families(std::vector<std::string> versions) {
  if (versions.empty()) versions.emplace_back("00000000-0000-0000-0000-000000000000");
  const auto insert_run = [versions](Random& random) {
    const std::string& version = versions[random.below(versions.size())];
    return db::Params::of(version, random.chance());
  };
  const auto insert_deployment = [versions](Random& random) {
    const std::string& version = versions[random.below(versions.size())];
    return db::Params::of(version, static_cast<int32_t>(1 + random.below(3)));
  };
  return {{.name = "insert-training-run", .sql = kInsertRun, .params = insert_run},
          {.name = "insert-deployment", .sql = kInsertDeployment, .params = insert_deployment}};
}

Arrivals::Arrivals(const std::vector<Family>& families, double rate, int64_t seed)
    : families_(families), rate_(rate), random_(seed) {
  for (const Family& family : families_) weights_ += family.weight;
}

Arrival Arrivals::next() {
  at_s_ += -std::log(1 - random_.chance()) / rate_;
  Arrival arrival;
  arrival.at = std::chrono::nanoseconds(std::llround(at_s_ * 1e9));
  double left = random_.chance() * weights_;
  while (arrival.family + 1 < families_.size() && left >= families_[arrival.family].weight) {
    left -= families_[arrival.family].weight;
    ++arrival.family;
  }
  if (const auto& params = families_[arrival.family].params) arrival.params = params(random_);
  return arrival;
}

}  // namespace cairn::workload
