#include "app/credentials.h"

#include <toml++/toml.h>

#include "base/error.h"

namespace cairn::app {
namespace {

struct Entry {
  std::string name;
  std::string secret;
  http::Role role;
};

http::Role role_of(const toml::table& table, const std::string& place) {
  const std::string role = table.contains("role") ? table["role"].value_or(std::string()) : "writer";
  if (role == "reader") return http::Role::kReader;
  if (role == "writer") return http::Role::kWriter;
  if (role == "admin") return http::Role::kAdmin;
  throw invalid(place + ": role must be \"reader\", \"writer\" or \"admin\"");
}

// The list `name` of tables that have the keys `name`, `secret_key` and perhaps `role`, and no others.
std::vector<Entry> read_entries(const toml::table& file, const std::string& path, const char* name,
                                const char* secret_key) {
  std::vector<Entry> entries;
  if (!file.contains(name)) return entries;
  const toml::array* list = file[name].as_array();
  if (list == nullptr) throw invalid(path + ": " + name + " must be a list of tables, [[" + name + "]]");
  for (const toml::node& node : *list) {
    const toml::table* table = node.as_table();
    const std::string place = path + ": entry " + std::to_string(entries.size() + 1) + " of [[" + name + "]]";
    const auto who = table == nullptr ? std::nullopt : (*table)["name"].value<std::string>();
    const auto secret = table == nullptr ? std::nullopt : (*table)[secret_key].value<std::string>();
    const size_t keys = table != nullptr && table->contains("role") ? 3 : 2;
    if (!who || who->empty() || !secret || secret->empty() || table->size() != keys) {
      throw invalid(place + " must have name and " + secret_key + ", may have role, and nothing else");
    }
    entries.push_back({*who, *secret, role_of(*table, place)});
  }
  return entries;
}

}  // namespace

http::Credentials load_credentials(const std::string& path) {
  http::Credentials credentials;
  if (path.empty()) return credentials;
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    throw invalid("cannot read the credentials file " + path + ": " + std::string(error.description()));
  }
  for (const auto& [name, node] : file) {
    if (name != "users" && name != "tokens") {
      throw invalid(path + ": unknown entry " + std::string(name.str()) + "; it may hold [[users]] and [[tokens]]");
    }
  }
  for (auto& [name, hash, role] : read_entries(file, path, "users", "password_hash")) {
    if (!hash.starts_with("$argon2id$")) {
      throw invalid(path + ": the password_hash of user " + name +
                    " is not argon2id's: make it with `cairn credentials user`");
    }
    credentials.users.push_back({name, hash, role});
  }
  for (auto& [name, hash, role] : read_entries(file, path, "tokens", "sha256")) {
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
      throw invalid(path + ": the sha256 of token " + name +
                    " is not 64 hex digits: make it with `cairn credentials token`");
    }
    credentials.tokens.push_back({name, hash, role});
  }
  if (credentials.empty()) throw invalid(path + " holds no user and no token: with it nobody could log in");
  return credentials;
}

}  // namespace cairn::app
