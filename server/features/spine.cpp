#include "features/spine.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "features/copy_text.h"
#include "features/records.h"
#include "features/types.h"

namespace cairn::features {
namespace {

using db::CopySession;
using db::quote_identifier;

constexpr size_t kPiece = 256u << 10;

constexpr const char* kCreateStage =
    "CREATE TEMPORARY TABLE cairn_spine (number bigint NOT NULL, at timestamptz NOT NULL, columns text[] NOT NULL)";

// What the caller's own words cause: everything but trouble of the server's.
bool is_callers(const db::DbError& error) {
  if (error.sqlstate() == "25006") return true;  // read-only
  return !error.is_unavailable() && !error.sqlstate().starts_with("53") && !error.sqlstate().starts_with("58") &&
         !error.sqlstate().starts_with("XX");
}

void check_columns(const std::vector<SpineColumn>& columns) {
  std::set<std::string> names;
  for (const SpineColumn& column : columns)
    if (!names.insert(column.name).second) throw invalid("the spine has two columns of the name " + column.name);
  if (!names.contains(kTimeColumn))
    throw invalid(
        fmt::format("the spine has no column {}: for each row the time that its values are to be of", kTimeColumn));
}

// The role of the house that may only look, where this user may take it.
constexpr const char* kReader =
    "SELECT coalesce((SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = 'cairn_reader'), false)";
constexpr const char* kGrantReader = "GRANT INSERT ON pg_temp.cairn_spine TO cairn_reader";
constexpr const char* kTakeReader = "SET LOCAL ROLE cairn_reader";
constexpr const char* kBeginReadOnly = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
// A query's functions may have changed settings, of the session too.
constexpr const char* kForgetSettings[] = {"COMMIT", "RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET search_path"};

// `query` is a statement by itself (it was described), so it ends no parenthesis that it did not open.
std::string insert_sql(const std::string& query, const std::vector<SpineColumn>& columns,
                       const std::vector<std::string>& join_keys) {
  std::string texts, order;
  for (size_t i = 0; i < columns.size(); ++i) {
    texts += (i > 0 ? ", q." : "q.") + quote_identifier(columns[i].name) + "::text";
    if (std::ranges::find(join_keys, columns[i].name) != join_keys.end())
      order += fmt::format("columns[{}] COLLATE \"C\", ", i + 1);
  }
  // OFFSET: else each place that names the columns would make their text anew. ROWS: else each row is compared with the
  // one before it.
  return fmt::format(
      "INSERT INTO {} (number, at, columns) SELECT row_number() OVER (ORDER BY {}at, columns COLLATE \"C\""
      " ROWS UNBOUNDED PRECEDING), at, columns"
      " FROM (SELECT q.{}::timestamptz AS at, ARRAY[{}]::text[] AS columns FROM ({}\n) q OFFSET 0) s",
      kStagedSpine, order, quote_identifier(kTimeColumn), texts, query);
}

std::string without_end(std::string query) {
  while (!query.empty() && (query.back() == ';' || std::isspace(static_cast<unsigned char>(query.back()))))
    query.pop_back();
  return query;
}

task<std::vector<SpineColumn>> stage_query(CopySession& session, std::string query,
                                           const std::vector<std::string>& join_keys) {
  query = without_end(std::move(query));
  const db::Rows reader = co_await session.query(kReader);
  if (reader.boolean(0, 0)) co_await session.query(kGrantReader);
  co_await session.query(kBeginReadOnly);
  if (reader.boolean(0, 0)) co_await session.query(kTakeReader);
  std::vector<SpineColumn> columns;
  try {
    const std::vector<CopySession::Column> described = co_await session.describe(query);
    for (const CopySession::Column& column : described) columns.push_back({column.name, column.type});
    check_columns(columns);
    co_await session.query(insert_sql(query, columns, join_keys));
  } catch (const db::DbError& error) {
    if (!is_callers(error)) throw;
    if (error.sqlstate() == "23502") throw invalid("the spine has a row without event_timestamp");
    throw invalid("the spine's query: " + std::string(error.what()));
  }
  for (const char* statement : kForgetSettings) co_await session.query(statement);
  co_return columns;
}

std::string array_literal(const Record& record) {
  std::string text = "{";
  for (const auto& field : record) {
    if (text.size() > 1) text += ',';
    text += field ? quoted_element(*field) : "NULL";
  }
  return text + "}";
}

std::vector<SpineColumn> header_columns(const Record* header) {
  std::vector<SpineColumn> columns;
  if (header == nullptr) throw invalid("the CSV is empty: its first line names the columns");
  for (const auto& name : *header) {
    if (!name) throw invalid(fmt::format("the CSV's column {} has no name", columns.size() + 1));
    columns.push_back({std::string(*name), "text"});
  }
  check_columns(columns);
  return columns;
}

task<std::vector<SpineColumn>> stage_csv(CopySession& session, std::unique_ptr<http::BodyStream> csv) {
  CsvReader reader(std::move(csv));
  const Record* header = co_await reader.next();
  const std::vector<SpineColumn> columns = header_columns(header);
  const auto time = static_cast<size_t>(std::ranges::find(columns, kTimeColumn, &SpineColumn::name) - columns.begin());
  co_await session.begin_writing(fmt::format("COPY {} (number, at, columns) FROM STDIN", kStagedSpine));
  CopyText out;
  int64_t number = 0;
  while (const Record* record = co_await reader.next()) {
    if (record->size() != columns.size())
      throw invalid(fmt::format("{} has {} fields, and the header {}", reader.place(), record->size(), columns.size()));
    if (!(*record)[time]) throw invalid(fmt::format("{} has no {}", reader.place(), kTimeColumn));
    out.integer(++number).text(*(*record)[time]).text(array_literal(*record)).end_row();
    if (out.bytes().size() < kPiece) continue;
    co_await session.write(out.bytes());
    out.clear();
  }
  co_await session.write(out.bytes());
  try {
    co_await session.end_writing();
  } catch (const db::DbError& error) {
    if (!is_callers(error)) throw;
    throw invalid("the spine: " + std::string(error.what()));
  }
  co_return columns;
}

}  // namespace

std::string quote_table(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return quote_identifier(name);
  return quote_identifier(name.substr(0, dot)) + "." + quote_identifier(name.substr(dot + 1));
}

task<std::vector<SpineColumn>> stage_spine(CopySession& session, Spine& spine,
                                           const std::vector<std::string>& join_keys) {
  if (int(spine.query.has_value()) + int(spine.table.has_value()) + int(spine.csv != nullptr) != 1)
    throw invalid("give the spine's rows in one way: a query, a table, CSV or entities");
  co_await session.query(kCreateStage);
  std::vector<SpineColumn> columns;
  if (spine.csv) {
    columns = co_await stage_csv(session, std::move(spine.csv));
  } else {
    std::string query;
    if (spine.table)
      query = "SELECT * FROM " + quote_table(*spine.table);
    else
      query = *spine.query;
    columns = co_await stage_query(session, std::move(query), join_keys);
  }
  co_return columns;
}

}  // namespace cairn::features
