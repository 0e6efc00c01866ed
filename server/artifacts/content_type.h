// What a download says of the file it carries.
#pragma once

#include <string>
#include <string_view>

namespace cairn::artifacts {

// By the name alone, as MLflow's server guesses it: what is text in the widest sense is text/plain.
std::string_view content_type(std::string_view file_name);
// The value of Content-Disposition for a file of this name (RFC 6266).
std::string content_disposition(std::string_view file_name);

}  // namespace cairn::artifacts
