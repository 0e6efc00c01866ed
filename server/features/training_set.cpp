#include "features/training_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "features/spine.h"
#include "tracking/api.h"

namespace cairn::features {
namespace {

using db::CopySession;
using db::Params;
using db::Rows;
using db::Statement;

CopySession::Texts texts(std::initializer_list<std::string> values) {
  CopySession::Texts all;
  for (const std::string& value : values) all.emplace_back(value);
  return all;
}

// What is wrong with the request, said so; the rest stays what it is.
[[noreturn]] void rethrow(const db::DbError& error) {
  const std::string& state = error.sqlstate();
  if (state == "42P07")
    throw Error(ErrorCode::kResourceConflict, "the table to make is there already: drop it, or give another name (" +
                                                  std::string(error.what()) + ")");
  if (state.starts_with("22") || state.starts_with("42") || state.starts_with("54") || state == "3F000")
    throw invalid("the training set cannot be made: " + std::string(error.what()));
  throw error;
}

std::vector<std::string> join_keys_of(const std::vector<const FeatureView*>& views) {
  std::vector<std::string> keys;
  for (const FeatureView* view : views)
    for (const Entity& entity : view->entities)
      if (std::ranges::find(keys, entity.join_key) == keys.end()) keys.push_back(entity.join_key);
  return keys;
}

void write_strings(json::Writer& out, const char* name, const std::vector<std::string>& values) {
  out.key(name);
  out.begin_array();
  for (const std::string& value : values) out.string(value);
  out.end_array();
}

// All that the set was made of but its spine and its history.
std::string specification_of(const TrainingSetRequest& request, const TrainingSetQuery& query,
                             const std::string& spine) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("spine");
  out.raw(spine);
  std::vector<std::string> features;
  for (const Reference& reference : query.references)
    features.push_back(reference.view->name + ":" + reference.feature->name);
  write_strings(out, "features", features);
  out.field("full_feature_names", request.full_names);
  out.field("late_too", request.point.late_too);
  out.field("known_by", request.point.known_by);
  out.key("columns");
  out.begin_array();
  for (const SpineColumn& column : query.columns) {
    out.begin_object();
    out.field("name", column.name);
    out.field("type", column.type);
    out.end_object();
  }
  out.end_array();
  out.key("feature_views");
  out.begin_array();
  for (const FeatureView* view : views_of(query.references)) out.raw(view_json(*view));
  out.end_array();
  out.end_object();
  return text;
}

std::string spine_json(const Spine& spine) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("query", spine.query);
  out.field("table", spine.table);
  if (spine.csv) out.field("csv", true);
  out.end_object();
  return text;
}

}  // namespace

struct TrainingSet::Hash {
  Hash() : context(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context, EVP_sha256(), nullptr); }
  ~Hash() { EVP_MD_CTX_free(context); }
  void update(std::string_view bytes) { EVP_DigestUpdate(context, bytes.data(), bytes.size()); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(context, digest, &length);
    return to_hex({reinterpret_cast<const char*>(digest), length});
  }
  EVP_MD_CTX* context;
};

TrainingSet::TrainingSet(std::unique_ptr<CopySession> session)
    : session_(std::move(session)), hash_(std::make_unique<Hash>()) {}
TrainingSet::~TrainingSet() = default;

// Before the snapshot is taken: a partition of the history may be giving its place to others, and a snapshot from
// before that would see neither.
constexpr const char* kLockHistory = "LOCK TABLE features.history IN ACCESS SHARE MODE";

// -- made --------------------------------------------------------------------------------------------------------

constexpr const char* kBegin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
constexpr const char* kSetting = "SELECT set_config($1, $2, true)";
// A bad time is found before anything is done.
constexpr const char* kKnownBy = "SELECT set_config($1, $2::timestamptz::text, true)";

