// The replicas' directories (docs/formats/replicas.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cairn::replicas {

struct Place {
  std::string name;
  std::filesystem::path directory;  // <data>/replicas/<name>
  std::filesystem::path cluster;    // <data>/replicas/<name>/<major>
  int port = 0;
  bool synchronous = false;
  bool standby = false;  // else a former primary

  std::filesystem::path request() const { return directory / "promote"; }
  std::filesystem::path refusal() const { return directory / "promote.error"; }
  std::string slot() const { return "cairn_" + name; }
};

std::filesystem::path directory_of(const std::string& data_dir);
// By name.
std::vector<Place> places_in(const std::string& data_dir);
void write_description(const Place& place);
void write_text(const std::filesystem::path& path, const std::string& text);
// "" for what is not there.
std::string read_text(const std::filesystem::path& path);

// The value of synchronous_standby_names: any one of the synchronous ones; "" where there are none.
std::string standby_names(const std::vector<Place>& places);

}  // namespace cairn::replicas
