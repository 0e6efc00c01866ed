// DefinitionStore::apply(): what is declared beside what is there, one transaction.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "db/transaction.h"
#include "features/definitions.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;
using Strings = std::vector<std::string>;

constexpr size_t kMaxName = 256;
constexpr double kMaxTtl = 100 * 366 * 86400.0;
constexpr int64_t kMaxRollup = 366 * 86400;
constexpr int64_t kMaxVector = 16000;  // that the extension searches
const std::set<std::string> kMetrics = {"cosine", "inner_product", "l2"};
const std::set<std::string> kReserved = {"event_timestamp", "created"};

Error conflict(const std::string& message) { return Error(ErrorCode::kResourceConflict, message); }

std::string checked_name(const char* what, const std::string& name) {
  if (name.empty() || name.size() > kMaxName || name.find_first_of(":@\n") != std::string::npos)
    throw invalid(
        fmt::format("'{}' is no name for {}: it takes 1 to {} bytes without ':' and '@'", name, what, kMaxName));
  return name;
}

struct DeclaredFeature {
  std::string name;
  ValueType type;
  std::string description, tags;
  std::optional<int64_t> vector_length;  // of a vector
  std::optional<std::string> vector_search_metric;
};

struct DeclaredView {
  std::string name, description, tags;
  std::optional<std::string> push_source;
  double ttl_s = 0;
  int64_t rollup_s = 0;
  Strings entities;
  std::vector<DeclaredFeature> features;
};

DeclaredFeature declared_feature(const json::Fields& fields) {
  DeclaredFeature feature{checked_name("a feature", fields.required_string("name")),
                          value_type(fields.required_string("value_type")),
                          fields.string("description").value_or(""),
                          fields.raw("tags").value_or("{}"),
                          fields.integer("vector_length"),
                          fields.string("vector_search_metric")};
  if (kReserved.contains(feature.name))
    throw invalid("the feature " + feature.name + " has the name of a column of times: give it another");
  const bool vector = feature.type == ValueType::kVector;
  if (vector != feature.vector_length.has_value() ||
      (vector && (*feature.vector_length < 1 || *feature.vector_length > kMaxVector)))
    throw invalid(fmt::format("feature {}: a vector, and nothing else, has a vector_length between 1 and {}",
                              feature.name, kMaxVector));
  if (vector && !feature.vector_search_metric) feature.vector_search_metric = "cosine";
  if (feature.vector_search_metric && (!vector || !kMetrics.contains(*feature.vector_search_metric)))
    throw invalid(
        fmt::format("feature {}: the vector_search_metric of a vector is {}", feature.name, fmt::join(kMetrics, ", ")));
  return feature;
}

DeclaredView declared_view(const json::Fields& fields) {
  DeclaredView view;
  view.name = checked_name("a feature view", fields.required_string("name"));
  view.description = fields.string("description").value_or("");
  view.tags = fields.raw("tags").value_or("{}");
  view.push_source = fields.string("push_source");
  view.ttl_s = fields.number("ttl_s").value_or(0);
  view.rollup_s = fields.integer("rollup_s").value_or(0);
  view.entities = fields.strings("entities");
  if (!(view.ttl_s >= 0 && view.ttl_s <= kMaxTtl))
    throw invalid(fmt::format("the ttl_s of feature view {} must be between 0 and {} seconds", view.name, kMaxTtl));
  if (view.rollup_s < 0 || view.rollup_s > kMaxRollup)
    throw invalid(
        fmt::format("the rollup_s of feature view {} must be between 0 and {} whole seconds", view.name, kMaxRollup));
  if (view.entities.empty()) throw invalid("feature view " + view.name + " names no entities");
  std::set<std::string> names;
  for (const json::Fields& declared : fields.objects("features")) {
    DeclaredFeature feature = declared_feature(declared);
    if (!names.insert(feature.name).second)
      throw invalid("feature view " + view.name + " names the feature " + feature.name + " twice");
    view.features.push_back(std::move(feature));
  }
  if (view.features.empty()) throw invalid("feature view " + view.name + " names no features");
  return view;
}

