// `cairn backup list`.
#include <fmt/format.h>

#include "backup/api.h"
#include "backup/repository.h"
#include "base/json.h"
#include "base/table.h"

namespace cairn::backup {
namespace {

int64_t rows_of(const Backup& backup) {
  int64_t rows = 0;
  for (const TableFigure& table : backup.tables) rows += table.rows;
  return rows;
}

void print_json(const Repository& repository, const std::vector<Backup>& all, std::ostream& out) {
  std::string text;
  json::Writer json(text);
  json.begin_object();
  json.field("directory", repository.directory().string());
  json.key("backups");
  json.begin_array();
  for (const Backup& backup : all) {
    const auto verified = repository.verified(backup);
    json.begin_object();
    json.field("id", backup.id);
    json.field("started_at", backup.started_at);
    json.field("stopped_at", backup.stopped_at);
    json.field("start_lsn", backup.start_lsn);
    json.field("stop_lsn", backup.stop_lsn);
    json.field("restore_point", backup.restore_point);
    json.field("base_bytes", backup.base_bytes);
    if (!backup.label.empty()) {
      json.field("label", backup.label);
      json.field("type", backup.type);
      json.field("stored_bytes", backup.stored_bytes);
    }
    json.field("tables", static_cast<int64_t>(backup.tables.size()));
    json.field("rows", rows_of(backup));
    json.field("artifacts", static_cast<int64_t>(repository.artifacts(backup).size()));
    if (verified) {
      json.field("verified_at", verified->at);
      json.field("good", verified->good);
    }
    json.end_object();
  }
  json.end_array();
  json.end_object();
  out << text << "\n";
}

}  // namespace

int list(const ListOptions& options, std::ostream& out) {
  const Repository repository(options.directory, Repository::Use::kRead);
  const std::vector<Backup> all = repository.list();
  if (options.json) {
    print_json(repository, all, out);
    return 0;
  }
  std::vector<std::vector<std::string>> table{
      {"backup", "restores from", "kind", "MB", "rows", "artifacts", "verified"}};
  for (const Backup& backup : all) {
    const auto verified = repository.verified(backup);
    table.push_back({backup.id, time_text(backup.stopped_at), backup.type.empty() ? "base" : backup.type,
                     fmt::format("{:.1f}", static_cast<double>(backup.base_bytes) / 1e6),
                     std::to_string(rows_of(backup)), std::to_string(repository.artifacts(backup).size()),
                     !verified ? "never" : (verified->good ? "good " : "NOT GOOD ") + time_text(verified->at)});
  }
  print_table(out, table);
  return 0;
}

}  // namespace cairn::backup
