#include "tuner/views/view_reading.h"

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "db/statement.h"
#include "tuner/sql/parse_tree.h"
#include "tuner/sql/select_text.h"

namespace cairn::tuner {
namespace {

constexpr size_t kNameBytesMax = 63;
constexpr std::string_view kBeforeExpression = "SELECT ";
constexpr const char* kAlias = "v";  // of the view in the statement that reads it
constexpr int kKeyWidthMax = 500;    // bytes: an entry of a B-tree holds 2,700

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> all) {
  return std::ranges::find(all, text) != all.end();
}

// Stable, but only for the time zone, the formats of dates and the like.
bool is_harmless(std::string_view function) {
  return is_one_of(function, {"age",
                              "array_to_string",
                              "concat",
                              "concat_ws",
                              "date",
                              "date_bin",
                              "date_part",
                              "date_trunc",
                              "extract",
                              "format",
                              "generate_series",
                              "json_agg",
                              "json_build_array",
                              "json_build_object",
                              "json_object_agg",
                              "jsonb_agg",
                              "jsonb_build_array",
                              "jsonb_build_object",
                              "jsonb_object_agg",
                              "make_timestamptz",
                              "now",
                              "row_to_json",
                              "statement_timestamp",
                              "timezone",
                              "to_char",
                              "to_date",
                              "to_json",
                              "to_jsonb",
                              "to_timestamp",
                              "to_tsvector",
                              "transaction_timestamp"});
}

bool is_clock(std::string_view function) {
  return is_one_of(function, {"age", "now", "statement_timestamp", "transaction_timestamp"});
}

std::string last_name(const Node& node, std::string_view list) {
  const std::vector<std::string> parts = strings(node, list);
  return parts.empty() ? std::string() : parts.back();
}

std::optional<size_t> location(const Node& node) {
  int64_t offset = -1;
  const auto found = field(node, "location");
  if (found && found->get(offset) == simdjson::SUCCESS && offset >= 0) return static_cast<size_t>(offset);
  return std::nullopt;
}

// An expression on its own. Its nodes' locations count from its own beginning.
class Fragment {
 public:
  explicit Fragment(std::string text) : text_(std::move(text)), tree_(parse(text_)) {}

  const std::string& text() const { return text_; }
  Node node() const {
    const auto select = as(tree_.statements().at(0)["stmt"].value(), "SelectStmt");
    return list_field(*select, "targetList").at(0);
  }
  static std::optional<size_t> offset(const Node& node) {
    const auto at = location(node);
    if (!at || *at < kBeforeExpression.size()) return std::nullopt;
    return *at - kBeforeExpression.size();
  }

 private:
  static ParseTree parse(const std::string& text) {
    auto tree = ParseTree::parse(std::string(kBeforeExpression) + text);
    const auto select = tree ? as(tree->statements().at(0)["stmt"].value(), "SelectStmt") : std::nullopt;
    if (!select || tree->statements().size() != 1 || list_field(*select, "targetList").size() != 1)
      throw ViewRefused{"the expression " + text + " could not be read on its own"};
    return std::move(*tree);
  }

  std::string text_;
  ParseTree tree_;
};

std::string quoted(const TableName& name) {
  return db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name);
}

// The name that PostgreSQL gives a column without an alias; empty where it has none to give.
std::string figured_name(const Node& node) {
  for (const auto& [kind, body] : members(node)) {
    if (kind == "ColumnRef") return last_name(body, "fields");
    if (kind == "FuncCall") return last_name(body, "funcname");
    if (kind == "CoalesceExpr") return "coalesce";
    if (kind == "MinMaxExpr") return text_field(body, "op") == "IS_LEAST" ? "least" : "greatest";
    if (kind == "CaseExpr") {
      const auto otherwise = field(body, "defresult");
      const std::string name = otherwise ? figured_name(*otherwise) : "";
      return name.empty() ? "case" : name;
    }
    if (kind == "TypeCast") {
      const std::string name = figured_name(*field(body, "arg"));
      return name.empty() ? last_name(*field(body, "typeName"), "names") : name;
    }
    if (kind == "val" || kind == "ResTarget") return figured_name(body);
  }
  return {};
}

