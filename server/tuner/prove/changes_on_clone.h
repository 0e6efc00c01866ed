// An advice's changes made on a clone, and taken back. Only what stays within the clone's database is run there; a
// setting of the server or of the database is set in the session instead.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tuner/advise/advice.h"
#include "tuner/catalog/session.h"

namespace cairn::tuner {

class ChangesOnClone {
 public:
  // `settings`: SET statements that the session began with. `statistics`: a statement to be run after each change, for
  // building an index counts the rows of its table anew; empty: none. A materialized view that takes longer than
  // `view_s` seconds to make is given up: so would each of its refreshes.
  ChangesOnClone(Session& session, const Advice& advice, const std::vector<std::string>& settings,
                 const std::string& statistics, double view_s)
      : session_(session), advice_(advice), settings_(settings), statistics_(statistics), view_s_(view_s) {}
  // Takes back what is there still, as far as the session lives.
  ~ChangesOnClone();
  ChangesOnClone(const ChangesOnClone&) = delete;
  ChangesOnClone& operator=(const ChangesOnClone&) = delete;

  // Why the change cannot be tried at all: empty when it can.
  std::string refusal(size_t change) const;
  // False, with the reason in failure(), where PostgreSQL refuses it.
  bool make(size_t change);
  void take_back(size_t change);

  bool is_made(size_t change) const { return made_.contains(change); }
  const std::string& failure(size_t change) { return failures_[change]; }
  // Names that plans show when they use it: a partitioned table's index has one for each part.
  const std::set<std::string>& names(size_t change) { return names_[change]; }
  int64_t bytes(size_t change) { return bytes_[change]; }
  double build_ms(size_t change) { return build_ms_[change]; }
  // For a transaction that is rolled back: without the indexes that are made now, or without one of them.
  std::string drop_indexes() const;
  std::string drop_index(size_t change) const;

 private:
  std::vector<std::string> statements(const Change& change, bool inverse) const;
  void look_at(size_t change);

  Session& session_;
  const Advice& advice_;
  const std::vector<std::string>& settings_;
  const std::string& statistics_;
  double view_s_;
  std::set<size_t> made_ = {};
  std::map<size_t, std::string> failures_ = {};
  std::map<size_t, std::set<std::string>> names_ = {};
  std::map<size_t, int64_t> bytes_ = {};
  std::map<size_t, double> build_ms_ = {};
};

}  // namespace cairn::tuner
