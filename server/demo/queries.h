// What a dashboard asks of the database: the queries of the model registry's dashboard and the windows over metrics,
// under the names that those who wrote them know.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "demo/report.h"

namespace cairn::demo {

struct DashboardQuery {
  const char* name;
  const char* what;
  const char* search_path;
  const char* sql;  // $1, if there: see parameter
  const char* parameter;
};
// The demonstration's experiment and model are what the parameters name.
constexpr const char* kExperiment = "digits";
constexpr const char* kModel = "digits";
std::span<const DashboardQuery> dashboard_queries();

class Database {
 public:
  // Throws Error.
  explicit Database(const std::string& connection_string);

  using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;
  // Throws Error with PostgreSQL's message.
  Rows execute(const char* sql, const std::vector<std::string>& parameters = {});

  struct Result {
    Table table;
    double median_ms = 0;
  };
  // Runs it several times.
  Result run(const DashboardQuery& query);

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

}  // namespace cairn::demo
