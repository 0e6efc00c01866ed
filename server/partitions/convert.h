// A table becomes partitioned while others write to it: docs/formats/partitions.md has the states and why nothing is
// lost.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "partitions/journal.h"

namespace cairn::partitions {

// Of a new table and its partitions: what ALTER DEFAULT PRIVILEGES gave.
task<> revoke_defaults(Session& session, std::string table);

// One conversion under way. Its steps, in order; each may be called again after a kill.
class Converter {
 public:
  Converter(Session& session, Plan plan, Conversion conversion)
      : session_(session), plan_(std::move(plan)), conversion_(std::move(conversion)) {}

  task<> create();
  // From whatever state it is in to the last one.
  task<> go_on();
  // Until it is swapped.
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
  // replay.cpp
  std::string same_key(const std::string& a, const std::string& b) const;
  task<int64_t> logged(int64_t most);
  std::vector<std::string> replay_statements(bool few) const;
  task<> replay();  // in the caller's transaction
  task<> catch_up();
  task<> compare();
  // swap.cpp
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
  void add_to_managed(std::vector<Session::Step>& steps) const;
  task<> finish();

  std::string index_name(size_t number) const;

  Session& session_;
  Plan plan_;
  Conversion conversion_;
  std::vector<std::string> sequence_renames_;
};

}  // namespace cairn::partitions
