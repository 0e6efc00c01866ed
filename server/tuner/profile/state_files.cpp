#include "tuner/profile/state_files.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/files.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuffix = ".json";
constexpr const char* kLast = "last";
constexpr size_t kNamesShown = 5;

Error failed(const std::string& what, const std::string& path) {
  return Error(ErrorCode::kInternalError,
               what + " " + path + ": " + std::strerror(errno) + "; give another --state-dir");
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using ConnectionOptions = std::unique_ptr<PQconninfoOption, FreeOptions>;

void take(const ConnectionOptions& options, std::map<std::string, std::string>& values) {
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option)
    if (option->val != nullptr) values[option->keyword] = option->val;
}

std::string hash_of_database(const std::string& database_url) {
  char* problem = nullptr;
  const ConnectionOptions given(PQconninfoParse(database_url.c_str(), &problem));
  const std::unique_ptr<char, decltype(&PQfreemem)> owner(problem, &PQfreemem);
  if (!given) throw invalid("database_url is no connection string or URL of PostgreSQL");
  std::map<std::string, std::string> values;
  take(ConnectionOptions(PQconndefaults()), values);
  take(given, values);
  const std::string& database = values["dbname"].empty() ? values["user"] : values["dbname"];
  return sha256_hex(values["host"] + '\n' + values["hostaddr"] + '\n' + values["port"] + '\n' + database).substr(0, 16);
}

}  // namespace

std::string state_directory(const std::string& data_dir, const std::string& database_url) {
  if (database_url.empty()) return data_dir + "/tuner";
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::string root;
  if (state != nullptr && *state == '/')
    root = state;
  else if (home != nullptr && *home != '\0')
    root = std::string(home) + "/.local/state";
  else
    throw invalid("neither XDG_STATE_HOME nor HOME says where snapshots may be kept: give --state-dir");
  return root + "/cairn/tuner/" + hash_of_database(database_url);
}

std::string StateFiles::path(const std::string& name) const { return directory_ + "/" + name + kSuffix; }

std::string StateFiles::write_beside(const std::string& text) const {
  std::error_code ignored;
  fs::create_directories(directory_, ignored);
  fs::permissions(directory_, fs::perms::owner_all, ignored);
  const std::string temporary = directory_ + "/.new-" + std::to_string(getpid());
  try {
    write_file_durably(temporary, text);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) + "; give another --state-dir");
  }
  return temporary;
}

std::string StateFiles::add(int64_t at_ms, const std::string& text) const {
  const std::string temporary = write_beside(text);
  const std::string time =
      fmt::format("{:%Y%m%dT%H%M%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(at_ms / 1000)), at_ms % 1000);
  std::string name = time;
  for (int other = 2; link(temporary.c_str(), path(name).c_str()) != 0; ++other) {
    if (errno != EEXIST) {
      const Error error = failed("cannot make", path(name));
      unlink(temporary.c_str());
      throw error;
    }
    name = time + "-" + std::to_string(other);
  }
  unlink(temporary.c_str());
  return name;
}

void StateFiles::replace(const std::string& name, const std::string& text) const {
  const std::string temporary = write_beside(text);
  if (rename(temporary.c_str(), path(name).c_str()) == 0) return;
  const Error error = failed("cannot make", path(name));
  unlink(temporary.c_str());
  throw error;
}

std::string StateFiles::find(const std::string& name) const {
  const std::vector<std::string> all = names();
  if (all.empty()) throw not_found("there is no " + thing_ + " in " + directory_ + ": " + origin_ + " makes one");
  if (name == kLast) return all.back();
  if (std::find(all.begin(), all.end(), name) != all.end()) return name;
  std::string newest;
  for (auto known = all.rbegin(); known != all.rend() && known < all.rbegin() + kNamesShown; ++known)
    newest += (newest.empty() ? "" : ", ") + *known;
  throw not_found("there is no " + thing_ + " " + name + " in " + directory_ + "; the newest are " + newest);
}

bool StateFiles::has(const std::string& name) const {
  const std::vector<std::string> all = names();
  return std::find(all.begin(), all.end(), name) != all.end();
}

std::string StateFiles::load(const std::string& name) const {
  const std::string file_path = path(find(name));
  std::ifstream file(file_path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof()) throw failed("cannot read", file_path);
  return text;
}

std::vector<std::string> StateFiles::names() const {
  std::vector<std::string> names;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_, missing)) {
    const std::string file = entry.path().filename();
    if (file.ends_with(kSuffix) && !file.starts_with('.'))
      names.push_back(file.substr(0, file.size() - strlen(kSuffix)));
  }
  // "-10" comes after "-9", and a name after the one that it continues.
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const size_t dash_a = a.find('-'), dash_b = b.find('-');
    const std::string time_a = a.substr(0, dash_a), time_b = b.substr(0, dash_b);
    return time_a != time_b ? time_a < time_b : std::pair(a.size(), a) < std::pair(b.size(), b);
  });
  return names;
}

}  // namespace cairn::tuner
