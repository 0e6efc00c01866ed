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
  // For people: "kept" where only the old table is left to be dropped.
  std::string shown_state() const {
    return state == "swapped" && after_done == static_cast<int64_t>(after_swap.size()) ? "kept" : state;
  }
  std::string full_name() const { return qualified(schema, table); }
  std::string shown_name() const { return schema + "." + table; }
  // Where the old table is while it is kept, and the new one once an undo has taken it out of its place.
  std::string kept_schema() const { return "cairn_kept_" + std::to_string(id); }
  std::string gone_schema() const { return "cairn_gone_" + std::to_string(id); }
  std::string kept() const { return qualified(kept_schema(), table); }
  std::string gone() const { return qualified(gone_schema(), table); }
  std::string log() const { return "cairn_partitions.log_" + std::to_string(id); }
  std::string capture() const { return "cairn_partitions.capture_" + std::to_string(id); }
};

// The old table of a conversion that is swapped, and what brings it back. Each list holds statements, in order.
struct Kept {
  std::vector<std::string> before = {};       // of the exchange back: what goes before the tables change places
  std::vector<std::string> after = {};        // what is made again then
  std::vector<std::string> validations = {};  // afterwards, one by one
  int64_t validated = 0;                      // so many of them are done
  bool returned = false;                      // it is back in its place
  std::string signature = {};                 // of the new table, once it is as it shall be; see signature_of()
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
// Also brings one of an older format up to date.
task<> make_journal(Session& session);

task<std::vector<Conversion>> conversions(Session& session);
// The one under way on the table, by its name.
task<std::optional<Conversion>> conversion_of(Session& session, const std::string& schema, const std::string& table);
// In the caller's transaction, as all that follow. Gives it its id.
task<> add_conversion(Session& session, Conversion& conversion, std::string signature);
task<> set_state(Session& session, Conversion& conversion, std::string state);
// Nothing: the old table was dropped, or is in its place still.
task<std::optional<Kept>> kept_of(Session& session, const Conversion& conversion);
// What a user may have changed about the new table since the exchange.
task<std::string> signature_of(Session& session, const Conversion& conversion);
task<std::string> md5(Session& session, std::string text);

task<std::vector<Managed>> managed_tables(Session& session);
task<std::optional<Managed>> managed_table(Session& session, std::string table);
task<std::vector<ManagedKey>> keys_of(Session& session, const Managed& managed);

}  // namespace cairn::partitions
