// A conversion taken back after the exchange: the old table, which followed the new one since, takes its place again.
// docs/formats/partitions.md has the steps and why nothing is lost.
#pragma once

#include <string>
#include <vector>

#include "partitions/facts.h"
#include "partitions/follow.h"
#include "partitions/journal.h"

namespace cairn::partitions {

class GiveBack {
 public:
  GiveBack(Session& session, Conversion conversion, Kept kept)
      : session_(session), conversion_(std::move(conversion)), kept_(std::move(kept)) {}

  // From where it is until it is undone. Throws Error(kInvalidState) when the table was altered since the exchange.
  task<> run();
  // Brings the old table up to date, so that the log stays short. Throws Error(kInvalidState) when it cannot follow.
  task<> follow();
  const Conversion& conversion() const { return conversion_; }

 private:
  task<> read();
  void check_columns() const;
  Follower follower() const;
  task<> check_unaltered();
  task<> exchange();
  task<std::vector<Session::Step>> exchange_steps(const Follower& following);
  void add_move(std::vector<Session::Step>& steps) const;
  task<> validate();
  task<> drop_new();

  Session& session_;
  Conversion conversion_;
  Kept kept_;
  TableFacts old_ = {}, new_ = {};
  std::string around_ = {};  // all tables that the exchange locks
};

}  // namespace cairn::partitions