class Application {
 public:
  Application(Transaction& transaction, const Definitions& before) : transaction_(transaction), before_(before) {}

  task<> entity(json::Fields fields);
  task<> view(DeclaredView declared);
  task<> service(json::Fields fields);
  const Strings& changes() const { return changes_; }

 private:
  task<> new_view(const DeclaredView& declared);
  task<> changed_view(const DeclaredView& declared, const FeatureView& view);
  task<> features(int64_t view_id, const DeclaredView& declared, const FeatureView* view);

  Transaction& transaction_;
  const Definitions& before_;
  Strings changes_;
};

constexpr Statement kEntity{
    "apply_entity",
    "INSERT INTO features.entities AS e (name, join_key, value_type, description, tags) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (name) DO UPDATE SET description = excluded.description, tags = excluded.tags"
    " WHERE (e.description, e.tags) IS DISTINCT FROM (excluded.description, excluded.tags)"
    " RETURNING xmax = 0"};
constexpr Statement kKnownEntity{"known_entity", "SELECT join_key, value_type FROM features.entities WHERE name = $1"};
constexpr Statement kEntityOfJoinKey{"entity_of_join_key",
                                     "SELECT name FROM features.entities WHERE join_key = $1 AND name <> $2"};

task<> Application::entity(json::Fields fields) {
  const std::string name = checked_name("an entity", fields.required_string("name"));
  const std::string join_key = checked_name("a join key", fields.string("join_key").value_or(name));
  const std::string type = fields.string("value_type").value_or("string");
  if (!is_key_type(type))
    throw invalid("entity " + name + ": a join key is of type string, int32, int64 or uuid, not " + type);
  const Rows known = co_await transaction_.query(kKnownEntity, Params::of(name));
  if (!known.empty() && (known.text(0, 0) != join_key || known.text(0, 1) != type))
    throw conflict(
        fmt::format("entity {} has the join key {} of type {}: stored values go by it, so it cannot change; "
                    "declare another entity",
                    name, known.text(0, 0), known.text(0, 1)));
  const Rows other = co_await transaction_.query(kEntityOfJoinKey, Params::of(join_key, name));
  if (!other.empty())
    throw conflict(
        fmt::format("entity {} has the join key {}, and so has entity {}: a join key belongs to one entity; use "
                    "{} in its place, or give it a join key of its own",
                    name, join_key, other.text(0, 0), other.text(0, 0)));
  Params params = Params::of(name, join_key, type, fields.string("description").value_or(""),
                             db::Jsonb{fields.raw("tags").value_or("{}")});
  const Rows done = co_await transaction_.query(kEntity, std::move(params));
  if (!done.empty()) changes_.push_back((done.boolean(0, 0) ? "+ entity " : "~ entity ") + name);
}

// Writers that do not know of the rollup end first, and those that come now will see it (features.mark_rollups).
constexpr Statement kPatience{"rollup_patience", "SET LOCAL lock_timeout = '10s'"};
constexpr Statement kWithoutWriters{"rollup_without_writers",
                                    "LOCK TABLE ONLY features.history IN SHARE ROW EXCLUSIVE MODE"};

task<> keep_writers_out(Transaction& transaction) {
  try {
    co_await transaction.query(kPatience);
    co_await transaction.query(kWithoutWriters);
  } catch (const db::DbError& error) {
    if (!error.is_lock_timeout()) throw;
    throw conflict("a transaction that writes features has been open for 10 s: declare the rollup when it has ended");
  }
}

constexpr Statement kKeys{"apply_view_keys",
                          "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT name FROM features.entities)"};