// A table, or something else with columns, that FROM names.
struct Source {
  std::string alias = {};
  const Table* table = nullptr;
};

class Reading {
 public:
  Reading(const Catalog& catalog, const ViewFacts& facts, ViewDrafts& drafts)
      : catalog_(catalog), facts_(facts), drafts_(drafts) {}

  // Throws ViewRefused. Leaves the drafts alone then.
  void read(size_t number, const std::string& text, const Node& statement) {
    text_ = text;
    const auto split = split_select(text);
    if (!split) throw ViewRefused{"it is no plain SELECT"};
    select_ = *split;
    check(statement);
    const auto from = field(statement, "fromClause");
    if (!from) throw ViewRefused{"it reads no table"};
    for (const Node& item : items(*from)) add_source(item);
    read_targets();
    read_grouping();
    start_draft();
    const ViewDraft::Reader reader = read_outside(number);
    draft_.readers.push_back(reader);
    drafts_[shape_] = std::move(draft_);
  }

 private:
  void check(const Node& statement) {
    for (const char* clause : {"lockingClause", "windowClause", "intoClause", "valuesLists", "larg"})
      if (field(statement, clause)) throw ViewRefused{"it is no plain SELECT"};
    const auto same_size = [&](const char* list, size_t size) { return list_field(statement, list).size() == size; };
    if (!same_size("targetList", select_.targets.size()) || !same_size("groupClause", select_.grouping.size()) ||
        !same_size("sortClause", select_.order.size()) || field(statement, "groupDistinct"))
      throw ViewRefused{"its clauses could not be told apart"};
    for (const Node& cte : withs(statement)) ctes_.insert(text_field(cte, "ctename"));
    walk_tree(statement, [&](std::string_view kind, const Node& body) {
      if (kind == "GroupingSet" || kind == "GroupingFunc") throw ViewRefused{"it groups in several ways at once"};
      if (kind == "RangeTableSample") throw ViewRefused{"it reads a sample"};
      if (kind == "InsertStmt" || kind == "UpdateStmt" || kind == "DeleteStmt") throw ViewRefused{"it writes"};
      if (kind == "over") throw ViewRefused{"it uses window functions"};
      if (kind == "RangeVar") check_table(body);
      if (kind == "FuncCall") check_function(last_name(body, "funcname"));
      if (kind == "SQLValueFunction" && !is_clock_value(body)) throw ViewRefused{"its rows depend on who asks"};
      if (kind == "TypeCast") check_cast(body);
      return true;
    });
  }

  static std::vector<Node> withs(const Node& statement) {
    std::vector<Node> all;
    walk_tree(statement, [&](std::string_view kind, const Node& body) {
      if (kind == "CommonTableExpr") all.push_back(body);
      return true;
    });
    return all;
  }

  const Table* table_of(const Node& range) const {
    const std::string schema = text_field(range, "schemaname"), name = text_field(range, "relname");
    if (schema.empty() && ctes_.contains(name)) return nullptr;
    return catalog_.find(schema, name);
  }

  void check_table(const Node& range) {
    const std::string schema = text_field(range, "schemaname"), name = text_field(range, "relname");
    if (schema.empty() && ctes_.contains(name)) return;
    const Table* table = catalog_.find(schema, name);
    if (table == nullptr || !field(range, "inh"))
      throw ViewRefused{"it reads " + name + ", which a view cannot rest on"};
    if (facts_.secured.contains(table->name))
      throw ViewRefused{"row security rules over " + quoted(table->name) + ": a view would show all its rows"};
    if (draft_.largest == nullptr || table->rows > draft_.largest->rows) draft_.largest = table;
  }

  void check_function(const std::string& name) const {
    const auto found = facts_.volatility.find(name);
    if (found != facts_.volatility.end() && !is_harmless(name))
      throw ViewRefused{"the function " + name + " may give something else each time"};
  }

