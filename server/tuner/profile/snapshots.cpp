#include "tuner/profile/snapshots.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"

namespace cairn::tuner {
namespace {

constexpr int kFormat = 1;

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

}  // namespace

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

std::string Snapshots::save(const Reading& reading) const { return files_.add(reading.taken_at_ms, to_json(reading)); }

Reading Snapshots::load(const std::string& name) const {
  const std::string found = files_.find(name);
  try {
    return reading_from_json(files_.load(found));
  } catch (const Error& error) {
    throw invalid("snapshot " + files_.path(found) + " cannot be used: " + error.what());
  }
}

}  // namespace cairn::tuner