constexpr Statement kNewView{
    "apply_new_view",
    "WITH made AS (INSERT INTO features.feature_views (name, ttl, push_source, description, tags, entity_type,"
    " rollup_s, rolled_up) VALUES ($1, make_interval(secs => $2), $3, $4, $5, CASE cardinality($6::text[])"
    " WHEN 1 THEN $6[1] ELSE to_jsonb($6)::text END, nullif($7::bigint, 0), $7 <> 0) RETURNING view_id),"
    " keyed AS (INSERT INTO features.view_entities (view_id, ordinal, entity)"
    " SELECT view_id, ordinal, entity FROM made, unnest($6::text[]) WITH ORDINALITY k (entity, ordinal))"
    " SELECT view_id FROM made"};

task<> Application::new_view(const DeclaredView& declared) {
  Params params = Params::of(declared.name, declared.ttl_s, declared.push_source, declared.description,
                             db::Jsonb{declared.tags}, declared.entities, declared.rollup_s);
  if (declared.rollup_s > 0) co_await keep_writers_out(transaction_);
  const Rows made = co_await transaction_.query(kNewView, std::move(params));
  changes_.push_back("+ feature view " + declared.name);
  co_await features(made.integer(0, 0), declared, nullptr);
}

constexpr Statement kChangedView{
    "apply_changed_view",
    "UPDATE features.feature_views SET ttl = make_interval(secs => $2), push_source = $3, description = $4, tags = $5,"
    " rollup_s = nullif($6::bigint, 0), rolled_up = CASE WHEN coalesce(rollup_s, 0) = $6 THEN rolled_up ELSE $6 = 0 END"
    " WHERE view_id = $1 AND (ttl, push_source, description, tags, coalesce(rollup_s, 0)) IS DISTINCT FROM"
    " (make_interval(secs => $2), $3, $4, $5, $6)"};
task<> Application::changed_view(const DeclaredView& declared, const FeatureView& view) {
  Strings entities;
  for (const Entity& entity : view.entities) entities.push_back(entity.name);
  if (entities != declared.entities)
    throw conflict("feature view " + view.name +
                   " has other entities: stored values go by them, so they cannot change; "
                   "declare another feature view");
  const bool rollup = declared.rollup_s != view.rollup_s;
  if (rollup && declared.rollup_s > 0) co_await keep_writers_out(transaction_);
  Params params = Params::of(int64_t{view.id}, declared.ttl_s, declared.push_source, declared.description,
                             db::Jsonb{declared.tags}, declared.rollup_s);
  const Rows done = co_await transaction_.query(kChangedView, std::move(params));
  if (done.affected() > 0)
    changes_.push_back("~ feature view " + view.name +
                       (rollup ? fmt::format(", rollup_s: {}", declared.rollup_s) : ""));
  co_await features(view.id, declared, &view);
}

constexpr Statement kRemoveFeatures{
    "apply_remove_features",
    "UPDATE features.view_features SET removed = true WHERE view_id = $1 AND NOT removed AND NOT name = ANY($2)"};
constexpr Statement kFeature{"apply_feature",
                             "WITH changed AS (UPDATE features.view_features f SET ordinal = $2, description = $6, "
                             "tags = $7, vector_search_metric = $9"
                             " WHERE view_id = $1 AND name = $3 AND NOT removed RETURNING 1)"
                             " INSERT INTO features.view_features (view_id, ordinal, name, value_type, slots, slot, "
                             "description, tags, vector_length, "
                             "vector_search_metric) SELECT $1, $2, $3, $4, $5, coalesce((SELECT max(slot) FROM "
                             "features.view_features WHERE view_id = $1 AND slots = "
                             "$5), 0)"
                             " + 1, $6, $7, $8::bigint::int, $9 WHERE NOT EXISTS (SELECT FROM changed)"};