  static bool is_clock_value(const Node& value) {
    const std::string kind = text_field(value, "op");
    return kind.find("DATE") != std::string::npos || kind.find("TIME") != std::string::npos;
  }

  // 'today'::date is read once, when the view is made.
  static void check_cast(const Node& cast) {
    const auto argument = field(cast, "arg");
    const auto constant = argument ? literal(*argument) : std::nullopt;
    if (constant && is_one_of(constant->text, {"now", "today", "tomorrow", "yesterday"}))
      throw ViewRefused{"'" + constant->text + "' would be read once for ever"};
  }

  ViewContents contents(const Node& node) const { return contents_of(node, facts_); }

  void add_source(const Node& item) {
    if (const auto join = as(item, "JoinExpr")) {
      if (field(*join, "alias")) throw ViewRefused{"a join has a name of its own"};
      merges_ |= field(*join, "usingClause").has_value() || field(*join, "isNatural").has_value();
      const std::string type = text_field(*join, "jointype");
      outer_join_ |= !type.empty() && type != "JOIN_INNER";
      add_source(*field(*join, "larg"));
      add_source(*field(*join, "rarg"));
      return;
    }
    for (const auto& [kind, body] : members(item)) {
      Source source;
      const auto alias = field(body, "alias");
      if (alias) source.alias = text_field(*alias, "aliasname");
      const bool renames = alias && field(*alias, "colnames");
      if (kind == "RangeVar") {
        if (source.alias.empty()) source.alias = text_field(body, "relname");
        if (!renames) source.table = table_of(body);
      }
      opaque_ |= source.table == nullptr;
      sources_.push_back(std::move(source));
    }
  }

  // The source that a column is of; nothing where that is not certain.
  const Source* source_of(const std::vector<std::string>& parts) const {
    if (merges_ && parts.size() == 1) return nullptr;
    const Source* found = nullptr;
    for (const Source& source : sources_) {
      if (source.table == nullptr || source.table->column(parts.back()) == nullptr) continue;
      if (parts.size() == 2 && source.alias != parts[0]) continue;
      if (parts.size() == 3 && (source.table->name != TableName{parts[0], parts[1]} || source.alias != parts[1]))
        continue;
      if (found != nullptr) return nullptr;
      found = &source;
    }
    return found;
  }

  static std::string column_sql(const std::string& alias, const std::string& column) {
    return db::quote_identifier(alias) + "." + db::quote_identifier(column);
  }

  // With every column as "alias"."column", so that equal expressions have equal texts.
  std::string qualified(const std::string& text) const {
    const Fragment fragment(text);
    std::vector<Span> spans;
    walk_tree(fragment.node(), [&](std::string_view kind, const Node& body) {
      if (kind == "SubLink") throw ViewRefused{"there is a subquery in what it computes"};
      if (kind == "A_Star") throw ViewRefused{"it asks for * and groups"};
      if (kind != "ColumnRef") return true;
      const std::vector<std::string> parts = strings(body, "fields");
      const auto begin = Fragment::offset(body);
      const auto end = begin ? name_end(text, *begin, parts.size()) : std::nullopt;
      if (!end) throw ViewRefused{"the expression " + text + " could not be read on its own"};
      if (const Source* source = source_of(parts))
        spans.push_back({*begin, *end, column_sql(source->alias, parts.back())});
      return false;
    });
    return replace(text, std::move(spans));
  }

  struct Target {
    std::string sql = {};   // qualified
    std::string name = {};  // of the column that the caller gets
    bool named = false;     // by AS
  };

  void read_targets() {
    for (const std::string& text : select_.targets) {
      const Fragment fragment(text);
      const Node node = fragment.node();
      const auto result = as(node, "ResTarget");
      Target target{.name = text_field(*result, "name")};
      target.named = !target.name.empty();
      if (!target.named) target.name = figured_name(node);
      target.sql = qualified(target.named ? without_alias(text) : text);
      targets_.push_back(std::move(target));
    }
  }

