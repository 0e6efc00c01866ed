// The rules. Thresholds of VACUUM and ANALYZE are autovacuum's own, with the table's own settings; those of bloat are
// the usual ones: a fifth of the rows dead, leaves less than 70 % full.
#include "maintain/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/clock.h"
#include "base/error.h"
#include "db/statement.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using triage::shown_age;
using triage::shown_bytes;

constexpr double kMiB = 1 << 20;
constexpr double kPage = 8192;

constexpr double kDeadShare = 0.2;
constexpr double kDeadRowsMin = 1000;
constexpr double kLeafDensityMin = 70;
constexpr double kLeafDensityAgain = 50;  // of one that was rebuilt lately: at random keys it stays at about 70
constexpr double kUsualFillFactor = 90;
constexpr double kEmptyPagesMax = 30;
constexpr double kEstimatedWaste = 0.5;
constexpr int64_t kEstimatedBytesMin = 8 << 20;
constexpr double kFreePercentMax = 50;
constexpr int64_t kRewriteBytesMin = 8 << 20;
constexpr double kFreezeShare = 0.9;  // of the age at which autovacuum does it whatever happens
constexpr double kDay_s = 86'400;

constexpr std::pair<Kind, std::string_view> kNames[] = {{Kind::kFreeze, "freeze"},
                                                        {Kind::kDropInvalid, "drop-invalid"},
                                                        {Kind::kDropDuplicate, "drop-duplicate"},
                                                        {Kind::kDropCovered, "drop-covered"},
                                                        {Kind::kDropUnused, "drop-unused"},
                                                        {Kind::kVacuum, "vacuum"},
                                                        {Kind::kAnalyze, "analyze"},
                                                        {Kind::kReindex, "reindex"},
                                                        {Kind::kVacuumFull, "vacuum-full"}};

std::string qualified(const tuner::TableName& name) {
  return db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name);
}

double option(const TableState& table, const char* name, double otherwise) {
  const auto found = table.options.find(name);
  return found == table.options.end() ? otherwise : found->second;
}

double percent(double part, double whole) { return whole <= 0 ? 0 : 100 * part / whole; }

std::string last(const char* what, const std::optional<double>& ago_s) {
  return ago_s ? fmt::format("{} {} ago", what, shown_age(*ago_s)) : fmt::format("never {}", what);
}

class Planner {
 public:
  Planner(const Facts& facts, const PlanOptions& options) : facts_(facts), options_(options) {}

  Plan make() {
    for (const TableState& table : facts_.tables) look_at(table);
    for (const tuner::Table& table : facts_.catalog.tables)
      for (const tuner::Index& index : table.indexes) look_at(table, index);
    drops();
    std::stable_sort(plan_.actions.begin(), plan_.actions.end(), [](const Action& a, const Action& b) {
      return std::tuple(a.kind, -a.gain_bytes, -a.bytes) < std::tuple(b.kind, -b.gain_bytes, -b.bytes);
    });
    plan_.taken_at_ms = now_ms();
    plan_.freeze_max_age = facts_.settings.freeze_max_age;
    plan_.notes.insert(plan_.notes.begin(), facts_.notes.begin(), facts_.notes.end());
    if (!facts_.counts)
      plan_.notes.emplace_back("track_counts is off: nothing tells which tables need VACUUM or ANALYZE");
    if (!facts_.settings.on) plan_.notes.emplace_back("autovacuum is off: tables bloat between two runs of this");
    return std::move(plan_);
  }

 private:
  bool wanted(Kind kind) const {
    return options_.kinds.empty() ||
           std::find(options_.kinds.begin(), options_.kinds.end(), kind) != options_.kinds.end();
  }

  void add(Action action) {
    if (wanted(action.kind)) plan_.actions.push_back(std::move(action));
  }

  Action of_table(Kind kind, const TableState& table, const char* command, std::string reason) const {
    const std::string name = qualified(table.name);
    return {.kind = kind,
            .oid = table.oid,
            .table_oid = table.oid,
            .table = table.name,
            .object = name,
            .statement = std::string(command) + " " + name,
            .reason = std::move(reason),
            .bytes = table.bytes};
  }

  void look_at(const TableState& table) {
    if (table.free_percent) ++plan_.measured;
    if (table.kind != 'p' && table.age > plan_.age) {
      plan_.age = table.age;
      plan_.oldest_table = qualified(table.name);
    }
    const std::string analyze = why_analyze(table);
    if (table.kind != 'p') {
      const std::string freeze = why_freeze(table), vacuum = freeze.empty() ? why_vacuum(table) : "";
      if (!table.may_vacuum && !(freeze + vacuum + analyze).empty()) {
        plan_.notes.push_back(qualified(table.name) + " is not this role's, and only its owner may look after it");
        return;
      }
      const bool both = table.changed > 0 || !analyze.empty();
      if (!freeze.empty())
        add(of_table(Kind::kFreeze, table, both ? "VACUUM (FREEZE, ANALYZE)" : "VACUUM (FREEZE)", freeze));
      if (!vacuum.empty())
        add(of_table(Kind::kVacuum, table, both ? "VACUUM (ANALYZE)" : "VACUUM",
                     vacuum + (analyze.empty() ? "" : "; " + analyze)));
      full(table);
      const bool done = (!freeze.empty() && wanted(Kind::kFreeze)) || (!vacuum.empty() && wanted(Kind::kVacuum));
      if (done) return;
    }
    if (!analyze.empty() && table.may_vacuum) add(of_table(Kind::kAnalyze, table, "ANALYZE", analyze));
  }

