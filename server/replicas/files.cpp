#include "replicas/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/json.h"

namespace cairn::replicas {

namespace fs = std::filesystem;

fs::path directory_of(const std::string& data_dir) { return fs::weakly_canonical(fs::absolute(data_dir)) / "replicas"; }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_text(const fs::path& path, const std::string& text) {
  const fs::path draft = path.string() + ".new";
  std::ofstream out(draft, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw Error(ErrorCode::kInvalidState, "cannot write " + draft.string());
  fs::rename(draft, path);
}

std::vector<Place> places_in(const std::string& data_dir) {
  std::vector<Place> places;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_of(data_dir), failure)) {
    const std::string text = read_text(entry.path() / "replica.json");
    if (entry.path().filename().string()[0] == '.' || text.empty()) continue;
    const json::Document document(text);
    const json::Fields fields = json::root_fields(document);
    Place place;
    place.name = entry.path().filename();
    place.directory = entry.path();
    place.port = static_cast<int>(fields.required_integer("port"));
    place.synchronous = fields.boolean("synchronous").value_or(false);
    for (const fs::directory_entry& inside : fs::directory_iterator(entry.path(), failure))
      if (fs::exists(inside.path() / "PG_VERSION", failure)) place.cluster = inside.path();
    place.standby = fs::exists(place.cluster / "standby.signal", failure);
    if (!place.cluster.empty()) places.push_back(std::move(place));
  }
  std::ranges::sort(places, {}, &Place::name);
  return places;
}

void write_description(const Place& place) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("format", 1);
  out.field("port", place.port);
  out.field("synchronous", place.synchronous);
  out.end_object();
  write_text(place.directory / "replica.json", text + "\n");
}

std::string standby_names(const std::vector<Place>& places) {
  std::string names;
  for (const Place& place : places)
    if (place.synchronous && place.standby) names += (names.empty() ? "" : ", ") + fmt::format("\"{}\"", place.name);
  return names.empty() ? "" : "ANY 1 (" + names + ")";
}

}  // namespace cairn::replicas
