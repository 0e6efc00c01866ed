// Poolers that share PostgreSQL's connections between transactions, as PgBouncer does in transaction mode: what a
// session would keep (prepared statements, locks, settings, temporary tables) is not there in the next transaction,
// or is left to somebody else's.
#pragma once

#include <libpq-fe.h>

#include <string>

#include "base/error.h"

namespace cairn::db {

// Whether the process that answers is another one than the greeting named. Blocks; for connections outside of the
// reactor. A connection that failed is none through a pooler.
bool behind_pooler(PGconn* connection);

// Throws Error(kInvalidState) when the connection goes through a pooler. `what` needs a session: "cairn migrate".
void require_session(PGconn* connection, const std::string& what);
void require_session(const std::string& connection_string, const std::string& what);

Error needs_session(const std::string& what);

}  // namespace cairn::db