  std::string why_freeze(const TableState& table) const {
    const double most = kFreezeShare * static_cast<double>(facts_.settings.freeze_max_age);
    if (static_cast<double>(table.age) > most)
      return fmt::format("its oldest transaction is {} old; autovacuum_freeze_max_age is {}", table.age,
                         facts_.settings.freeze_max_age);
    if (static_cast<double>(table.multixact_age) >
        kFreezeShare * static_cast<double>(facts_.settings.multixact_freeze_max_age))
      return fmt::format("its oldest multixact is {} old; autovacuum_multixact_freeze_max_age is {}",
                         table.multixact_age, facts_.settings.multixact_freeze_max_age);
    return "";
  }

  std::string why_vacuum(const TableState& table) const {
    const AutovacuumSettings& usual = facts_.settings;
    const double rows = std::max(table.rows, 0.0), all = table.live + table.dead;
    const double dead_max = option(table, "autovacuum_vacuum_threshold", usual.vacuum_threshold) +
                            option(table, "autovacuum_vacuum_scale_factor", usual.vacuum_scale) * rows;
    const std::string since = last("vacuumed", table.vacuumed_s);
    if (table.dead > dead_max || (table.dead >= kDeadRowsMin && table.dead > kDeadShare * all))
      return fmt::format("{:.0f} of {:.0f} rows are dead ({:.0f} %); {}", table.dead, all, percent(table.dead, all),
                         since);
    if (table.dead_percent.value_or(0) > 100 * kDeadShare && table.bytes >= kMiB)
      return fmt::format("{:.0f} % of it are dead rows; {}", *table.dead_percent, since);
    const double threshold = option(table, "autovacuum_vacuum_insert_threshold", usual.insert_threshold);
    const double inserted_max =
        threshold + option(table, "autovacuum_vacuum_insert_scale_factor", usual.insert_scale) * rows;
    if (threshold >= 0 && table.inserted > inserted_max)
      return fmt::format(
          "{:.0f} rows were inserted since it was vacuumed: index-only scans cannot skip the table there; {}",
          table.inserted, since);
    return "";
  }

  std::string why_analyze(const TableState& table) const {
    if (table.kind == 'p') {
      // Autovacuum never does it, though joins are planned by it.
      if (!table.partition_analyzed_s && table.analyzed_s) return "";
      if (!table.analyzed_s && table.live + std::max(table.rows, 0.0) + (table.partition_analyzed_s ? 1 : 0) > 0)
        return "a partitioned table, never analyzed: autovacuum looks after its partitions only";
      if (table.analyzed_s && table.partition_analyzed_s && *table.analyzed_s > *table.partition_analyzed_s + kDay_s)
        return fmt::format("a partitioned table, {}; a partition {} ago", last("analyzed", table.analyzed_s),
                           shown_age(*table.partition_analyzed_s));
      return "";
    }
    if (!table.analyzed_s && table.live > 0 && table.rows <= 0) return "it was never analyzed: the planner guesses";
    const double most =
        option(table, "autovacuum_analyze_threshold", facts_.settings.analyze_threshold) +
        option(table, "autovacuum_analyze_scale_factor", facts_.settings.analyze_scale) * std::max(table.rows, 0.0);
    if (table.changed > most)
      return fmt::format("{:.0f} rows changed since it was analyzed; {}", table.changed,
                         last("analyzed", table.analyzed_s));
    return "";
  }

  void full(const TableState& table) {
    if (table.free_percent.value_or(0) <= kFreePercentMax || table.bytes < kRewriteBytesMin) return;
    Action action = of_table(
        Kind::kVacuumFull, table, "VACUUM FULL",
        fmt::format(
            "{:.0f} % of its {} are free: VACUUM gives that to new rows, not to the disk. By hand, in a window: nobody "
            "can read or write it meanwhile (pg_repack can do it with the table in use)",
            *table.free_percent, shown_bytes(static_cast<double>(table.bytes))));
    action.gain_bytes = static_cast<int64_t>(static_cast<double>(table.bytes) * *table.free_percent / 100);
    add(std::move(action));
  }

