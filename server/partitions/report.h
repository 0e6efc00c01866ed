// What the reports of several commands are written with.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace cairn::partitions {

inline void write_strings(json::Writer& writer, const char* name, const std::vector<std::string>& strings) {
  writer.key(name);
  writer.begin_array();
  for (const std::string& string : strings) writer.string(string);
  writer.end_array();
}

}  // namespace cairn::partitions
