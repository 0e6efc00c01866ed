#include "tuner/views/view_candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "db/statement.h"
#include "tuner/sql/parse_tree.h"
#include "tuner/sql/select_text.h"
#include "tuner/views/view_reading.h"

namespace cairn::tuner {
namespace {

constexpr size_t kNameBytesMax = 63;
constexpr std::string_view kIndexSuffix = "_key";

std::string quoted(const TableName& name) {
  return db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name);
}

std::optional<Node> only_select(const ParseTree& tree) {
  if (tree.statements().size() != 1) return std::nullopt;
  const auto statement = field(tree.statements().at(0).value(), "stmt");
  return statement ? as(*statement, "SelectStmt") : std::nullopt;
}

bool aggregates(const Node& select, const ViewFacts& facts) {
  if (field(select, "groupClause") || field(select, "havingClause")) return true;
  const auto targets = field(select, "targetList");
  if (!targets) return false;
  bool found = false;
  walk_tree(*targets, [&](std::string_view kind, const Node& body) {
    const std::vector<std::string> name = kind == "FuncCall" ? strings(body, "funcname") : std::vector<std::string>();
    found |= !name.empty() && facts.aggregates.contains(name.back()) && !field(body, "over");
    return kind != "SubLink";
  });
  return found;
}

// With the schema of every table, so that it means the same whatever the search path.
std::string with_schemas(const std::string& query, const Catalog& catalog) {
  const auto tree = ParseTree::parse(query);
  if (!tree) throw ViewRefused{"its parts could not be put together anew"};
  std::vector<Span> spans;
  std::set<std::string> ctes;
  const Node statement = tree->statements().at(0).value();
  walk_tree(statement, [&](std::string_view kind, const Node& body) {
    if (kind == "CommonTableExpr") ctes.insert(text_field(body, "ctename"));
    return true;
  });
  walk_tree(statement, [&](std::string_view kind, const Node& body) {
    if (kind != "RangeVar" || field(body, "schemaname")) return true;
    const std::string name = text_field(body, "relname");
    const Table* table = catalog.find("", name);
    int64_t at = 0;
    const auto location = field(body, "location");
    if (ctes.contains(name) || table == nullptr) return true;
    if (!location || location->get(at) != simdjson::SUCCESS) throw ViewRefused{"its tables could not be found"};
    spans.push_back({static_cast<size_t>(at), static_cast<size_t>(at), db::quote_identifier(table->name.schema) + "."});
    return true;
  });
  const auto written = deparsed(replace(query, std::move(spans)));
  if (!written) throw ViewRefused{"its parts could not be put together anew"};
  return *written;
}

std::string query_of(const ViewDraft& draft) {
  std::string query = draft.with + (draft.with.empty() ? "" : " ") + "SELECT ";
  for (size_t i = 0; i < draft.columns.size(); ++i)
    query += (i == 0 ? "" : ", ") + draft.columns[i].sql + " AS " + db::quote_identifier(draft.columns[i].name);
  query += " FROM " + draft.from;
  for (size_t i = 0; i < draft.conditions.size(); ++i) query += (i == 0 ? " WHERE " : " AND ") + draft.conditions[i];
  std::vector<std::string> grouping = draft.grouping;
  grouping.insert(grouping.end(), draft.extra.begin(), draft.extra.end());
  for (size_t i = 0; i < grouping.size(); ++i) query += (i == 0 ? " GROUP BY " : ", ") + grouping[i];
  return query;
}

TableName name_of(const ViewDraft& draft, const std::string& query) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : query) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  const std::string suffix = fmt::format("_{:08x}", hash);
  std::string name = "mv_" + draft.largest->name.name;
  for (const std::string& key : draft.keys)
    if (!draft.grouping.empty()) name += "_" + key;
  return {draft.largest->name.schema,
          cut_name(std::move(name), kNameBytesMax - kIndexSuffix.size() - suffix.size()) + suffix};
}

ViewCandidate candidate_of(const ViewDraft& draft, const Catalog& catalog, const ViewFacts& facts) {
  if (draft.largest == nullptr) throw ViewRefused{"it reads no table"};
  ViewCandidate candidate{.table = draft.largest->name,
                          .query = with_schemas(query_of(draft), catalog),
                          .keys = draft.keys,
                          .nullable_keys = draft.nullable_keys};
  const auto tree = ParseTree::parse(candidate.query);
  if (!tree) throw ViewRefused{"its parts could not be put together anew"};
  const ViewContents contents = contents_of(tree->statements().at(0).value(), facts);
  if (contents.placeholder) throw ViewRefused{"it has placeholders in what it joins: the constants are not known"};
  candidate.reads_clock = contents.clock;
  candidate.view = name_of(draft, candidate.query);
  for (const ViewDraft::Reader& reader : draft.readers) {
    const auto text = deparsed(reader.before + quoted(candidate.view) + reader.after);
    if (!text) throw ViewRefused{"its parts could not be put together anew"};
    candidate.readers.push_back({reader.statement, *text});
  }
  return candidate;
}

}  // namespace

ViewCandidates propose_views(const Catalog& catalog, const ViewFacts& facts,
                             const std::vector<std::string>& statements) {
  ViewCandidates candidates;
  ViewDrafts drafts;
  for (size_t i = 0; i < statements.size(); ++i) {
    const auto text = deparsed(statements[i]);
    const auto tree = text ? ParseTree::parse(*text) : std::nullopt;
    const auto select = tree ? only_select(*tree) : std::nullopt;
    if (!select || !aggregates(*select, facts)) continue;
    try {
      read_into_drafts(catalog, facts, i, *text, *select, drafts);
    } catch (const ViewRefused& refused) {
      candidates.refusals.push_back({i, refused.reason});
    }
  }
  for (const auto& [shape, draft] : drafts) {
    try {
      candidates.views.push_back(candidate_of(draft, catalog, facts));
    } catch (const ViewRefused& refused) {
      for (const ViewDraft::Reader& reader : draft.readers)
        candidates.refusals.push_back({reader.statement, refused.reason});
    }
  }
  return candidates;
}

std::vector<std::string> create_view_statements(const ViewCandidate& view, int server_version) {
  constexpr int kNullsNotDistinct = 150000;
  const std::string index = view.view.name + std::string(kIndexSuffix);
  std::string keys;
  for (const std::string& key : view.keys) keys += (keys.empty() ? "" : ", ") + db::quote_identifier(key);
  const bool nulls = view.nullable_keys && server_version >= kNullsNotDistinct;
  return {"CREATE MATERIALIZED VIEW " + quoted(view.view) + " AS " + view.query,
          "CREATE UNIQUE INDEX " + db::quote_identifier(index) + " ON " + quoted(view.view) + " (" + keys + ")" +
              (nulls ? " NULLS NOT DISTINCT" : ""),
          "COMMENT ON MATERIALIZED VIEW " + quoted(view.view) + " IS '" + kViewComment + "'",
          "ANALYZE " + quoted(view.view)};
}

std::string drop_view_statement(const TableName& view) { return "DROP MATERIALIZED VIEW IF EXISTS " + quoted(view); }

}  // namespace cairn::tuner
