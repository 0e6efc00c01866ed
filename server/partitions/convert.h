// A table becomes partitioned while others write to it: docs/formats/partitions.md has the states and why nothing is
// lost.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "partitions/follow.h"
#include "partitions/journal.h"

namespace cairn::partitions {

// Of a new table and its partitions: what ALTER DEFAULT PRIVILEGES gave.
task<> revoke_defaults(Session& session, std::string table);

// The triggers that log what is written to a table while the other one follows it.
void add_capture(std::vector<Session::Step>& steps, const std::string& table, const Conversion& conversion);
void drop_capture(std::vector<Session::Step>& steps, const std::string& table);

// A view's definition once more, for when its table's name is another's.
task<std::string> view_again(Session& session, const View& view);
// Statements that wait for no lock long, from `done` on, each in a transaction with `record` ($1: id, $2: how many are
// done by then).
task<> run_one_by_one(Session& session, const std::vector<std::string>& statements, db::Statement record, int64_t id,
                      int64_t& done);

// One conversion under way. Its steps, in order; each may be called again after a kill.
class Converter {
 public:
  Converter(Session& session, Plan plan, Conversion conversion)
      : session_(session), plan_(std::move(plan)), conversion_(std::move(conversion)) {}

  task<> create();
  // From whatever state it is in until the new table is in its place, and valid; the old one is kept.
  task<> go_on();
  // Of one that is swapped and valid: the old table is dropped, and that was the last step.
  task<> finish();
  // Until it is swapped; afterwards see give_back().
  task<> undo();

  const Plan& plan() const { return plan_; }
  const Conversion& conversion() const { return conversion_; }

 private:
  // convert.cpp
  task<> capture();
  task<> copy();
  task<int64_t> copy_batch(int64_t rows);
  task<> build_indexes();
  task<> make_keys();
  task<> make_key_table(const KeyTable& key, size_t number);
  // swap.cpp
  Follower follower() const;
  task<> swap();
  std::string all_tables() const;
  task<> check_unaltered();
  task<std::vector<Session::Step>> exchange_steps();
  task<> read_sequences();
  task<> add_views(std::vector<Session::Step>& steps);
  void add_sequences(std::vector<Session::Step>& steps) const;
  void add_names(std::vector<Session::Step>& steps) const;
  void add_triggers(std::vector<Session::Step>& steps) const;
  task<> add_foreign_keys(std::vector<Session::Step>& steps);
  void free_old_table(std::vector<Session::Step>& steps) const;
  std::vector<std::string> trigger_statements() const;
  void add_to_managed(std::vector<Session::Step>& steps) const;
  void add_to_kept(std::vector<Session::Step>& steps, const db::Rows& comments) const;
  task<> validate();

  std::string index_name(size_t number) const;

  Session& session_;
  Plan plan_;
  Conversion conversion_;
  std::vector<std::string> sequence_renames_;
};

}  // namespace cairn::partitions
