#include "tuner/snapshots.h"

#include <fcntl.h>
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
#include "base/json.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr const char* kSuffix = ".json";
constexpr const char* kLast = "last";
constexpr size_t kNamesShown = 5;

Error failed(const std::string& what, const std::string& path) {
  return Error(ErrorCode::kInternalError,
               what + " " + path + ": " + std::strerror(errno) + "; give another --state-dir");
}

void write_statement(json::Writer& writer, const StatementRow& row) {
  const Counters& counters = row.counters;
  writer.begin_object();
  writer.field("role_id", row.role_id);
  writer.field("role", row.role);
  writer.field("queryid", row.queryid);
  writer.field("top_level", row.top_level);
  writer.field("hidden", row.hidden);
  writer.field("text", row.text);
  writer.field("fingerprint", row.fingerprint);
  writer.field("since", row.since_ms);
  writer.field("calls", counters.calls);
  writer.field("rows", counters.rows);
  writer.field("total_ms", counters.total_ms);
  writer.field("squares_ms2", counters.squares_ms2);
  writer.field("max_ms", counters.max_ms);
  writer.field("shared_hits", counters.shared_hits);
  writer.field("shared_reads", counters.shared_reads);
  writer.field("temp_blocks", counters.temp_blocks);
  writer.field("wal_bytes", counters.wal_bytes);
  writer.end_object();
}

StatementRow read_statement(const json::Fields& fields) {
  StatementRow row;
  row.role_id = fields.required_integer("role_id");
  row.role = fields.string("role").value_or("");
  row.queryid = fields.required_integer("queryid");
  row.top_level = fields.boolean("top_level").value_or(true);
  row.hidden = fields.boolean("hidden").value_or(false);
  row.text = fields.string("text").value_or("");
  row.fingerprint = fields.string("fingerprint").value_or("");
  row.since_ms = fields.integer("since");
  Counters& counters = row.counters;
  counters.calls = fields.required_integer("calls");
  counters.rows = fields.required_integer("rows");
  counters.total_ms = fields.required_number("total_ms");
  counters.squares_ms2 = fields.required_number("squares_ms2");
  counters.max_ms = fields.required_number("max_ms");
  counters.shared_hits = fields.required_integer("shared_hits");
  counters.shared_reads = fields.required_integer("shared_reads");
  counters.temp_blocks = fields.required_integer("temp_blocks");
  counters.wal_bytes = fields.required_integer("wal_bytes");
  return row;
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

void write_file(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) throw failed("cannot make", path);
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = write(file, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    written += static_cast<size_t>(count);
  }
  const bool good = written == text.size() && fsync(file) == 0;
  if (!good) {
    const Error error = failed("cannot write", path);
    close(file);
    unlink(path.c_str());
    throw error;
  }
  close(file);
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

std::string to_json(const Reading& reading) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("format", kFormat);
  writer.field("taken_at", reading.taken_at_ms);
  writer.field("database", reading.database);
  writer.field("database_id", reading.database_id);
  writer.field("server_version", reading.server_version);
  writer.field("extension_version", reading.extension_version);
  writer.field("reset_at", reading.reset_at_ms);
  writer.field("evictions", reading.evictions);
  writer.field("cache_hits", reading.cache_hits);
  writer.field("cache_reads", reading.cache_reads);
  writer.field("database_reset_at", reading.database_reset_at_ms);
  writer.key("statements");
  writer.begin_array();
  for (const StatementRow& row : reading.statements) write_statement(writer, row);
  writer.end_array();
  writer.end_object();
  return text;
}

Reading reading_from_json(const std::string& text) {
  const json::Document document(text);
  const json::Fields fields = json::root_fields(document);
  if (const int64_t format = fields.required_integer("format"); format != kFormat)
    throw invalid(fmt::format("it is of format {}, and this program reads {}", format, kFormat));
  Reading reading;
  reading.taken_at_ms = fields.required_integer("taken_at");
  reading.database = fields.required_string("database");
  reading.database_id = fields.required_integer("database_id");
  reading.server_version = fields.required_string("server_version");
  reading.extension_version = fields.string("extension_version").value_or("");
  reading.reset_at_ms = fields.integer("reset_at");
  reading.evictions = fields.integer("evictions");
  reading.cache_hits = fields.required_integer("cache_hits");
  reading.cache_reads = fields.required_integer("cache_reads");
  reading.database_reset_at_ms = fields.integer("database_reset_at");
  for (const json::Fields& row : fields.objects("statements")) reading.statements.push_back(read_statement(row));
  return reading;
}

std::string Snapshots::save(const Reading& reading) const {
  const fs::path snapshots = directory_;
  std::error_code ignored;
  fs::create_directories(snapshots, ignored);
  fs::permissions(snapshots, fs::perms::owner_all, ignored);
  const std::string temporary = directory_ + "/.new-" + std::to_string(getpid());
  write_file(temporary, to_json(reading));
  const std::string time =
      fmt::format("{:%Y%m%dT%H%M%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(reading.taken_at_ms / 1000)),
                  reading.taken_at_ms % 1000);
  std::string name = time;
  for (int other = 2; link(temporary.c_str(), (directory_ + "/" + name + kSuffix).c_str()) != 0; ++other) {
    if (errno != EEXIST) {
      const Error error = failed("cannot make", directory_ + "/" + name + kSuffix);
      unlink(temporary.c_str());
      throw error;
    }
    name = time + "-" + std::to_string(other);
  }
  unlink(temporary.c_str());
  return name;
}

Reading Snapshots::load(const std::string& name) const {
  const std::vector<std::string> all = names();
  if (all.empty()) throw not_found("there is no snapshot in " + directory_ + ": `cairn tune profile --save` makes one");
  const auto found = name == kLast ? all.end() - 1 : std::find(all.begin(), all.end(), name);
  if (found == all.end()) {
    std::string newest;
    for (auto known = all.rbegin(); known != all.rend() && known < all.rbegin() + kNamesShown; ++known)
      newest += (newest.empty() ? "" : ", ") + *known;
    throw not_found("there is no snapshot " + name + " in " + directory_ + "; the newest are " + newest);
  }
  const std::string path = directory_ + "/" + *found + kSuffix;
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof()) throw failed("cannot read", path);
  try {
    return reading_from_json(text);
  } catch (const Error& error) {
    throw invalid("snapshot " + path + " cannot be used: " + error.what());
  }
}

std::vector<std::string> Snapshots::names() const {
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