  void look_at(const tuner::Table& table, const tuner::Index& index) {
    const auto found = facts_.indexes.find(index.oid);
    if (found == facts_.indexes.end() || !index.valid || table.kind == 'p') return;
    const IndexState& state = found->second;
    double share = 0;  // of it that would be won
    std::string why;
    if (state.leaf_density) {
      ++plan_.measured;
      share = wasted(index, state, why);
    } else if (const auto size = new_size(index, table)) {
      ++plan_.estimated;
      share = 1 - static_cast<double>(*size) / static_cast<double>(std::max<int64_t>(1, index.bytes));
      if (share < kEstimatedWaste || index.bytes < kEstimatedBytesMin || state.rebuilt_lately) return;
      why = fmt::format("about {:.0f} % of its {} are wasted, by an estimate from the statistics", 100 * share,
                        shown_bytes(static_cast<double>(index.bytes)));
    }
    if (why.empty()) return;
    const std::string name = db::quote_identifier(table.name.schema) + "." + db::quote_identifier(index.name);
    if (!state.may_rebuild) {
      plan_.notes.push_back(name + " is bloated, and only its owner may rebuild it");
      return;
    }
    add({.kind = Kind::kReindex,
         .oid = index.oid,
         .table_oid = table.oid,
         .table = table.name,
         .object = name,
         .statement = "REINDEX INDEX CONCURRENTLY " + name,
         .reason = why,
         .bytes = index.bytes,
         .gain_bytes = static_cast<int64_t>(share * static_cast<double>(index.bytes))});
  }

  static double wasted(const tuner::Index& index, const IndexState& state, std::string& why) {
    double fill = kUsualFillFactor;
    const size_t at = index.definition.options.find("fillfactor");
    if (at != std::string::npos) {
      const size_t digits = index.definition.options.find_first_of("0123456789", at);
      if (digits != std::string::npos) fill = std::atof(index.definition.options.c_str() + digits);
    }
    const double density = *state.leaf_density, empty = state.empty_percent.value_or(0);
    const double least = (state.rebuilt_lately ? kLeafDensityAgain : kLeafDensityMin) * fill / kUsualFillFactor;
    if (density >= least && empty <= kEmptyPagesMax) return 0;
    why = fmt::format("its leaves are {:.0f} % full, {:.0f} % of its pages are empty (of {})", density, empty,
                      shown_bytes(static_cast<double>(index.bytes)));
    return std::clamp(1 - (1 - empty / 100) * density / fill, 0.0, 1.0);
  }

  void drops() {
    for (tuner::Drop& drop : tuner::propose_drops(facts_.catalog)) {
      const tuner::Table* table = facts_.catalog.find(drop.table.schema, drop.table.name);
      if (table == nullptr || std::none_of(facts_.tables.begin(), facts_.tables.end(),
                                           [&](const TableState& state) { return state.oid == table->oid; }))
        continue;
      const Kind kind = drop.kind == tuner::DropKind::kInvalid     ? Kind::kDropInvalid
                        : drop.kind == tuner::DropKind::kDuplicate ? Kind::kDropDuplicate
                        : drop.kind == tuner::DropKind::kCovered   ? Kind::kDropCovered
                                                                   : Kind::kDropUnused;
      add({.kind = kind,
           .oid = drop.oid,
           .table_oid = table->oid,
           .table = drop.table,
           .object = db::quote_identifier(drop.table.schema) + "." + db::quote_identifier(drop.index),
           .statement = drop.statement,
           .undo = kind == Kind::kDropInvalid ? "" : drop.undo,
           .reason = drop.reason,
           .bytes = drop.bytes,
           .gain_bytes = drop.bytes});
    }
  }

  const Facts& facts_;
  const PlanOptions& options_;
  Plan plan_;
};

}  // namespace

std::string_view kind_name(Kind kind) {
  return std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& one) { return one.first == kind; })->second;
}

Kind kind_of(const std::string& name) {
  std::string all;
  for (const auto& [kind, known] : kNames) {
    if (known == name) return kind;
    all += (all.empty() ? "" : ", ") + std::string(known);
  }
  throw invalid("'" + name + "' is no kind of maintenance: there are " + all);
}

bool is_usual(Kind kind) {
  return kind == Kind::kFreeze || kind == Kind::kDropInvalid || kind == Kind::kVacuum || kind == Kind::kAnalyze ||
         kind == Kind::kReindex;
}

std::optional<int64_t> new_size(const tuner::Index& index, const tuner::Table& table) {
  constexpr double kTuple = 12;     // header and line pointer
  constexpr double kUsable = 8152;  // of a page
  constexpr double kFilled = 0.9;
  const tuner::IndexDefinition& definition = index.definition;
  // Of a partial index it is not known how many rows it has.
  if (definition.method != "btree" || !definition.predicate.empty() || table.rows <= 0) return std::nullopt;
  double width = 0;
  const auto add = [&](const std::string& name) {
    const tuner::Column* column = table.column(name);
    if (column == nullptr || !column->has_statistics) return false;
    width += (1 - column->null_fraction) * column->width;
    return true;
  };
  for (const tuner::IndexKey& key : definition.keys)
    if (key.is_expression || !add(key.text)) return std::nullopt;
  for (const std::string& column : definition.include)
    if (!add(column)) return std::nullopt;
  const double tuple = kTuple + std::ceil(width / 8) * 8;
  const double bytes = table.rows * tuple * tuner::deduplicated_share(definition, table) / kFilled * kPage / kUsable;
  return static_cast<int64_t>(bytes + 2 * kPage);
}

Plan make_plan(const Facts& facts, const PlanOptions& options) { return Planner(facts, options).make(); }

}  // namespace cairn::maintain