  // The output column that a lone name or number means; nothing for an expression.
  const Target* target_of(const std::string& item, bool names_first) const {
    const Fragment fragment(item);
    const auto value = field(*as(fragment.node(), "ResTarget"), "val");
    if (const auto constant = as(*value, "A_Const")) {
      int64_t position = 0;
      const auto number = field(*constant, "ival");
      if (!number || (*number)["ival"].get(position) != simdjson::SUCCESS) return nullptr;
      return position >= 1 && position <= static_cast<int64_t>(targets_.size()) ? &targets_[position - 1] : nullptr;
    }
    const auto column = as(*value, "ColumnRef");
    const std::vector<std::string> parts = column ? strings(*column, "fields") : std::vector<std::string>();
    if (parts.size() != 1) return nullptr;
    const auto found = std::ranges::find(targets_, parts[0], &Target::name);
    if (found == targets_.end()) return nullptr;
    if (names_first) return &*found;
    const bool is_column = std::ranges::any_of(
        sources_, [&](const Source& source) { return source.table && source.table->column(parts[0]); });
    if (is_column) return nullptr;
    if (opaque_ && found->named) throw ViewRefused{"what " + parts[0] + " means in GROUP BY is not certain"};
    return &*found;
  }

  void read_grouping() {
    for (const std::string& item : select_.grouping) {
      const Target* target = target_of(item, false);
      std::string sql = target != nullptr ? target->sql : qualified(item);
      if (contents(Fragment(sql).node()).placeholder)
        throw ViewRefused{"what it groups by has placeholders: the constants are not known"};
      if (std::ranges::find(draft_.grouping, sql) == draft_.grouping.end()) draft_.grouping.push_back(std::move(sql));
    }
  }

  // Conditions with placeholders or the clock are the reader's where they rest on what is grouped by. What the view
  // keeps decides which view it is.
  void start_draft() {
    draft_.with = select_.with;
    draft_.from = select_.from;
    for (const std::string& condition : select_.conditions) {
      const ViewContents found = contents(Fragment(condition).node());
      if (!found.placeholder && !found.clock) {
        draft_.conditions.push_back(condition);
      } else if (!found.subquery && !draft_.grouping.empty() && follows_from_keys(qualified(condition))) {
        outside_.push_back(qualified(condition));
      } else if (found.placeholder) {
        throw ViewRefused{"the condition " + condition + " has a placeholder and does not rest on what is grouped by"};
      } else {
        draft_.conditions.push_back(condition);
      }
    }
    std::vector<std::string> sorted = draft_.grouping;
    std::ranges::sort(sorted);
    shape_ = draft_.with + "\n" + draft_.from;
    for (const auto* list : {&draft_.conditions, &sorted})
      for (const std::string& item : *list) shape_ += "\n" + item;
    if (const auto known = drafts_.find(shape_); known != drafts_.end()) {
      draft_ = known->second;
      return;
    }
    if (draft_.grouping.empty()) {
      draft_.keys.push_back(draft_.column("1", "only_row"));
      return;
    }
    for (const std::string& key : draft_.grouping) draft_.column(key, key_name(key));
    choose_keys();
  }

  std::string key_name(const std::string& key) const {
    const auto target =
        std::ranges::find_if(targets_, [&](const Target& one) { return one.sql == key && !one.name.empty(); });
    return target != targets_.end() ? target->name : figured_name(Fragment(key).node());
  }

  // The column that a text is, if it is one.
  std::pair<const Source*, const Column*> as_column(const std::string& sql) const {
    const Fragment fragment(sql);
    const auto value = field(*as(fragment.node(), "ResTarget"), "val");
    const auto reference = as(*value, "ColumnRef");
    const std::vector<std::string> parts = reference ? strings(*reference, "fields") : std::vector<std::string>();
    if (parts.empty()) return {nullptr, nullptr};
    const Source* source = source_of(parts);
    return {source, source == nullptr ? nullptr : source->table->column(parts.back())};
  }

