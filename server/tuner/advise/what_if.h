// What a statement would cost if indexes were there that are not: hypopg shows them to the planner in a session of its
// own. Nothing is built, no statement is run, and nobody else sees anything of it.
//
// Not thread-safe. Calls wait for PostgreSQL by running the reactor, so they are made from outside of it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "db/connection.h"
#include "tuner/advise/choose.h"

namespace cairn::tuner {

struct WhatIfOptions {
  std::string connection_string = {};
  bool allow_extension = false;   // CREATE EXTENSION hypopg, where it is not there
  double busy_percent_max = 100;  // of one core's time, which planning is taken to use from question to answer
};

class WhatIf : public CostModel {
 public:
  // Throws Error where PostgreSQL cannot be reached. Where hypopg is not there and may not be made, missing() says so,
  // and only plans without further indexes are to be had.
  WhatIf(Reactor& reactor, const WhatIfOptions& options);
  ~WhatIf() override;

  // Empty, or why there are no hypothetical indexes, and what to do about it.
  const std::string& missing() const { return missing_; }

  // Makes a statement known, with placeholders or without, and gives its number: 0, 1, … Where PostgreSQL will not plan
  // it, `refusal` says why.
  std::optional<size_t> add(const std::string& sql, std::string& refusal);
  // The tables in its plan; of a partition also those that it is a part of.
  const std::set<TableName>& tables(size_t statement) const { return statements_[statement].tables; }

  // Without further indexes, in the planner's units.
  double cost(size_t statement) const { return statements_[statement].cost; }

  // Where planning fails this time (a lock, a time-out), the indexes are taken to change nothing.
  Estimate estimate(size_t statement, const std::vector<IndexDefinition>& indexes) override;
  std::optional<int64_t> bytes(const IndexDefinition& index) override;
  // Why bytes() gave nothing.
  const std::string& refusal(const IndexDefinition& index) { return look_up(index).refusal; }

  int calls() const { return calls_; }  // how often the planner was asked
  double busy_ms() const { return std::chrono::duration<double, std::milli>(busy_).count(); }
  double busy_percent() const;  // of the time since the first call

 private:
  struct Prepared {
    std::string explain;
    std::set<TableName> tables = {};
    double cost = 0;
  };
  struct Hypothetical {
    std::optional<int64_t> bytes = {};
    std::string refusal = {};
  };
  struct Live {
    int64_t oid = 0;
    std::string name = {};
  };

  task<> run_text(std::string_view sql);
  task<> connect(const WhatIfOptions& options);
  task<> find_extension(const WhatIfOptions& options);
  task<> read_partitions();
  task<> prepare(const std::string& name, const std::string& sql);  // with the types that its parameters need
  task<size_t> add_prepared(const std::string& sql);
  task<std::string> explained(const std::string& explain, const std::vector<IndexDefinition>& indexes);
  task<Hypothetical> try_index(const IndexDefinition& index);
  task<> forget_indexes();
  const Hypothetical& look_up(const IndexDefinition& index);
  task<std::vector<db::Rows>> ask(std::vector<db::Query> queries);
  void check_connection(const db::DbError& error) const;

  Reactor& reactor_;
  std::unique_ptr<db::Connection> connection_;
  std::string missing_;
  std::string create_sql_, drop_sql_, reset_sql_;
  std::map<TableName, std::vector<TableName>> parents_;
  std::vector<Prepared> statements_;
  std::map<IndexDefinition, Hypothetical> known_;
  std::map<IndexDefinition, Live> live_;  // what the session holds now
  bool plans_are_old_ = false;            // the session's indexes are others than when it planned last
  int prepared_ = 0;
  int calls_ = 0;
  double busy_percent_max_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration busy_{};
};

}  // namespace cairn::tuner
