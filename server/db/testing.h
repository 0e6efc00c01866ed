// For *_pgtest.cpp only: a database of the test's own, made in the server that CAIRN_TEST_DATABASE_URL names (see
// tools/with_cluster) and dropped at the end.
#pragma once

#include <libpq-fe.h>

#include <unistd.h>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "db/statement.h"

namespace cairn::db {

// The statements of the session that PostgreSQL still plans at each execution after it has tried that five times. Most
// of ours are shorter than their planning.
inline constexpr Statement kPlannedAnew{
    "planned_anew", "SELECT coalesce(string_agg(name, ' '), '') FROM pg_prepared_statements WHERE custom_plans > 5"};

class TestDatabase {
 public:
  TestDatabase() : server_url_(server_url()) {
    static std::atomic<int> counter{0};
    name_ = "test_" + std::to_string(getpid()) + "_" + std::to_string(++counter);
    execute(server_url_, "CREATE DATABASE " + name_);
  }
  ~TestDatabase() { execute(server_url_, "DROP DATABASE " + name_ + " WITH (FORCE)"); }
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;

  const std::string& name() const { return name_; }
  std::string url() const {
    std::string url = server_url_;
    const auto slash = url.find('/', url.find("//") + 2);
    return url.replace(slash + 1, url.find('?') - slash - 1, name_);
  }
  // Runs a script of any number of statements. Throws std::runtime_error with PostgreSQL's message.
  void execute(const std::string& sql) const { execute(url(), sql); }

 private:
  static std::string server_url() {
    const char* url = std::getenv("CAIRN_TEST_DATABASE_URL");
    if (url == nullptr)
      throw std::runtime_error("CAIRN_TEST_DATABASE_URL is not set: run this by tools/with_cluster or ./dev test");
    return url;
  }
  static void execute(const std::string& url, const std::string& sql) {
    PGconn* connection = PQconnectdb(url.c_str());
    PGresult* result = PQexec(connection, sql.c_str());
    const auto status = PQresultStatus(result);
    const std::string message = PQerrorMessage(connection);
    PQclear(result);
    PQfinish(connection);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) throw std::runtime_error(message);
  }

  std::string server_url_;
  std::string name_;
};

}  // namespace cairn::db