  // Whether the source's primary key is among what is grouped by, other than by `but`.
  bool is_determined(const Source& source, const std::string& but) const {
    const auto primary =
        std::ranges::find_if(source.table->indexes, [](const Index& index) { return index.primary && index.valid; });
    if (primary == source.table->indexes.end()) return false;
    return std::ranges::all_of(primary->definition.keys, [&](const IndexKey& key) {
      const std::string sql = column_sql(source.alias, key.text);
      return sql != but && std::ranges::find(draft_.grouping, sql) != draft_.grouping.end();
    });
  }

  void choose_keys() {
    for (const std::string& key : draft_.grouping) {
      const auto [source, column] = as_column(key);
      if (source != nullptr && is_determined(*source, key)) continue;
      if (column != nullptr && (!column->ordered || column->width > kKeyWidthMax))
        throw ViewRefused{"a unique index cannot hold " + key};
      draft_.nullable_keys |= column == nullptr || !column->not_null || outer_join_;
      draft_.keys.push_back(draft_.column(key, ""));
    }
  }

  bool follows_from_keys(const std::string& sql) {
    if (contents(Fragment(sql).node()).aggregate) return false;
    const ViewDraft before = draft_;
    bool follows = true;
    try {
      outside(sql);
    } catch (const ViewRefused&) {
      follows = false;
    }
    draft_ = before;
    return follows;
  }

  std::string of_view(const std::string& sql, const std::string& name) {
    return std::string(kAlias) + "." + db::quote_identifier(draft_.column(sql, name));
  }

  // The expression over the view's columns.
  std::string outside(const std::string& sql, const std::string& name = {}) {
    if (std::ranges::find(draft_.grouping, sql) != draft_.grouping.end()) return of_view(sql, key_name(sql));
    const Fragment fragment(sql);
    std::vector<Span> spans;
    const auto add = [&](Span span) {
      if (std::ranges::none_of(spans, [&](const Span& other) { return other.overlaps(span); }))
        spans.push_back(std::move(span));
    };
    walk_tree(fragment.node(), [&](std::string_view kind, const Node& body) {
      if (kind != "FuncCall") return true;
      const std::string function = last_name(body, "funcname");
      const auto begin = Fragment::offset(body);
      const auto end = begin ? call_end(sql, *begin) : std::nullopt;
      if (!end) throw ViewRefused{"the expression " + sql + " could not be read on its own"};
      const std::string call = sql.substr(*begin, *end - *begin);
      const bool is_key = std::ranges::find(draft_.grouping, call) != draft_.grouping.end();
      if (!is_key && !facts_.aggregates.contains(function)) return true;
      if (contents(body).placeholder)
        throw ViewRefused{"the aggregate " + call + " has placeholders: the constants are not known"};
      add({*begin, *end, of_view(call, is_key || call != sql || name.empty() ? function : name)});
      return false;
    });
    for (const std::string& key : draft_.grouping)
      for (Span& span : in_brackets(sql, key)) add({span.begin, span.end, of_view(key, "")});
    walk_tree(fragment.node(), [&](std::string_view kind, const Node& body) {
      if (kind != "ColumnRef") return true;
      const size_t begin = Fragment::offset(body).value_or(0);
      const auto end = name_end(sql, begin, strings(body, "fields").size());
      if (!end) throw ViewRefused{"the expression " + sql + " could not be read on its own"};
      const Span here{begin, *end, {}};
      if (std::ranges::none_of(spans, [&](const Span& other) { return other.overlaps(here); }))
        add({begin, *end, plain_column(sql.substr(begin, *end - begin))});
      return false;
    });
    return replace(sql, std::move(spans));
  }

  // A column outside of aggregates: grouped by, or following from that.
  std::string plain_column(const std::string& column) {
    const bool known = std::ranges::find(draft_.grouping, column) != draft_.grouping.end() ||
                       std::ranges::find(draft_.extra, column) != draft_.extra.end();
    const auto [source, found] = as_column(column);
    if (!known) {
      if (source == nullptr || !is_determined(*source, column))
        throw ViewRefused{"the column " + column + " does not follow from what is grouped by"};
      draft_.extra.push_back(column);
    }
    return of_view(column, found != nullptr ? found->name : "");
  }

