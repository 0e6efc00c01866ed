#include "schema/catalog.h"

#include <fmt/format.h>

#include <array>
#include <memory>

#include "base/error.h"
#include "schema/catalog_sql.h"

namespace cairn::schema {
namespace {

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

// Class, oid and column number, as pg_depend names an object.
using Address = std::array<std::string, 3>;

std::string array_literal(const std::vector<std::string>& texts) {
  std::string out = "{";
  for (const std::string& text : texts) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : text) out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    out += '"';
  }
  return out + "}";
}

class Reader {
 public:
  Reader(PGconn* connection, const std::vector<std::string>& schemas)
      : connection_(connection), schemas_(array_literal(schemas)) {}

  Catalog read() {
    // Names come with their schemas then.
    run("SELECT set_config('search_path', '', true)", false);
    read(kSchemas, &Reader::schema);
    read(kExtensions, &Reader::extension);
    read(kTypes, &Reader::type);
    read(kSequences, &Reader::sequence);
    read(kTables, &Reader::table);
    read(kColumns, &Reader::column);
    read(kOwnerships, &Reader::ownership);
    read(kConstraints, &Reader::constraint);
    read(kIndexes, &Reader::index);
    read(kFunctions, &Reader::function);
    read(kViews, &Reader::view);
    read(kTriggers, &Reader::trigger);
    read_dependencies();
    return std::move(catalog_);
  }

 private:
  struct Row {
    const PGresult* result;
    int row;
    std::string operator[](int column) const { return PQgetvalue(result, row, column); }
  };
  // The first of the columns that only some kinds have.
  static constexpr int kOwn = 8;