task<> TrainingSet::begin(const TrainingSetRequest& request, Spine spine) {
  query_.references = request.feature_service ? references_of_service(*definitions_, *request.feature_service)
                                              : references_of(*definitions_, request.features);
  if (query_.references.empty()) throw invalid("name features or a feature_service");
  query_.late_too = request.point.late_too;
  query_.known_by = request.point.known_by.has_value();
  const std::string described = spine_json(spine);
  query_.columns = co_await stage_spine(*session_, spine, join_keys_of(views_of(query_.references)));
  for (const SpineColumn& column : query_.columns) query_.names.push_back(column.name);
  query_.names = result_names(std::move(query_.names), query_.references, request.full_names);
  try {
    co_await session_->query(check_keys_sql(query_, kStagedSpine));
    co_await session_->query(kBegin);
    co_await session_->query(kLockHistory);
    co_await read_months();
    if (query_.known_by) {
      CopySession::Texts bound = texts({kKnownBySetting, *request.point.known_by});
      co_await session_->query(kKnownBy, std::move(bound));
    }
    if (request.name) co_await keep(request, described);
    if (request.to_table) {
      for (const std::string& name : query_.names)
        if (name.size() > 63) throw invalid("a table's column has at most 63 bytes in its name: " + name);
      const Rows made = co_await session_->query("CREATE TABLE " + quote_table(*request.to_table) + " AS " +
                                                 training_table_sql(query_, kStagedSpine));
      report_.rows = made.affected();
    }
    if (!request.to_table || request.name) co_await begin_stream(kStagedSpine);
  } catch (const db::DbError& error) {
    rethrow(error);
  }
}

task<std::unique_ptr<TrainingSet>> TrainingSet::make(db::Pool& pool, TrainingSetRequest request, Spine spine) {
  DefinitionStore store(pool);
  auto definitions = co_await store.read();
  std::unique_ptr<TrainingSet> set(new TrainingSet(co_await CopySession::connect(pool.options().connection_string)));
  set->definitions_ = std::move(definitions);
  co_await set->begin(request, std::move(spine));
  co_return set;
}

task<> TrainingSet::read_months() {
  const Rows months = co_await session_->query(kMonths);
  if (months.empty()) co_return;
  query_.months = Months{months.text(0, 0), months.text(0, 1)};
  if (months.is_null(0, 2)) co_return;
  const Rows outside = co_await session_->query("SELECT EXISTS (SELECT FROM " + months.text(0, 2) + ")");
  query_.months->are_all = !outside.boolean(0, 0);
}

// Whoever makes one of the same name at the same time is waited for only shortly.
constexpr const char* kLockTimeout = "SET LOCAL lock_timeout = '1s'";
constexpr const char* kKeep =
    "INSERT INTO features.training_sets (name, specification, snapshot) VALUES ($1, $2::json, pg_current_snapshot())"
    " RETURNING training_set_id";
constexpr const char* kKeepRows =
    "INSERT INTO features.training_set_rows (training_set_id, number, at, columns)"
    " SELECT $1::bigint, number, at, columns FROM pg_temp.cairn_spine";

task<> TrainingSet::keep(const TrainingSetRequest& request, const std::string& spine) {
  name_ = *request.name;
  try {
    co_await session_->query(kLockTimeout);
    CopySession::Texts kept = texts({name_, specification_of(request, query_, spine)});
    const Rows id = co_await session_->query(kKeep, std::move(kept));
    kept_id_ = id.integer(0, 0);
    CopySession::Texts rows = texts({std::to_string(*kept_id_)});
    co_await session_->query(kKeepRows, std::move(rows));
  } catch (const db::DbError& error) {
    if (error.is_unique_violation() || error.is_lock_timeout())
      throw Error(ErrorCode::kResourceConflict,
                  "there is a training set " + name_ + " already: remove it, or give another name");
    throw;
  }
}

// -- made again --------------------------------------------------------------------------------------------------

constexpr const char* kBeginReadOnly = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
constexpr const char* kFind =
    "SELECT training_set_id, specification::text, snapshot::text, rows, bytes, sha256,"
    " to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')"
    " FROM features.training_sets WHERE name = $1";
constexpr const char* kHasView = "SELECT FROM features.feature_views WHERE view_id = $1::int";

Error not_again(const std::string& name, const std::string& why) {
  return Error(ErrorCode::kResourceConflict, "training set " + name + " cannot be made again: " + why);
}

task<> TrainingSet::begin_kept(std::string specification) {
  const json::Document document(specification);
  const json::Fields fields = json::root_fields(document);
  auto definitions = std::make_shared<Definitions>();
  for (const auto view : fields.find("feature_views")->get_array()) definitions->views.push_back(view_of(view));
  for (const auto column : fields.find("columns")->get_array())
    query_.columns.push_back(
        {std::string(column["name"].get_string().value()), std::string(column["type"].get_string().value())});
  definitions_ = std::move(definitions);
  query_.references = references_of(*definitions_, fields.strings("features"));
  query_.late_too = fields.boolean("late_too").value_or(false);
  query_.snapshot = true;
  for (const SpineColumn& column : query_.columns) query_.names.push_back(column.name);
  query_.names =
      result_names(std::move(query_.names), query_.references, fields.boolean("full_feature_names").value_or(false));
  if (const auto known_by = fields.string("known_by")) {
    query_.known_by = true;
    CopySession::Texts bound = texts({kKnownBySetting, *known_by});
    co_await session_->query(kKnownBy, std::move(bound));
  }
  for (const FeatureView& view : definitions_->views) {
    CopySession::Texts id = texts({std::to_string(view.id)});
    const Rows there = co_await session_->query(kHasView, std::move(id));
    if (there.empty()) throw not_again(name_, "feature view " + view.name + " was removed, and its history with it");
  }
}

