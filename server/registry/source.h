// Where a version's files are: which sources a client may name, and what they stand for.
#pragma once

#include <string>

#include "db/transaction.h"
#include "registry/store.h"

namespace cairn::registry {

struct ResolvedSource {
  std::string storage_location;
  // The run of the source, where the request named none.
  std::string run_id;
};

// Throws Error(kInvalidParameterValue) for a source that reaches where its run does not: otherwise a version would be a
// way to read any file through the server.
task<ResolvedSource> resolve_source(db::Transaction& tx, const NewVersion& version);

}  // namespace cairn::registry
