#include "base/config.h"

#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace cairn {
namespace {

constexpr ConfigKey kKeys[] = {
    {"data_dir", &ServerConfig::data_dir, "Directory of the embedded PostgreSQL and the artifacts"},
    {"database_url", &ServerConfig::database_url, "Use this PostgreSQL instead of the embedded one (postgresql://...)"},
    {"migrate", &ServerConfig::migrate, "Bring the schema of database_url up to date at start"},
    {"host", &ServerConfig::host, "Address to listen on"},
    {"port", &ServerConfig::port, "Port to listen on; 0: any free one", 0, 65535},
    {"tls_certificate", &ServerConfig::tls_certificate, "Certificate chain (PEM); with tls_key the server speaks TLS"},
    {"tls_key", &ServerConfig::tls_key, "Private key of the certificate (PEM)"},
    {"credentials", &ServerConfig::credentials, "File with users and tokens (TOML)"},
    {"insecure", &ServerConfig::insecure, "Serve other machines without credentials and TLS"},
    {"pool_size", &ServerConfig::pool_size, "Database connections to keep open", 1, 1000},
    {"max_overflow", &ServerConfig::max_overflow, "More database connections under load", 0, 1000},
    {"rate_limit", &ServerConfig::rate_limit, "Requests a second of each caller; 0: any number", 0, 1e6},
    {"pool_timeout_s", &ServerConfig::pool_timeout_s, "Seconds that a request waits for a connection", 0.001, 3600},
    {"backup_dir", &ServerConfig::backup_dir, "Directory of the backups; default: backups in data_dir"},
    {"artifact_root", &ServerConfig::artifact_root, "Directory of the artifacts; default: artifacts in data_dir"},
    {"alert_webhook", &ServerConfig::alert_webhook, "URL to which alerts are POSTed, as Alertmanager's webhooks"},
    {"postgres_port", &ServerConfig::postgres_port, "Loopback TCP port of the embedded PostgreSQL; 0: unix socket only",
     0, 65535},
    {"postgres_bin", &ServerConfig::postgres_bin, "Directory of PostgreSQL's programs; default: the newest installed"},
    {"log_format", &ServerConfig::log_format, "text or json"},
    {"log_level", &ServerConfig::log_level, "trace, debug, info, warn or error"},
};

// Variables of the developers' tools share the prefix.
const std::set<std::string_view> kForeignVariables = {"CAIRN_CONFIG",  "CAIRN_PRESET",     "CAIRN_BIN",
                                                      "CAIRN_BIN_DIR", "CAIRN_SOURCE_DIR", "CAIRN_FUZZ_SECONDS",
                                                      "CAIRN_KILLS",   "CAIRN_JOBS",       "CAIRN_CONCURRENCY_SECONDS",
                                                      "CAIRN_FULL"};
bool is_foreign_variable(std::string_view name) {
  return kForeignVariables.contains(name) || name.starts_with("CAIRN_TEST_") || name.starts_with("CAIRN_BENCH_");
}

const ConfigKey* find_key(std::string_view name) {
  for (const ConfigKey& key : kKeys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] != b[j])});
      diagonal = above;
    }
  }
  return row.back();
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(tolower(c)); });
  return text;
}

const ConfigKey& known_key(const std::string& name, const std::string& where) {
  if (const ConfigKey* key = find_key(name)) return *key;
  const ConfigKey* nearest = std::min_element(std::begin(kKeys), std::end(kKeys), [&](const auto& a, const auto& b) {
    return edit_distance(name, a.name) < edit_distance(name, b.name);
  });
  throw invalid("unknown setting " + name + " in " + where + ": did you mean " + nearest->name + "?");
}

template <class Number>
Number parse_number(const ConfigKey& key, const std::string& text, const std::string& where) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || !(number >= Number(key.lowest) && number <= Number(key.highest))) {
    std::ostringstream range;
    range << key.lowest << " to " << key.highest;
    throw invalid("setting " + std::string(key.name) + " in " + where + " is '" + text +
                  "': it must be a number from " + range.str());
  }
  return number;
}

bool parse_bool(const ConfigKey& key, const std::string& text, const std::string& where) {
  const std::string word = lower(text);
  if (word == "true" || word == "1" || word == "on" || word == "yes") return true;
  if (word == "false" || word == "0" || word == "off" || word == "no") return false;
  throw invalid("setting " + std::string(key.name) + " in " + where + " is '" + text + "': it must be true or false");
}

void assign(ServerConfig& config, const ConfigKey& key, const std::string& text, const std::string& where) {
  std::visit(
      [&](auto member) {
        using Value = std::remove_reference_t<decltype(config.*member)>;
        if constexpr (std::is_same_v<Value, std::string>) {
          config.*member = text;
        } else if constexpr (std::is_same_v<Value, bool>) {
          config.*member = parse_bool(key, text, where);
        } else {
          config.*member = parse_number<Value>(key, text, where);
        }
      },
      key.member);
}

void assign_file(ServerConfig& config, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse_file(file);
  } catch (const toml::parse_error& error) {
    std::ostringstream where;
    where << error.source().begin;
    throw invalid("cannot read the configuration file " + file + ": " + std::string(error.description()) + " (" +
                  where.str() + ")");
  }
  for (const auto& [name, node] : table) {
    const ConfigKey& key = known_key(std::string(name.str()), file);
    std::ostringstream text;
    if (const auto* string = node.as_string()) {
      text << string->get();
    } else if (node.is_number() || node.is_boolean()) {
      node.visit([&](const auto& value) {
        if constexpr (toml::is_number<decltype(value)> || toml::is_boolean<decltype(value)>)
          text << std::boolalpha << value.get();
      });
    } else {
      throw invalid("setting " + std::string(key.name) + " in " + file + " must be a string, a number, true or false");
    }
    assign(config, key, text.str(), file);
  }
}