task<std::unique_ptr<TrainingSet>> TrainingSet::again(db::Pool& pool, std::string name) {
  std::unique_ptr<TrainingSet> set(new TrainingSet(co_await CopySession::connect(pool.options().connection_string)));
  CopySession& session = *set->session_;
  co_await session.query(kBeginReadOnly);
  co_await session.query(kLockHistory);
  CopySession::Texts wanted = texts({name});
  const Rows kept = co_await session.query(kFind, std::move(wanted));
  if (kept.empty()) throw not_found("there is no training set " + name);
  set->name_ = name;
  set->expected_ = TrainingSetReport{kept.integer(0, 3), kept.integer(0, 4), kept.text(0, 5)};
  set->made_at_ = kept.text(0, 6);
  CopySession::Texts snapshot = texts({kSnapshotSetting, kept.text(0, 2)});
  co_await session.query(kSetting, std::move(snapshot));
  co_await set->begin_kept(kept.text(0, 1));
  co_await set->read_months();
  const std::string spine = fmt::format(
      "(SELECT number, at, columns FROM features.training_set_rows WHERE training_set_id = {}) r", kept.integer(0, 0));
  co_await set->begin_stream(spine);
  co_return set;
}

// -- streamed ----------------------------------------------------------------------------------------------------

namespace {

constexpr size_t kPiece = 64u << 10;
constexpr size_t kMostOfRow = 1u << 30;  // PostgreSQL's own bound

// The bytes of a session's COPY. The session must outlive it.
class CopiedBytes : public http::BodyStream {
 public:
  explicit CopiedBytes(CopySession& session) : session_(session) {}
  task<std::optional<std::string>> next() override { return session_.read(); }

 private:
  CopySession& session_;
};

}  // namespace

// `spine`: as training_table_sql() takes it.
task<> TrainingSet::begin_stream(std::string spine) {
  const PackedSet packed = packed_set_sql(query_, spine);
  csv_.emplace(query_, packed);
  rows_ = std::make_unique<BinaryReader>(std::make_unique<CopiedBytes>(*session_), kMostOfRow);
  co_await session_->begin_reading("COPY (" + packed.sql + ") TO STDOUT (FORMAT binary)");
}

std::string TrainingSet::counted(std::string piece) {
  report_.bytes += static_cast<int64_t>(piece.size());
  hash_->update(piece);
  return piece;
}

// Some lines of the CSV; none at the end.
task<std::string> TrainingSet::read_lines() {
  std::string lines;
  lines.reserve(kPiece + kPiece / 4);
  while (lines.size() < kPiece) {
    const Record* row = co_await rows_->next();
    if (row == nullptr) break;
    csv_->append(lines, *row);
  }
  co_return lines;
}

constexpr const char* kFinish =
    "UPDATE features.training_sets SET rows = $2::bigint, bytes = $3::bigint, sha256 = $4 WHERE training_set_id ="
    " $1::bigint";

task<> TrainingSet::end() {
  ended_ = true;
  if (rows_) {
    while (co_await session_->read()) {
    }
    report_.rows = session_->rows_read();
    report_.sha256 = hash_->hex();
  }
  if (expected_ && expected_->sha256 != report_.sha256)
    throw not_again(name_,
                    fmt::format("when it was made ({}) it had {} rows and the SHA-256 {}, now {} and {}; history "
                                "that it was made of was removed or changed since",
                                made_at_, expected_->rows, expected_->sha256, report_.rows, report_.sha256));
  if (kept_id_) {
    CopySession::Texts values =
        texts({std::to_string(*kept_id_), std::to_string(report_.rows), std::to_string(report_.bytes), report_.sha256});
    co_await session_->query(kFinish, std::move(values));
  }
  co_await session_->query("COMMIT");
}

task<std::optional<std::string>> TrainingSet::next() {
  if (ended_) co_return std::nullopt;
  if (rows_ && !began_) {
    began_ = true;
    std::string header;
    for (const std::string& name : query_.names) header += (header.empty() ? "" : ",") + csv_field(name);
    co_return counted(header + "\n");
  }
  try {
    std::string lines;
    if (rows_) lines = co_await read_lines();
    if (!lines.empty()) co_return counted(std::move(lines));
    co_await end();
  } catch (const db::DbError& error) {
    rethrow(error);
  }
  co_return std::nullopt;
}

