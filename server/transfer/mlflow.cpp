#include "transfer/mlflow.h"

#include "base/error.h"

namespace cairn::transfer {
namespace {

constexpr const char* kIsMlflow =
    "SELECT to_regclass('alembic_version') IS NOT NULL AND to_regclass('runs') IS NOT NULL";
constexpr const char* kIsRecent =
    "SELECT to_regclass('logged_models') IS NOT NULL AND EXISTS (SELECT FROM information_schema.columns "
    "WHERE table_schema = current_schema() AND table_name = 'inputs' AND column_name = 'step')";

}  // namespace

void check_mlflow(Session& mlflow, const std::string& url) {
  if (mlflow.value(kIsMlflow) != "t") {
    throw invalid("there are no tables of MLflow in " + url +
                  ": give the database that the MLflow server has as --backend-store-uri; `mlflow db upgrade` and the "
                  "URL makes them in a new one");
  }
  if (mlflow.value(kIsRecent) != "t") {
    throw invalid(
        "the tables in " + url +
        " are older than MLflow 3: bring them up to date by `mlflow db upgrade` first, with a backup at hand");
  }
}

}  // namespace cairn::transfer
