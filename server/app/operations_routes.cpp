// /api/v1/database/partitions, replicas, backups, pool: what `cairn partitions status`, `replica list`, `backup list`
// and `pool status` print, by the same functions, with what else is to be known of each.
#include <sstream>

#include "app/page.h"
#include "backup/api.h"
#include "base/error.h"
#include "base/json.h"
#include "partitions/api.h"
#include "pooler/api.h"

namespace cairn::app {
namespace {

using http::Request;

// What a command prints.
template <class F>
std::string printed(F print) {
  std::ostringstream out;
  print(out);
  return std::move(out).str();
}

// What is due is another look, which waits for nobody: somebody may be doing it just now.
task<std::string> on_partitions(Desk& desk, Request& request) {
  partitions::StatusOptions status;
  status.connection_string = reading_connection(desk.app, wanted_database(request));
  status.wait_s = 0;
  status.json = true;
  partitions::MaintainOptions due;
  due.connection_string = status.connection_string;
  due.wait_s = 0;
  due.json = due.dry_run = true;
  auto work = [status, due] {
    std::ostringstream progress;
    const std::string shown = printed([&](std::ostream& out) { partitions::run_status(status, out, progress); });
    std::string text;
    json::Writer out(text);
    out.begin_object();
    out.key("status");
    out.raw(shown);
    try {
      const std::string found = printed([&](std::ostream& to) { partitions::run_maintain(due, to, progress); });
      out.key("due");
      out.raw(found);
    } catch (const Error& error) {
      out.field("due_unknown", error.what());
    }
    out.end_object();
    return text;
  };
  co_return co_await desk.compute(std::move(work));
}

void require_embedded(const App& app, const std::string& what, const std::string& instead) {
  if (app.cluster == nullptr)
    throw Error(ErrorCode::kResourceConflict,
                what + " a database of your own (database_url) are made by its own means" + instead);
}

task<std::string> on_replicas(Desk& desk, Request&) {
  require_embedded(desk.app, "Replicas of", ": those that stream from it are in /api/v1/database/triage.");
  replicas::Options options;
  options.data_dir = desk.app.config.data_dir;
  options.connection_string = desk.app.cluster->superuser_connection_string();
  options.json = true;
  auto work = [options] { return printed([&](std::ostream& out) { replicas::list(options, out); }); };
  const std::string list = co_await desk.compute(std::move(work));
  co_return "{\"replicas\":" + list + "}";
}

// Up to when the archive has the changes; as long as the data directory is there, its own are added by a restore.
constexpr db::Statement kArchiver{"page_archiver", R"(/* cairn tune */
SELECT json_build_object('segments', archived_count, 'archived_at', (extract(epoch FROM last_archived_time) * 1000)::int8,
  'failures', failed_count, 'failed_at', (extract(epoch FROM last_failed_time) * 1000)::int8,
  'fails', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false))::text FROM pg_stat_archiver)"};

task<std::string> on_backups(Desk& desk, Request&) {
  require_embedded(desk.app, "Backups of", ", pg_basebackup or pgBackRest.");
  backup::ListOptions options;
  options.directory = desk.app.config.backup_directory();
  options.json = true;
  auto work = [options]() -> std::string {
    try {
      return printed([&](std::ostream& out) { backup::list(options, out); });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kResourceDoesNotExist) throw;
      return "{\"directory\":" + json::quote(options.directory) + ",\"backups\":[]}";  // none was made yet
    }
  };
  const std::string list = co_await desk.compute(std::move(work));
  const db::Rows archive = co_await desk.app.pool.query(kArchiver);
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("list");
  out.raw(list);
  out.key("archive");
  out.raw(archive.text(0, 0));
  out.end_object();
  co_return text;
}

task<std::string> on_pool(Desk& desk, Request&) {
  auto work = [directory = desk.app.config.data_dir] {
    return printed([&](std::ostream& out) { pooler::show_status(directory, true, out); });
  };
  co_return co_await desk.compute(std::move(work));
}

constexpr DeskRoute kRoutes[] = {
    {"GET", "/api/v1/database/partitions", on_partitions},
    {"GET", "/api/v1/database/replicas", on_replicas},
    {"GET", "/api/v1/database/backups", on_backups},
    {"GET", "/api/v1/database/pool", on_pool},
};

}  // namespace

void register_operations_routes(http::Router& router, const std::shared_ptr<Desk>& desk) {
  add_routes(router, desk, kRoutes);
}

}  // namespace cairn::app
