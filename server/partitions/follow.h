// A table that follows another one: keys of rows that were written are in a log, and replaying it brings what those
// rows are now. docs/formats/partitions.md says why nothing is lost.
#pragma once

#include <string>
#include <vector>

#include "partitions/session.h"

namespace cairn::partitions {

class Follower {
 public:
  struct Tables {
    std::string from = {};  // as FROM takes it: ONLY where it is no partitioned table
    std::string to = {};
    std::string log = {};
    std::string shown = {};                  // the table's name, for people
    std::vector<std::string> key = {};       // columns; the log has just these
    std::vector<std::string> written = {};   // columns that are not generated
    std::vector<std::string> compared = {};  // all
  };
  Follower(Session& session, Tables tables) : session_(session), tables_(std::move(tables)) {}

  // In one snapshot, or under a lock that keeps writers out. `few`: at most some thousand keys are in the log.
  std::vector<std::string> replay_statements(bool few) const;
  // Until a round takes so little that the next one may be made while everybody waits. Throws
  // Error(kTemporarilyUnavailable) when that does not come.
  task<> catch_up();
  // In one snapshot in which all of the log is replayed, both must be equal; throws Error(kInternalError) with
  // `advice`.
  task<> compare(std::string advice);

 private:
  std::string same_key(const std::string& a, const std::string& b) const;
  task<int64_t> logged(int64_t most);
  task<> replay();  // in the caller's transaction

  Session& session_;
  Tables tables_;
};

}  // namespace cairn::partitions