task<> Application::features(int64_t view_id, const DeclaredView& declared, const FeatureView* view) {
  Strings names;
  for (const DeclaredFeature& feature : declared.features) names.push_back(feature.name);
  if (view != nullptr) {
    for (const Feature& feature : view->features)
      if (std::ranges::find(names, feature.name) == names.end())
        changes_.push_back("- feature " + view->name + ":" + feature.name);
    co_await transaction_.query(kRemoveFeatures, Params::of(view_id, names));
  }
  for (size_t i = 0; i < declared.features.size(); ++i) {
    const DeclaredFeature& feature = declared.features[i];
    const Feature* known = view == nullptr ? nullptr : view->find(feature.name);
    if (known != nullptr && known->type != feature.type)
      throw conflict(
          fmt::format("feature {}:{} is of type {}: stored values are, so it cannot change; give the new one "
                      "another name",
                      declared.name, feature.name, type_name(known->type)));
    if (known != nullptr && known->vector_length != feature.vector_length.value_or(0))
      throw conflict(
          fmt::format("feature {}:{} is a vector of {} numbers: stored values are, so that cannot change; "
                      "give the new one another name",
                      declared.name, feature.name, known->vector_length));
    Params params = Params::of(view_id, static_cast<int64_t>(i), feature.name, type_name(feature.type),
                               slots_name(slots_of(feature.type)), feature.description, db::Jsonb{feature.tags},
                               feature.vector_length, feature.vector_search_metric);
    co_await transaction_.query(kFeature, std::move(params));
    if (known == nullptr && view != nullptr) changes_.push_back("+ feature " + declared.name + ":" + feature.name);
  }
}

task<> Application::view(DeclaredView declared) {
  const Rows unknown = co_await transaction_.query(kKeys, Params::of(declared.entities));
  if (!unknown.empty())
    throw not_found("EntityNotFoundException: Entity " + unknown.text(0, 0) + " of feature view " + declared.name +
                    " does not exist: declare it, too");
  const FeatureView* view = before_.find(declared.name);
  if (view == nullptr)
    co_await new_view(declared);
  else
    co_await changed_view(declared, *view);
}

constexpr Statement kService{
    "apply_service",
    "INSERT INTO features.services AS s (name, description, tags) VALUES ($1, $2, $3)"
    " ON CONFLICT (name) DO UPDATE SET description = excluded.description, tags = excluded.tags RETURNING xmax = 0"};
constexpr Statement kServiceFeatures{"apply_service_features",
                                     "WITH gone AS (DELETE FROM features.service_features WHERE service = $1)"
                                     " SELECT r.view || ':' || coalesce(r.feature, ''), f.feature_id::text"
                                     " FROM unnest($2::text[], $3::text[]) WITH ORDINALITY r (view, feature, ordinal)"
                                     " LEFT JOIN features.feature_views v ON v.name = r.view"
                                     " LEFT JOIN features.view_features f ON f.view_id = v.view_id AND NOT f.removed "
                                     "AND (r.feature IS NULL OR f.name = r.feature)"
                                     " ORDER BY r.ordinal, f.ordinal"};
constexpr Statement kAddServiceFeatures{
    "apply_add_service_features",
    "INSERT INTO features.service_features (service, ordinal, feature_id)"
    " SELECT $1, min(ordinal), id::uuid FROM unnest($2::text[]) WITH ORDINALITY r (id, ordinal) GROUP BY id"};

