#include "tuner/profile/setup.h"

#include <algorithm>
#include <ostream>

#include "base/json.h"
#include "base/reactor.h"
#include "base/table.h"
#include "tuner/profile/statements.h"

namespace cairn::tuner {
namespace {

constexpr db::Statement kApplied[] = {kCreateExtension, kUpdateExtension};

struct Setup {
  Reading reading;
  std::vector<std::string> done;
};

bool advises(const Reading& reading, const db::Statement& statement) {
  return std::any_of(reading.notes.begin(), reading.notes.end(),
                     [&](const Note& note) { return note.remedy == statement.sql; });
}

// What it may not do stays among the notes, with what PostgreSQL said.
task<Setup> set_up(db::Pool& pool, bool apply) {
  Setup setup;
  setup.reading = co_await read_statements(pool);
  if (!apply) co_return setup;
  std::vector<Note> refused;
  for (const db::Statement& statement : kApplied) {
    if (!advises(setup.reading, statement)) continue;
    try {
      co_await pool.query(statement);
      setup.done.emplace_back(statement.sql);
    } catch (const db::DbError& error) {
      if (error.is_unavailable()) throw;
      refused.push_back({error.what(), "as a superuser: " + std::string(statement.sql)});
    }
  }
  setup.reading = co_await read_statements(pool);
  setup.reading.notes.insert(setup.reading.notes.end(), refused.begin(), refused.end());
  co_return setup;
}

void print_json(const Setup& setup, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("database", setup.reading.database);
  writer.field("ready", setup.reading.notes.empty());
  if (!setup.reading.extension_version.empty()) writer.field("pg_stat_statements", setup.reading.extension_version);
  writer.key("done");
  writer.begin_array();
  for (const std::string& sql : setup.done) writer.string(sql);
  writer.end_array();
  writer.key("missing");
  writer.begin_array();
  for (const Note& note : setup.reading.notes) {
    writer.begin_object();
    writer.field("what", note.what);
    writer.field("remedy", note.remedy);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

void print_text(const Setup& setup, std::ostream& out) {
  for (const std::string& sql : setup.done) out << "done: " << sql << "\n";
  for (const Note& note : setup.reading.notes)
    out << "missing: " << on_one_line(note.what) << "\n         " << on_one_line(note.remedy) << "\n";
  if (setup.reading.notes.empty())
    out << "nothing is missing: pg_stat_statements " << setup.reading.extension_version
        << " tells what runs in the database\n";
}

}  // namespace

int run_setup(const SetupOptions& options, std::ostream& out) {
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const Setup setup = reactor.block_on(set_up(pool, options.apply));
  if (options.json)
    print_json(setup, out);
  else
    print_text(setup, out);
  return setup.reading.notes.empty() ? 0 : 1;
}

}  // namespace cairn::tuner
