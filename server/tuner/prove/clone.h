// A copy of the target database, to try changes on. What was made for it is removed when it is destroyed; of a clone
// that the user brought, nothing is removed but what was changed on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tuner/catalog/session.h"

namespace cairn::tuner {

enum class CloneKind { kAuto, kTemplate, kBaseBackup, kSample };

struct CloneOptions {
  CloneKind kind = CloneKind::kAuto;
  std::string target = {};            // connection string of the database
  std::string administrator = {};     // of its server, for a role that may copy it; empty: the target's
  std::string url = {};               // of the user's own clone; the kind is then of no account
  std::string directory = {};         // for a server of its own; empty: a temporary one
  std::string binary_directory = {};  // of PostgreSQL's programs; empty: the installed ones of the server's version
  int shared_buffers_mb = 0;          // of a server of its own; 0: as the target's, 128 at most
  int64_t sample_rows = 100'000;      // of a table, at most, in a sample
};

class Clone {
 public:
  virtual ~Clone() = default;
  // Of the database that is the copy, for a role that may change it.
  const std::string& connection_string() const { return connection_string_; }
  // "a copy of the database by CREATE DATABASE … TEMPLATE"
  const std::string& description() const { return description_; }
  // SET statements: what the target's sessions have and the clone's would not.
  const std::vector<std::string>& session_settings() const { return settings_; }
  // What it lacks, as sentences.
  const std::vector<std::string>& notes() const { return notes_; }
  // Tells the planner of a sample how many rows the target has; to be run after each change. Empty: nothing to tell.
  const std::string& statistics() const { return statistics_; }
  // Other databases, of others, are on its server.
  bool shares_server() const { return shares_server_; }

 protected:
  std::string connection_string_ = {};
  std::string description_ = {};
  std::vector<std::string> settings_ = {};
  std::vector<std::string> notes_ = {};
  std::string statistics_ = {};
  bool shares_server_ = true;
};

// Throws Error, with what to do instead, where the wanted clone cannot be made; `kAuto` tries the cheapest that can.
std::unique_ptr<Clone> make_clone(const CloneOptions& options);

// One sort each, for make_clone() and for tests.
std::unique_ptr<Clone> adopt_clone(const CloneOptions& options);
std::unique_ptr<Clone> template_clone(const CloneOptions& options);
std::unique_ptr<Clone> base_backup_clone(const CloneOptions& options);
std::unique_ptr<Clone> sample_clone(const CloneOptions& options);

// SET statements that give a session on a clone what the target's roles and database set, and its search path.
std::vector<std::string> session_settings_of(Session& target);

}  // namespace cairn::tuner
