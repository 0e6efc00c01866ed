#include "features/bulk_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/reactor.h"
#include "db/copy.h"
#include "features/copy_text.h"
#include "features/records.h"
#include "features/values.h"
#include "features/write_sql.h"

namespace cairn::features {
namespace {

using db::CopySession;
using db::Rows;

constexpr size_t kPiece = 256u << 10;
constexpr int kAttempts = 5;
constexpr int64_t kMicrosTo2000 = 946'684'800'000'000;  // since 1970: PostgreSQL counts from 2000

// -- encoded -----------------------------------------------------------------------------------------------------

// Records of a stream as rows of the staging table.
class RowEncoder {
 public:
  RowEncoder(const FeatureView& view, std::vector<std::string> columns, bool binary);
  // Throws Error(kInvalidParameterValue).
  void encode(const Record& record, const std::string& place, CopyText& out);
  int64_t rows() const { return rows_; }

 private:
  struct Field {
    const Feature* feature;
    size_t column;
  };
  size_t require_column(const std::string& name, const char* what) const;
  std::string key_of(const Record& record) const;
  std::string element_of(const Feature& feature, std::string_view bytes) const;
  void put_time(const Record& record, std::optional<size_t> column, CopyText& out) const;

  const FeatureView& view_;
  const std::vector<std::string> columns_;
  const bool binary_;
  std::vector<size_t> keys_;
  std::vector<Field> fields_;
  std::optional<size_t> event_time_, created_;
  std::array<std::vector<std::string>, 3> elements_;  // by Slots; reused
  int64_t rows_ = 0;
};

RowEncoder::RowEncoder(const FeatureView& view, std::vector<std::string> columns, bool binary)
    : view_(view), columns_(std::move(columns)), binary_(binary) {
  for (auto name = columns_.begin(); name != columns_.end(); ++name)
    if (std::find(columns_.begin(), name, *name) != name) throw invalid("two columns have the name " + *name);
  for (const Entity& entity : view_.entities) keys_.push_back(require_column(entity.join_key, "join key"));
  for (const Feature& feature : view_.features) fields_.push_back({&feature, require_column(feature.name, "feature")});
  const auto time_column = [this](const char* name) -> std::optional<size_t> {
    const auto found = std::ranges::find(columns_, name);
    if (found == columns_.end()) return std::nullopt;
    return static_cast<size_t>(found - columns_.begin());
  };
  event_time_ = time_column("event_timestamp");
  created_ = time_column("created");
  for (size_t kind = 0; kind < elements_.size(); ++kind)
    elements_[kind].assign(static_cast<size_t>(view_.slot_counts[kind]), "NULL");
}

size_t RowEncoder::require_column(const std::string& name, const char* what) const {
  const auto found = std::ranges::find(columns_, name);
  if (found == columns_.end())
    throw invalid(fmt::format("feature view {} has the {} {}: there is no such column", view_.name, what, name));
  return static_cast<size_t>(found - columns_.begin());
}

std::string RowEncoder::element_of(const Feature& feature, std::string_view bytes) const {
  std::string element =
      binary_ ? array_element_of_binary(feature.type, bytes) : array_element_of_text(feature.type, bytes);
  if (feature.type == ValueType::kVector) {
    const auto length = 1 + std::ranges::count(element, ',');
    if (element == "\"[]\"" || length != feature.vector_length)
      throw invalid(fmt::format("{} numbers were expected", feature.vector_length));
  }
  return element;
}

// As entity_keys() makes it.
std::string RowEncoder::key_of(const Record& record) const {
  std::string key;
  for (size_t i = 0; i < keys_.size(); ++i) {
    const Entity& entity = view_.entities[i];
    const auto& field = record[keys_[i]];
    if (!field) throw invalid(fmt::format("column {}: a join key is expected", entity.join_key));
    const bool text = entity.value_type == "string" || entity.value_type == "uuid";
    std::string part(*field);
    try {
      const ValueType type = value_type(entity.value_type);
      const std::string element = binary_ ? array_element_of_binary(type, part) : array_element_of_text(type, part);
      if (!text) part = element;
      // A uuid in its binary form; quotes around it.
      if (entity.value_type == "uuid" && binary_) part = element.substr(1, element.size() - 2);
    } catch (const Error& error) {
      throw invalid(fmt::format("column {}: {}", entity.join_key, error.what()));
    }
    if (keys_.size() == 1) return part;
    key += (i == 0 ? "[" : ",") + (text ? json::quote(part) : part);
  }
  return key + "]";
}

void RowEncoder::put_time(const Record& record, std::optional<size_t> column, CopyText& out) const {
  if (!column || !record[*column]) {
    out.null();
    return;
  }
  const std::string_view bytes = *record[*column];
  if (!binary_) {
    out.text(bytes);
    return;
  }
  if (bytes.size() != 8)
    throw invalid(fmt::format("column {}: timestamptz was expected, not {} bytes", columns_[*column], bytes.size()));
  uint64_t micros = 0;
  for (const char byte : bytes) micros = micros << 8 | static_cast<unsigned char>(byte);
  const auto since_2000 = static_cast<int64_t>(micros);
  if (since_2000 == INT64_MIN || since_2000 > INT64_MAX - kMicrosTo2000)
    throw invalid(fmt::format("column {}: a finite time was expected", columns_[*column]));
  out.text(shown_time(since_2000 + kMicrosTo2000));
}

void RowEncoder::encode(const Record& record, const std::string& place, CopyText& out) {
  if (record.size() != columns_.size())
    throw invalid(fmt::format("{} has {} fields, and there are {} columns", place, record.size(), columns_.size()));
  try {
    for (const Field& field : fields_) {
      std::string& element =
          elements_[static_cast<size_t>(slots_of(field.feature->type))][static_cast<size_t>(field.feature->slot - 1)];
      const auto& bytes = record[field.column];
      try {
        element = bytes ? element_of(*field.feature, *bytes) : "NULL";
      } catch (const Error& error) {
        throw invalid(fmt::format("column {}: {}", field.feature->name, error.what()));
      }
    }
    out.integer(++rows_).text(key_of(record));
    put_time(record, event_time_, out);
    put_time(record, created_, out);
  } catch (const Error& error) {
    throw invalid(place + ", " + error.what());
  }
  for (const auto& elements : elements_) out.text(fmt::format("{{{}}}", fmt::join(elements, ",")));
  out.end_row();
}

// -- staged ------------------------------------------------------------------------------------------------------

constexpr const char* kStage =
    "CREATE TEMPORARY TABLE cairn_rows (number bigint NOT NULL, entity_key text NOT NULL, event_timestamp timestamptz,"
    " created timestamptz, doubles float8[] NOT NULL, integers int8[] NOT NULL, texts text[] NOT NULL)";
constexpr const char* kCopy = "COPY pg_temp.cairn_rows FROM STDIN";
constexpr const char* kIndexStage = "CREATE INDEX ON pg_temp.cairn_rows (entity_key)";
// Statistics of arrays would take longer than the rest.
constexpr const char* kAnalyzeStage = "ANALYZE pg_temp.cairn_rows (entity_key)";

std::vector<std::string> header_of(const Record* header) {
  if (header == nullptr) throw invalid("the CSV is empty: its first line names the columns");
  std::vector<std::string> names;
  for (const auto& name : *header) names.emplace_back(name.value_or(""));
  return names;
}

task<int64_t> stage(CopySession& session, const FeatureView& view, const BulkWrite& write,
                    std::unique_ptr<http::BodyStream> in) {
  std::unique_ptr<RecordReader> reader;
  if (write.binary)
    reader = std::make_unique<BinaryReader>(std::move(in));
  else
    reader = std::make_unique<CsvReader>(std::move(in));
  std::vector<std::string> columns = write.columns;
  if (!write.binary) {
    const Record* header = co_await reader->next();
    columns = header_of(header);
  } else if (columns.empty()) {
    throw invalid("name the columns of the binary format, in their order");
  }
  RowEncoder encoder(view, std::move(columns), write.binary);
  co_await session.query(kStage);
  co_await session.begin_writing(kCopy);
  CopyText out;
  while (const Record* record = co_await reader->next()) {
    encoder.encode(*record, reader->place(), out);
    if (out.bytes().size() < kPiece) continue;
    co_await session.write(out.bytes());
    out.clear();
  }
  co_await session.write(out.bytes());
  try {
    co_await session.end_writing();
  } catch (const db::DbError& error) {
    if (error.sqlstate().starts_with("22")) throw invalid("a row cannot be taken: " + std::string(error.what()));
    throw;
  }
  co_await session.query(kIndexStage);
  co_await session.query(kAnalyzeStage);
  co_return encoder.rows();
}

// -- written -----------------------------------------------------------------------------------------------------

// $2 to $3: keys, the first of them too where $5. $4: the time where a row gives none.
#define CAIRN_STAGED_ROWS                                                                                    \
  "WITH given AS (SELECT entity_key, coalesce(event_timestamp, $4::timestamptz) AS event_time,"              \
  " coalesce(created, $4::timestamptz) AS created, doubles, integers, texts, number FROM pg_temp.cairn_rows" \
  " WHERE entity_key >= $2 AND (entity_key > $2 OR $5::boolean) AND entity_key <= $3) "
constexpr const char* kWriteLatest = CAIRN_STAGED_ROWS CAIRN_WRITE_LATEST;
constexpr const char* kWriteHistory = CAIRN_STAGED_ROWS CAIRN_WRITE_HISTORY;
// The last key of the next batch. $3: rows.
constexpr const char* kLastKey =
    "SELECT max(entity_key) FROM (SELECT entity_key FROM pg_temp.cairn_rows WHERE entity_key >= $1 AND (entity_key > $1"
    " OR $2::boolean) ORDER BY entity_key LIMIT $3::bigint) b";

task<> write_batch(CopySession& session, const CopySession::Texts& batch, BulkReport& report) {
  for (int attempt = 1;; ++attempt) {
    try {
      co_await session.query("BEGIN");
      const Rows latest = co_await session.query(kWriteLatest, batch);
      const Rows history = co_await session.query(kWriteHistory, batch);
      co_await session.query("COMMIT");
      report.latest += latest.affected();
      report.history += history.affected();
      co_return;
    } catch (const db::DbError& error) {
      if (error.is_foreign_key_violation())
        throw not_found("FeatureViewNotFoundException: the feature view was just removed");
      if (!error.is_retryable() || attempt == kAttempts) throw;
    }
    co_await session.query("ROLLBACK");
    co_await sleep_for(std::chrono::milliseconds(5 * attempt));
  }
}

}  // namespace

task<BulkReport> bulk_write(db::Pool& pool, BulkWrite write, std::unique_ptr<http::BodyStream> in) {
  DefinitionStore store(pool);
  const auto definitions = co_await store.read();
  const FeatureView& view = require_view(*definitions, write.view);
  const auto session = co_await CopySession::connect(pool.options().connection_string);
  const Rows now = co_await session->query("SELECT now()::text");
  BulkReport report;
  report.rows = co_await stage(*session, view, write, std::move(in));
  std::string from;
  for (bool first = true;; first = false) {
    CopySession::Texts bounds;
    bounds.emplace_back(from);
    bounds.emplace_back(first ? "true" : "false");
    bounds.emplace_back(std::to_string(write.batch_rows));
    const Rows last = co_await session->query(kLastKey, std::move(bounds));
    if (last.is_null(0, 0)) break;
    CopySession::Texts batch;
    batch.emplace_back(std::to_string(view.id));
    batch.emplace_back(from);
    batch.emplace_back(last.text(0, 0));
    batch.emplace_back(now.text(0, 0));
    batch.emplace_back(first ? "true" : "false");
    co_await write_batch(*session, batch, report);
    from = last.text(0, 0);
  }
  co_return report;
}

std::string bulk_report_json(const BulkReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("rows", report.rows);
  out.field("history", report.history);
  out.field("latest", report.latest);
  out.end_object();
  return text;
}

}  // namespace cairn::features