task<> Application::service(json::Fields fields) {
  const std::string name = checked_name("a feature service", fields.required_string("name"));
  Strings views;
  std::vector<std::optional<std::string>> wanted;
  for (const std::string& reference : fields.strings("features")) {
    const size_t colon = reference.find(':');
    views.push_back(reference.substr(0, colon));
    wanted.push_back(colon == std::string::npos ? std::nullopt : std::optional(reference.substr(colon + 1)));
  }
  if (views.empty()) throw invalid("feature service " + name + " names no features");
  Params params =
      Params::of(name, fields.string("description").value_or(""), db::Jsonb{fields.raw("tags").value_or("{}")});
  const Rows done = co_await transaction_.query(kService, std::move(params));
  Params references;
  references.add(name).add(views).add(wanted);
  const Rows found = co_await transaction_.query(kServiceFeatures, std::move(references));
  Strings ids, features;
  for (int i = 0; i < found.size(); ++i) {
    if (found.is_null(i, 1))
      throw not_found("FeatureNotFoundException: " + found.text(i, 0) + " of feature service " + name +
                      " does not exist");
    ids.push_back(found.text(i, 1));
  }
  co_await transaction_.query(kAddServiceFeatures, Params::of(name, ids));
  if (done.boolean(0, 0)) changes_.push_back("+ feature service " + name);
}

constexpr Statement kLock{"lock_feature_definitions", "SELECT version FROM features.definitions FOR UPDATE"};
constexpr Statement kNewVersion{"new_feature_definitions", "UPDATE features.definitions SET version = version + 1"};

std::string report(const Strings& changes, bool applied) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("applied", applied);
  out.key("changes");
  out.begin_array();
  for (const std::string& change : changes) out.string(change);
  out.end_array();
  out.end_object();
  return text;
}

}  // namespace

task<std::string> DefinitionStore::apply(json::Fields declared, bool dry_run) {
  std::vector<DeclaredView> views;  // checked before anything is asked of the database
  for (const json::Fields& fields : declared.objects("feature_views")) views.push_back(declared_view(fields));
  auto body = [&](Transaction& transaction) -> task<Strings> {
    co_await transaction.query(kLock);
    const auto before = co_await read_in(transaction);
    Application application(transaction, *before);
    for (const json::Fields& fields : declared.objects("entities")) co_await application.entity(fields);
    for (const DeclaredView& view : views) co_await application.view(view);
    for (const json::Fields& fields : declared.objects("feature_services")) co_await application.service(fields);
    co_await transaction.query(kNewVersion);
    co_return application.changes();
  };
  Strings changes;
  if (dry_run) {
    Transaction transaction(co_await pool_.acquire(), db::Isolation::kReadCommitted);  // never committed
    changes = co_await body(transaction);
  } else {
    changes = co_await db::with_transaction(pool_, db::Isolation::kReadCommitted, body);
    definitions_ = nullptr;
  }
  co_return report(changes, !dry_run);
}

constexpr Statement kRemoveView{"remove_feature_view",
                                "DELETE FROM features.feature_views WHERE name = $1 RETURNING view_id"};
// Whoever rolls up has ended then.
constexpr Statement kWithoutRollUp{"remove_feature_view_alone",
                                   "SELECT pg_advisory_xact_lock(hashtextextended('features.rollup', 0))"};
constexpr Statement kRemoveRollup{"remove_feature_rollup",
                                  "WITH marks AS (DELETE FROM features.rollup_marks WHERE view_id = $1)"
                                  " DELETE FROM features.rollups WHERE view_id = $1"};
constexpr Statement kRemoveHistory{"remove_feature_history", "DELETE FROM features.history WHERE view_id = $1"};

task<> DefinitionStore::remove_view(std::string name) {
  auto body = [&](Transaction& transaction) -> task<> {
    co_await transaction.query(kLock);
    co_await transaction.query(kWithoutRollUp);
    const Rows gone = co_await transaction.query(kRemoveView, Params::of(name));
    if (gone.empty()) throw not_found("FeatureViewNotFoundException: Feature view " + name + " does not exist");
    co_await transaction.query(kRemoveRollup, Params::of(gone.integer(0, 0)));
    co_await transaction.query(kRemoveHistory, Params::of(gone.integer(0, 0)));
    co_await transaction.query(kNewVersion);
  };
  co_await db::with_transaction(pool_, db::Isolation::kReadCommitted, body);
  definitions_ = nullptr;
}

}  // namespace cairn::features
