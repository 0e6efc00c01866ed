// The schema cairn_partitions: docs/formats/partitions.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "partitions/plan.h"

namespace cairn::partitions {

struct Conversion {
  int64_t id = 0;
  int64_t table_oid = 0;
  std::string schema = {};
  std::string table = {};
  PlanOptions options = {};
  std::string signature = {};  // MD5 of TableFacts::signature()
  std::string state = {};
  std::vector<std::string> last_key = {};
  std::vector<std::string> max_key = {};
  int64_t copied = 0;
  std::vector<std::string> after_swap = {};
  int64_t after_done = 0;
  std::string started_at = {};
  std::vector<std::string> key_tables = {};  // qualified, once they are made

  bool is_under_way() const { return state != "done" && state != "undone"; }
  bool is_swapped() const { return state == "swapped" || state == "done"; }
  std::string full_name() const { return qualified(schema, table); }
  std::string shown_name() const { return schema + "." + table; }
  std::string log() const { return "cairn_partitions.log_" + std::to_string(id); }
  std::string capture() const { return "cairn_partitions.capture_" + std::to_string(id); }
};

struct Managed {
  std::string schema = {};
  std::string table = {};
  Scheme scheme = {};
  std::string storage = {};
  std::string full_name() const { return qualified(schema, table); }
  std::string shown_name() const { return schema + "." + table; }
};

// A key table of a managed one.
struct ManagedKey {
  std::string table = {};  // qualified
  std::vector<std::string> columns = {};
};

// Whether it is there. Throws Error where it is of another format or of an owner whose statements must not be run.
task<bool> journal_exists(Session& session);
task<> make_journal(Session& session);

task<std::vector<Conversion>> conversions(Session& session);
// The one under way on the table, by its name.
task<std::optional<Conversion>> conversion_of(Session& session, const std::string& schema, const std::string& table);
// In the caller's transaction, as all that follow. Gives it its id.
task<> add_conversion(Session& session, Conversion& conversion, std::string signature);
task<> set_state(Session& session, Conversion& conversion, std::string state);
task<std::string> md5(Session& session, std::string text);

task<std::vector<Managed>> managed_tables(Session& session);
task<std::optional<Managed>> managed_table(Session& session, std::string table);
task<std::vector<ManagedKey>> keys_of(Session& session, const Managed& managed);

}  // namespace cairn::partitions