  Result run(const char* sql, bool with_schemas) {
    const char* values[] = {schemas_.c_str()};
    Result result(PQexecParams(connection_, sql, with_schemas ? 1 : 0, nullptr, values, nullptr, nullptr, 0), &PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
      throw Error(ErrorCode::kInternalError,
                  std::string("cannot read the catalog: ") + PQresultErrorMessage(result.get()));
    return result;
  }

  void read(const char* sql, void (Reader::*complete)(const Row&, Object&)) {
    const Result result = run(sql, true);
    for (int i = 0; i < PQntuples(result.get()); ++i) {
      const Row row{result.get(), i};
      Object object;
      object.name = row[4];
      object.table = row[5];
      object.definition = row[6];
      object.comment = row[7];
      (this->*complete)(row, object);
      const std::string key = row[3];
      if (row[0] != "0") keys_[{row[0], row[1], row[2]}] = key;
      if (!object.table.empty()) catalog_.needs[key].insert(object.table);
      catalog_.objects.emplace(key, std::move(object));
    }
  }

  void plain(Object& object, Kind kind, const std::string& word, const std::string& tail) {
    object.kind = kind;
    object.create = "CREATE " + word + " " + object.name + tail;
    object.drop = "DROP " + word + " " + object.name;
    object.comment_on = word + " " + object.name;
  }
  void schema(const Row&, Object& object) { plain(object, Kind::kSchema, "SCHEMA", ""); }
  void extension(const Row& row, Object& object) {
    plain(object, Kind::kExtension, "EXTENSION", " SCHEMA " + row[kOwn]);
    catalog_.needs[row[3]].insert("schema " + row[kOwn]);
  }
  void type(const Row& row, Object& object) {
    const std::string form = row[kOwn];
    object.facts["form"] = form;
    if (form == "d")
      plain(object, Kind::kType, "DOMAIN", " AS " + object.definition);
    else
      plain(object, Kind::kType, "TYPE", (form == "e" ? " AS ENUM (" : " AS (") + object.definition + ")");
  }
  void sequence(const Row&, Object& object) { plain(object, Kind::kSequence, "SEQUENCE", " " + object.definition); }
  void table(const Row& row, Object& object) {
    plain(object, Kind::kTable, "TABLE", "");
    object.facts["persistence"] = row[kOwn];
    object.facts["partition"] = row[kOwn + 1];
    object.facts["parent"] = row[kOwn + 2];
    object.facts["bound"] = row[kOwn + 3];
    object.facts["key"] = row[kOwn + 4];
    if (row[kOwn + 1] == "t") catalog_.needs[row[3]].insert("table " + row[kOwn + 2]);
  }
  void column(const Row& row, Object& object) {
    object.kind = Kind::kColumn;
    const std::string of = object.table.substr(object.table.find(' ') + 1);
    const char* names[] = {"type", "collation", "not_null", "default", "identity", "generated", "type_form"};
    for (int i = 0; i < 7; ++i) object.facts[names[i]] = row[kOwn + i];
    const auto fact = [&object](const char* name) { return object.fact(name); };
    std::string text = object.name + " " + fact("type");
    if (!fact("collation").empty()) text += " COLLATE " + fact("collation");
    if (fact("generated") == "s")
      text += " GENERATED ALWAYS AS (" + fact("default") + ") STORED";
    else if (!fact("identity").empty())
      text += fact("identity") == "a" ? " GENERATED ALWAYS AS IDENTITY" : " GENERATED BY DEFAULT AS IDENTITY";
    else if (!fact("default").empty())
      text += " DEFAULT " + fact("default");
    if (!fact("not_null").empty()) text += " NOT NULL";
    object.definition = text;
    object.facts["number"] = fmt::format("{:>6}", row[2]);
    object.create = "ALTER TABLE " + of + " ADD COLUMN " + text;
    object.drop = "ALTER TABLE " + of + " DROP COLUMN " + object.name;
    object.comment_on = "COLUMN " + of + "." + object.name;
  }
  void ownership(const Row& row, Object& object) {
    object.kind = Kind::kOwnership;
    object.create = "ALTER SEQUENCE " + object.name + " OWNED BY " + object.definition;
    object.drop = "ALTER SEQUENCE " + object.name + " OWNED BY NONE";
    catalog_.needs[row[3]].insert("sequence " + object.name);
    catalog_.needs[row[3]].insert("column " + object.definition);
  }
  void constraint(const Row& row, Object& object) {
    object.kind = Kind::kConstraint;
    const bool of_domain = object.table.starts_with("type ");
    const std::string alter = (of_domain ? "ALTER DOMAIN " : "ALTER TABLE ") + row[kOwn + 1];
    object.facts["type"] = row[kOwn];
    object.create = alter + " ADD CONSTRAINT " + object.name + " " + object.definition;
    object.drop = alter + " DROP CONSTRAINT " + object.name;
    object.comment_on = "CONSTRAINT " + object.name + " ON " + (of_domain ? "DOMAIN " : "") + row[kOwn + 1];
  }
  void index(const Row&, Object& object) {
    plain(object, Kind::kIndex, "INDEX", "");
    object.create = object.definition;
  }
  void function(const Row& row, Object& object) {
    plain(object, Kind::kFunction, row[kOwn + 1], "");
    object.create = object.definition;
    while (object.create.ends_with('\n')) object.create.pop_back();
    object.facts["head"] = row[kOwn];
  }
  void view(const Row& row, Object& object) {
    const bool materialized = row[kOwn] == "m";
    const std::string options = row[kOwn + 1].empty() ? "" : " WITH (" + row[kOwn + 1] + ")";
    plain(object, Kind::kView, materialized ? "MATERIALIZED VIEW" : "VIEW", options + " AS\n" + object.definition);
    object.definition += materialized ? " MATERIALIZED" : "";
    object.definition += options;
    object.facts["materialized"] = materialized ? "t" : "";
    object.facts["columns"] = row[kOwn + 2];
  }
  void trigger(const Row& row, Object& object) {
    object.kind = Kind::kTrigger;
    object.create = object.definition;
    object.drop = "DROP TRIGGER " + object.name + " ON " + row[kOwn];
    object.comment_on = "TRIGGER " + object.name + " ON " + row[kOwn];
  }

  void read_dependencies() {
    std::map<std::pair<std::string, std::string>, Address> aliases;
    const Result other = run(kAliases, false);
    for (int i = 0; i < PQntuples(other.get()); ++i) {
      const Row row{other.get(), i};
      aliases[{row[0], row[1]}] = {row[2], row[3], row[4]};
    }
    const auto key_of = [&](Address address) -> std::string {
      for (int steps = 0; steps < 3; ++steps) {
        if (const auto found = keys_.find(address); found != keys_.end()) return found->second;
        const auto alias = aliases.find({address[0], address[1]});
        if (alias == aliases.end()) break;
        address = alias->second;
      }
      // A column that is none of its own, such as a view's: the whole.
      const auto whole = keys_.find({address[0], address[1], "0"});
      return whole == keys_.end() ? "" : whole->second;
    };
    const Result edges = run(kDependencies, false);
    for (int i = 0; i < PQntuples(edges.get()); ++i) {
      const Row row{edges.get(), i};
      const std::string from = key_of({row[0], row[1], row[2]}), to = key_of({row[3], row[4], row[5]});
      // That a sequence goes with its column is an object of its own.
      if (from.empty() || to.empty() || from == to || from.starts_with("sequence ")) continue;
      catalog_.needs[from].insert(to);
    }
    // A sequence lives in a schema, though.
    for (const auto& [key, object] : catalog_.objects)
      if (object.kind == Kind::kSequence)
        catalog_.needs[key].insert("schema " + object.name.substr(0, object.name.find('.')));
  }

  PGconn* connection_;
  std::string schemas_;
  Catalog catalog_;
  std::map<Address, std::string> keys_;
};

}  // namespace

std::vector<std::string> list_schemas(PGconn* connection) {
  const Result result(PQexec(connection, kListSchemas), &PQclear);
  std::vector<std::string> schemas;
  for (int row = 0; row < PQntuples(result.get()); ++row) schemas.emplace_back(PQgetvalue(result.get(), row, 0));
  return schemas;
}

Catalog read_catalog(PGconn* connection, const std::vector<std::string>& schemas) {
  return Reader(connection, schemas).read();
}

}  // namespace cairn::schema
