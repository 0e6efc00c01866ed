// The registry's reads and changes. Each change is one transaction that also writes its row of audit.events.
//
// What is read comes as JSON text that PostgreSQL has built: nothing in between needs to know the fields.
// Order of locks: a model's row first (every change of its versions and aliases locks it), then the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "db/transaction.h"

namespace cairn::registry {

// Who asks for a change, for the audit log.
struct Caller {
  std::string user;
  std::string request_id;
};

// A version by its model's name and its number as the client wrote it (checked to be an integer).
struct VersionKey {
  std::string name;
  std::string version;
  // 0, which no version has, when the number is out of range.
  int32_t number() const;
};

struct Tag {
  std::string key;
  std::string value;
};

struct NewVersion {
  std::string name;
  std::string source;
  std::string run_id;
  std::string run_link;
  std::string description;
  std::string logged_model_id;
  std::vector<Tag> tags;
};

struct Transition {
  std::string stage;
  bool archive_others = false;
};

// One row of audit.events, as a statement of the transaction that makes the change.
struct Event {
  const char* action;
  const char* object_type;
  std::string object_id;
  // Names and values of its details.
  std::vector<std::pair<std::string, std::string>> details = {};
};
db::Query audit_query(const Caller& caller, const Event& event);
std::string tags_document(const std::vector<Tag>& tags);
Error model_not_found(const std::string& name);
Error version_not_found(const VersionKey& key);

// Models. Documents are those of {"registered_model": …}.
task<std::string> create_model(db::Pool& pool, const Caller& caller, std::string name, std::string description,
                               std::vector<Tag> tags);
task<std::string> read_model(db::Pool& pool, std::string name);
task<std::string> update_model(db::Pool& pool, const Caller& caller, std::string name, std::string description);
task<std::string> rename_model(db::Pool& pool, const Caller& caller, std::string name, std::string new_name);
task<std::string> require_approval(db::Pool& pool, const Caller& caller, std::string name, bool required);
task<> delete_model(db::Pool& pool, const Caller& caller, std::string name);
// No value deletes the tag.
task<> set_model_tag(db::Pool& pool, const Caller& caller, std::string name, std::string key,
                     std::optional<std::string> value);
// Of the given stages, or of all when there are none.
task<std::string> latest_versions(db::Pool& pool, std::string name, std::vector<std::string> stages);

// Aliases.
task<> set_alias(db::Pool& pool, const Caller& caller, VersionKey key, std::string alias);
task<> delete_alias(db::Pool& pool, const Caller& caller, std::string name, std::string alias);
task<std::string> version_by_alias(db::Pool& pool, std::string name, std::string alias);

// Versions. Documents are those of {"model_version": …}.
task<std::string> create_version(db::Pool& pool, const Caller& caller, NewVersion version);
task<std::string> read_version(db::Pool& pool, VersionKey key);
task<std::string> download_uri(db::Pool& pool, VersionKey key);
task<std::string> update_version(db::Pool& pool, const Caller& caller, VersionKey key, std::string description);
task<std::string> transition_version(db::Pool& pool, const Caller& caller, VersionKey key, Transition transition);
task<> delete_version(db::Pool& pool, const Caller& caller, VersionKey key);
task<> set_version_tag(db::Pool& pool, const Caller& caller, VersionKey key, std::string tag,
                       std::optional<std::string> value);

}  // namespace cairn::registry