task<TrainingSetReport> TrainingSet::finish() {
  for (;;) {
    const std::optional<std::string> piece = co_await next();
    if (!piece) break;
  }
  co_return report_;
}

// -- kept --------------------------------------------------------------------------------------------------------

namespace {

#define CAIRN_TRAINING_SET                                                                                           \
  "json_build_object('name', name, 'rows', rows, 'bytes', bytes, 'sha256', sha256, 'created_at', to_char(created_at" \
  " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'specification', specification)::text"

constexpr Statement kList{"list_training_sets",
                          "SELECT " CAIRN_TRAINING_SET " FROM features.training_sets ORDER BY created_at, name"};
constexpr Statement kShow{"show_training_set", "SELECT " CAIRN_TRAINING_SET
                                               ", sha256, rows, specification::text FROM features.training_sets"
                                               " WHERE name = $1"};
constexpr Statement kRemove{"remove_training_set", "DELETE FROM features.training_sets WHERE name = $1"};

// MLflow's have at most 36 characters.
constexpr size_t kDigest = 32;

task<Rows> require_set(db::Pool& pool, const std::string& name) {
  Rows rows = co_await pool.query(kShow, Params::of(name));
  if (rows.empty()) throw not_found("there is no training set " + name);
  co_return rows;
}

// The columns as MLflow writes a data set's.
std::string mlflow_schema(const std::string& specification) {
  const json::Document document(specification);
  const json::Fields fields = json::root_fields(document);
  Definitions definitions;
  for (const auto view : fields.find("feature_views")->get_array()) definitions.views.push_back(view_of(view));
  const auto references = references_of(definitions, fields.strings("features"));
  const bool full_names = fields.boolean("full_feature_names").value_or(false);
  std::vector<std::string> names, types;
  for (const auto column : fields.find("columns")->get_array()) {
    names.emplace_back(column["name"].get_string().value());
    types.emplace_back("string");
  }
  for (const Reference& reference : references) {
    const ValueType type = reference.feature->type;
    const Slots slots = slots_of(type);
    types.emplace_back(type == ValueType::kBool    ? "boolean"
                       : type == ValueType::kInt32 ? "integer"
                       : slots == Slots::kDoubles  ? "double"
                       : slots == Slots::kIntegers ? "long"
                                                   : "string");
  }
  names = result_names(std::move(names), references, full_names);
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("mlflow_colspec");
  out.begin_array();
  for (size_t i = 0; i < names.size(); ++i) {
    out.begin_object();
    out.field("type", types[i]);
    out.field("name", names[i]);
    out.field("required", false);
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

}  // namespace

task<std::string> list_training_sets(db::Pool& pool) {
  const Rows rows = co_await pool.query(kList);
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("training_sets");
  out.begin_array();
  for (int i = 0; i < rows.size(); ++i) out.raw(rows.text(i, 0));
  out.end_array();
  out.end_object();
  co_return text;
}

task<std::string> show_training_set(db::Pool& pool, std::string name) {
  const Rows rows = co_await require_set(pool, name);
  std::vector<std::string> runs = co_await tracking::runs_trained_on(pool, name, rows.text(0, 1).substr(0, kDigest));
  std::string text = rows.text(0, 0);
  text.erase(text.rfind('}'));
  std::string list;
  json::Writer out(list);
  out.begin_array();
  for (const std::string& run : runs) out.string(run);
  out.end_array();
  co_return text + ", \"runs\" : " + list + "}";
}

task<> log_training_set(db::Pool& pool, std::string name, std::string run_id) {
  const Rows rows = co_await require_set(pool, name);
  tracking::DatasetInput dataset;
  dataset.name = name;
  dataset.digest = rows.text(0, 1).substr(0, kDigest);
  dataset.source_type = "cairn_training_set";
  dataset.source = "{\"training_set\": " + json::quote(name) + ", \"sha256\": " + json::quote(rows.text(0, 1)) + "}";
  dataset.schema = mlflow_schema(rows.text(0, 3));
  dataset.profile = fmt::format("{{\"num_rows\": {}}}", rows.integer(0, 2));
  co_await tracking::log_training_dataset(pool, std::move(run_id), std::move(dataset));
}

task<> remove_training_set(db::Pool& pool, std::string name) {
  const Rows rows = co_await pool.query(kRemove, Params::of(name));
  if (rows.affected() == 0) throw not_found("there is no training set " + name);
}

}  // namespace cairn::features