void assign_environment(ServerConfig& config, const std::map<std::string, std::string>& variables,
                        const std::map<std::string, std::string>& from_file, const std::string& env_file) {
  auto where = [&](const std::string& name) {
    return from_file.contains(name) ? env_file : std::string("the environment");
  };
  // What other programs use too stands below what is meant for this one.
  if (const auto url = variables.find("DATABASE_URL"); url != variables.end()) config.database_url = url->second;
  for (const auto& [name, value] : variables) {
    if (!name.starts_with("CAIRN_") || is_foreign_variable(name)) continue;
    assign(config, known_key(lower(name.substr(6)), where(name)), value, where(name) + " (" + name + ")");
  }
}

// SQLAlchemy's URLs name the driver too: postgresql+psycopg2://
void drop_driver_name(std::string& url) {
  const size_t scheme_end = url.find("://");
  const size_t plus = url.find('+');
  if (scheme_end != std::string::npos && plus < scheme_end) url.erase(plus, scheme_end - plus);
}

void check(const ServerConfig& config) {
  auto one_of = [](const char* key, const std::string& value, std::initializer_list<std::string_view> allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
    std::string list;
    for (const std::string_view word : allowed) list += (list.empty() ? "" : ", ") + std::string(word);
    throw invalid(std::string("setting ") + key + " is '" + value + "': it must be one of " + list);
  };
  one_of("log_format", config.log_format, {"text", "json"});
  one_of("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"});
  if (config.tls_certificate.empty() != config.tls_key.empty()) {
    throw invalid("tls_certificate and tls_key belong together: give both or neither");
  }
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::map<std::string, std::string> parse_env_file(const std::string& text, const std::string& file_name) {
  std::map<std::string, std::string> variables;
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::string_view rest = line;
    auto skip_blanks = [&] { rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r"), rest.size())); };
    auto fail = [&](const char* what) {
      return invalid(file_name + ", line " + std::to_string(number) + ": " + what +
                     "; a line is KEY=VALUE or a # comment");
    };
    skip_blanks();
    if (rest.empty() || rest[0] == '#') continue;
    if (rest.starts_with("export ")) rest.remove_prefix(7);
    skip_blanks();
    const size_t equals = rest.find('=');
    if (equals == std::string_view::npos || equals == 0) throw fail("there is no KEY= in it");
    std::string key(rest.substr(0, equals));
    key.erase(key.find_last_not_of(" \t") + 1);
    rest.remove_prefix(equals + 1);
    skip_blanks();
    std::string value;
    if (!rest.empty() && (rest[0] == '"' || rest[0] == '\'')) {
      const char quote = rest[0];
      size_t at = 1;
      for (; at < rest.size() && rest[at] != quote; ++at) {
        if (quote == '"' && rest[at] == '\\' && at + 1 < rest.size()) {
          const char next = rest[++at];
          value += next == 'n' ? '\n' : next == 't' ? '\t' : next == 'r' ? '\r' : next;
        } else {
          value += rest[at];
        }
      }
      if (at == rest.size()) throw fail("a quote is not closed");
    } else {
      value = rest.substr(0, rest.find(" #"));
      value.erase(value.find_last_not_of(" \t\r") + 1);
    }
    variables[key] = value;
  }
  return variables;
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

ServerConfig load_config(const ConfigSources& sources) {
  std::map<std::string, std::string> from_file;
  if (std::ifstream in(sources.env_file); in) {
    std::ostringstream text;
    text << in.rdbuf();
    from_file = parse_env_file(text.str(), sources.env_file);
    // A real variable stands above the file's.
    std::erase_if(from_file, [&](const auto& entry) { return sources.environment.contains(entry.first); });
  }
  std::map<std::string, std::string> variables = sources.environment;
  variables.insert(from_file.begin(), from_file.end());

  ServerConfig config;
  std::string file = sources.config_file;
  if (const auto named = variables.find("CAIRN_CONFIG"); file.empty() && named != variables.end()) file = named->second;
  if (!file.empty()) assign_file(config, file);
  assign_environment(config, variables, from_file, sources.env_file);
  for (const auto& [name, value] : sources.options) {
    assign(config, known_key(name, "the command line"), value, "the command line");
  }
  drop_driver_name(config.database_url);
  check(config);
  return config;
}

std::string describe_config(const ServerConfig& config) {
  std::ostringstream out;
  for (const ConfigKey& key : kKeys) {
    out << key.name << " = ";
    std::visit(
        [&](auto member) {
          using Value = std::remove_cvref_t<decltype(config.*member)>;
          if constexpr (std::is_same_v<Value, std::string>) {
            const std::string_view name = key.name;
            if (name == "alert_webhook")
              out << ((config.*member).empty() ? "" : "***");
            else
              out << (name == "database_url" ? log::redact_url(config.*member) : config.*member);
          } else {
            out << std::boolalpha << config.*member;
          }
        },
        key.member);
    out << "\n";
  }
  return out.str();
}

}  // namespace cairn
