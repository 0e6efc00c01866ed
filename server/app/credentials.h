// The file of users and tokens. It holds hashes only:
//
//   [[users]]                          [[tokens]]
//   name = "ann"                       name = "ci"
//   role = "reader"                    role = "admin"         (or writer, as where none is said)
//   password_hash = "$argon2id$..."    sha256 = "..."
#pragma once

#include <string>

#include "http/auth.h"

namespace cairn::app {

// No credentials for an empty path. Throws Error(kInvalidParameterValue), naming the entry that is wrong.
http::Credentials load_credentials(const std::string& path);

}  // namespace cairn::app