  ViewDraft::Reader read_outside(size_t number) {
    ViewDraft::Reader reader{.statement = number};
    reader.before = select_.distinct ? "SELECT DISTINCT " : "SELECT ";
    for (size_t i = 0; i < targets_.size(); ++i) {
      reader.before += (i == 0 ? "" : ", ") + outside(targets_[i].sql, targets_[i].name);
      if (!targets_[i].name.empty()) reader.before += " AS " + db::quote_identifier(targets_[i].name);
    }
    reader.before += " FROM ";
    if (!select_.having.empty()) outside_.push_back(qualified(select_.having));
    reader.after = std::string(" AS ") + kAlias;
    for (size_t i = 0; i < outside_.size(); ++i)
      reader.after += (i == 0 ? " WHERE (" : " AND (") + outside(outside_[i]) + ")";
    for (size_t i = 0; i < select_.order.size(); ++i)
      reader.after += (i == 0 ? " ORDER BY " : ", ") + sort_item(select_.order[i]);
    if (!select_.limit.empty()) reader.after += " " + select_.limit;
    return reader;
  }

  // A lone name means the output column first, and a number always; those stay as they are.
  std::string sort_item(const std::string& item) {
    const auto split = split_sort(item);
    if (!split) throw ViewRefused{"its ORDER BY uses an operator"};
    if (target_of(split->expression, true) != nullptr) return item;
    return outside(qualified(split->expression)) + split->direction;
  }

  const Catalog& catalog_;
  const ViewFacts& facts_;
  ViewDrafts& drafts_;
  std::string text_;
  SelectText select_;
  std::set<std::string> ctes_;
  std::vector<Source> sources_;
  std::vector<Target> targets_;
  std::vector<std::string> outside_;  // conditions that are the reader's
  ViewDraft draft_;
  std::string shape_;
  bool opaque_ = false;  // there are sources whose columns are not known
  bool merges_ = false;  // USING
  bool outer_join_ = false;
};

}  // namespace

std::string cut_name(std::string name, size_t bytes) {
  if (name.size() <= bytes) return name;
  while (bytes > 0 && (static_cast<unsigned char>(name[bytes]) & 0xc0) == 0x80) --bytes;
  return name.substr(0, bytes);
}

const std::string& ViewDraft::column(const std::string& sql, const std::string& wanted) {
  const auto found = std::ranges::find(columns, sql, &ViewColumn::sql);
  if (found != columns.end()) return found->name;
  const std::string base = wanted.empty() ? "value" : wanted;
  std::string name = cut_name(base, kNameBytesMax);
  for (int number = 2; std::ranges::find(columns, name, &ViewColumn::name) != columns.end(); ++number) {
    const std::string suffix = "_" + std::to_string(number);
    name = cut_name(base, kNameBytesMax - suffix.size()) + suffix;
  }
  columns.push_back({name, sql});
  return columns.back().name;
}

ViewContents contents_of(const Node& node, const ViewFacts& facts) {
  ViewContents found;
  walk_tree(node, [&](std::string_view kind, const Node& body) {
    if (kind == "ParamRef") found.placeholder = true;
    if (kind == "SubLink") found.subquery = true;
    if (kind == "SQLValueFunction") found.clock = true;
    if (kind == "FuncCall") {
      const std::string name = last_name(body, "funcname");
      found.clock |= is_clock(name);
      found.aggregate |= facts.aggregates.contains(name);
    }
    return true;
  });
  return found;
}

void read_into_drafts(const Catalog& catalog, const ViewFacts& facts, size_t number, const std::string& text,
                      const Node& select, ViewDrafts& drafts) {
  Reading(catalog, facts, drafts).read(number, text, select);
}

}  // namespace cairn::tuner
