// The server's settings. Each comes from the first of these that names it: the command line, the environment
// (CAIRN_<KEY>; also DATABASE_URL), the file .env, the configuration file (TOML), the default. An unknown key is an
// error that names the nearest one.
//
// One table (config.cpp) holds every key; the command line's options, the environment's names and the file's keys are
// made from it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>

namespace cairn {

struct ServerConfig {
  // Where the embedded PostgreSQL and the artifacts live.
  std::string data_dir = "cairn-data";
  // libpq URL or key=value string of a database to use instead of the embedded one. Holds a password: never print it.
  std::string database_url;
  // Bring the schema of database_url up to date at start. The embedded database always is.
  bool migrate = false;

  std::string host = "127.0.0.1";
  int port = 5000;  // 0: any free one
  std::string tls_certificate;
  std::string tls_key;
  // TOML file with the users' and tokens' hashes.
  std::string credentials;
  // Serve other machines without credentials or TLS.
  bool insecure = false;
  // Requests a second that each caller may make; 0: any number.
  double rate_limit = 0;

  // Connections that the pool keeps, those it may add under load, and how long a request waits for one.
  int pool_size = 8;
  int max_overflow = 8;
  double pool_timeout_s = 10;

  // Empty: <data_dir>/artifacts
  std::string artifact_root;

  // Alerts are POSTed here. May hold a secret, hence no option of the command line. Empty: nowhere.
  std::string alert_webhook;
  // Empty: <data_dir>/backups
  std::string backup_dir;

  // The embedded PostgreSQL: TCP port for psql users (0: unix socket only), and where its programs are (empty: found).
  int postgres_port = 0;
  std::string postgres_bin;

  std::string log_format = "text";  // or json
  std::string log_level = "info";   // trace, debug, info, warn, error

  std::string artifact_directory() const { return artifact_root.empty() ? data_dir + "/artifacts" : artifact_root; }
  std::string backup_directory() const { return backup_dir.empty() ? data_dir + "/backups" : backup_dir; }
};

struct ConfigKey {
  using Member =
      std::variant<std::string ServerConfig::*, int ServerConfig::*, double ServerConfig::*, bool ServerConfig::*>;
  const char* name;  // as in the file; --name-with-dashes; CAIRN_NAME
  Member member;
  const char* help;
  double lowest = 0;
  double highest = 0;
};
std::span<const ConfigKey> config_keys();

struct ConfigSources {
  // From the command line, by key.
  std::map<std::string, std::string> options;
  // The process's environment.
  std::map<std::string, std::string> environment;
  // TOML; empty: CAIRN_CONFIG names it, or there is none. A file that was named must exist.
  std::string config_file;
  // Read if it exists.
  std::string env_file = ".env";
};

// Throws Error(kInvalidParameterValue) that says which key, from where, and what is wrong with it.
ServerConfig load_config(const ConfigSources& sources);
std::map<std::string, std::string> process_environment();

// The settings as `key = value` lines, passwords replaced by ***.
std::string describe_config(const ServerConfig& config);

// KEY=VALUE lines: `export`, comments, single and double quotes ("\n" and the like only in double ones); no
// substitution.
std::map<std::string, std::string> parse_env_file(const std::string& text, const std::string& file_name);

}  // namespace cairn
