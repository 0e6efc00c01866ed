#include "schema/difference.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "schema/hazards.h"

namespace cairn::schema {
namespace {

using Keys = std::set<std::string>;

Error impossible(const Object& object, const std::string& why) {
  return Error(ErrorCode::kNotImplemented,
               object.name + " cannot be brought to its new form by statements: " + why + "; write this step by hand");
}

std::string after_word(const std::string& key) { return key.substr(key.find(' ') + 1); }

std::vector<std::string> labels_of(const Object& type) {
  std::vector<std::string> labels;
  std::string label;
  bool quoted = false;
  for (const char c : type.definition) {
    if (c == '\'') quoted = !quoted;
    if (!quoted && (c == ',' || c == ' ')) {
      if (!label.empty()) labels.push_back(std::exchange(label, ""));
    } else {
      label += c;
    }
  }
  if (!label.empty()) labels.push_back(label);
  return labels;
}

// Whether all labels of `from` are in `to`, in their order.
bool only_adds_labels(const Object& from, const Object& to) {
  const auto all = labels_of(to);
  auto at = all.begin();
  for (const std::string& label : labels_of(from)) {
    at = std::find(at, all.end(), label);
    if (at == all.end()) return false;
    ++at;
  }
  return true;
}

class Differ {
 public:
  Differ(const Catalog& from, const Catalog& to) : from_(from), to_(to) {}

  std::vector<Change> run() {
    for (const auto& [key, needed] : from_.needs)
      for (const std::string& need : needed) users_[need].insert(key);
    compare();
    find_labels_in_use();
    make_room();
    if (std::ranges::any_of(made_, [&](const std::string& key) { return to_.find(key)->kind == Kind::kFunction; }) ||
        std::ranges::any_of(altered_, [&](const std::string& key) { return to_.find(key)->kind == Kind::kFunction; }))
      add("SET LOCAL check_function_bodies = off", "");  // they may name what is made further down
    drop();
    make();
    comment();
    return std::move(changes_);
  }

 private:
  void add(std::string sql, std::string warning) { changes_.push_back({std::move(sql), std::move(warning)}); }

  void compare() {
    for (const auto& [key, object] : from_.objects)
      if (to_.find(key) == nullptr) dropped_.insert(key);
    for (const auto& [key, object] : to_.objects) {
      const Object* before = from_.find(key);
      if (before == nullptr)
        made_.insert(key);
      else if (before->definition != object.definition)
        compare(key, *before, object);
    }
  }

  void compare(const std::string& key, const Object& before, const Object& after) {
    switch (after.kind) {
      case Kind::kTable:
        throw impossible(after, "it is partitioned, attached or logged otherwise");
      case Kind::kType:
        if (after.fact("form") != "e" || before.fact("form") != "e")
          throw impossible(after, "its type of values changes");
        altered_.insert(key);
        if (!only_adds_labels(before, after)) replaced_types_.insert(key);
        return;
      case Kind::kColumn:
        if (before.fact("generated") != after.fact("generated") ||
            (after.fact("generated") == "s" && before.definition != after.definition))
          return make_again(key);
        altered_.insert(key);
        if (retypes(before, after)) retyped_.insert(key);
        return;
      case Kind::kSequence:
        altered_.insert(key);
        return;
      case Kind::kFunction:
        if (before.fact("head") == after.fact("head"))
          altered_.insert(key);
        else
          make_again(key);
        return;
      case Kind::kView:
        if (before.fact("materialized").empty() && after.fact("materialized").empty() &&
            after.fact("columns").starts_with(before.fact("columns")))
          altered_.insert(key);
        else
          make_again(key);
        return;
      default:
        make_again(key);
    }
  }

  // A label that is added cannot be used in the same transaction, but one of a new type can.
  void find_labels_in_use() {
    for (const std::string& type : altered_) {
      if (to_.find(type)->kind != Kind::kType) continue;
      const auto had = labels_of(*from_.find(type));
      for (const std::string& label : labels_of(*to_.find(type)))
        if (std::ranges::find(had, label) == had.end() && uses(type, label)) replaced_types_.insert(type);
    }
  }
  bool uses(const std::string& type, const std::string& label) const {
    return std::ranges::any_of(to_.needs, [&](const auto& entry) {
      return (made_.contains(entry.first) || altered_.contains(entry.first)) && entry.second.contains(type) &&
             to_.find(entry.first)->definition.find(label) != std::string::npos;
    });
  }

  static bool retypes(const Object& before, const Object& after) {
    return before.fact("type") != after.fact("type") || before.fact("collation") != after.fact("collation");
  }

  void make_again(const std::string& key) {
    dropped_.insert(key);
    if (to_.find(key) != nullptr) made_.insert(key);
    altered_.erase(key);
  }

  // What stands in the way of a drop or of a new type goes, too, and comes back if it is wanted.
  void make_room() {
    for (const std::string& type : replaced_types_)
      for (const std::string& user : users_[type])
        if (from_.find(user)->kind == Kind::kColumn && to_.find(user) != nullptr) {
          retyped_.insert(user);
          replaced_columns_.insert(user);
        }
    std::vector<std::string> work(dropped_.begin(), dropped_.end());
    work.insert(work.end(), retyped_.begin(), retyped_.end());
    work.insert(work.end(), replaced_types_.begin(), replaced_types_.end());
    while (!work.empty()) {
      const std::string key = work.back();
      work.pop_back();
      const bool goes = dropped_.contains(key) || replaced_types_.contains(key);
      for (const std::string& user : users_[key]) {
        if (dropped_.contains(user) || !stands_in_the_way(user, key, goes)) continue;
        make_again(user);
        work.push_back(user);
      }
    }
  }

  bool stands_in_the_way(const std::string& user, const std::string& key, bool goes) {
    const Object& object = *from_.find(user);
    if (object.kind == Kind::kColumn) {
      if (object.fact("generated") == "s") return true;
      if (goes && !replaced_types_.contains(key) && !object.fact("default").empty()) freed_.insert(user);
      return false;
    }
    if (object.kind == Kind::kTable || object.kind == Kind::kSequence || object.kind == Kind::kSchema) return false;
    if (goes) return true;
    // A new type: PostgreSQL itself sees to indexes and constraints, but for what it would not find again.
    if (object.kind == Kind::kOwnership) return false;
    if (object.kind == Kind::kIndex || object.kind == Kind::kConstraint)
      return replaced_columns_.contains(key) || object.fact("type") == "f";
    return true;
  }

  // -- dropped -------------------------------------------------------------------------------------------------------

  bool goes_with_its_table(const std::string& key, const Object& object) const {
    if (object.kind == Kind::kConstraint && object.fact("type") == "f") return false;
    if (object.kind == Kind::kOwnership) return dropped_.contains("sequence " + object.name) && owner_goes(object);
    if (object.kind == Kind::kSequence) {
      const Object* ownership = from_.find("ownership " + object.name);
      return ownership != nullptr && owner_goes(*ownership);
    }
    return !object.table.empty() && object.table != key && dropped_.contains(object.table);
  }
  // What it may have been renamed to; that is for a person to know.
  std::string rename_hint(const std::string& key, const Object& object) const {
    if (to_.find(key) != nullptr || (object.kind != Kind::kColumn && object.kind != Kind::kTable)) return "";
    const bool column = object.kind == Kind::kColumn;
    std::vector<std::string> others;
    for (const std::string& made : made_) {
      const Object& other = *to_.find(made);
      if (from_.find(made) != nullptr || other.kind != object.kind || other.table != object.table) continue;
      if (column ? !retypes(object, other) : columns_of(from_, key) == columns_of(to_, made))
        others.push_back(other.name);
    }
    if (others.empty()) return "";
    std::string text = "; was it renamed? " + others.front();
    for (size_t i = 1; i < others.size(); ++i) text += " or " + others[i];
    const std::string same = column ? ", of the same type," : ", with the same columns,";
    const std::string table = column ? after_word(object.table) + " RENAME COLUMN " : "";
    const std::string short_name = others.front().substr(others.front().rfind('.') + 1);
    return text + same + " is made: if so, write ALTER TABLE " +
           (column ? table + object.name + " TO " + others.front() : object.name + " RENAME TO " + short_name) +
           " instead of both, and keep what is in it";
  }
  static std::vector<std::string> columns_of(const Catalog& catalog, const std::string& table) {
    std::vector<std::string> columns;
    for (const auto& [key, object] : catalog.objects)
      if (object.kind == Kind::kColumn && object.table == table) columns.push_back(object.name + object.fact("type"));
    return columns;
  }
  bool owner_goes(const Object& ownership) const {
    return dropped_.contains("column " + ownership.definition) || dropped_.contains(ownership.table);
  }

  void drop() {
    // Its sequence may have a name that is wanted.
    for (const std::string& key : altered_) {
      const Object &before = *from_.find(key), &after = *to_.find(key);
      if (!before.fact("identity").empty() && before.fact("identity") != after.fact("identity"))
        add("ALTER TABLE " + after_word(before.table) + " ALTER COLUMN " + before.name + " DROP IDENTITY", "");
    }
    for (const std::string& key : freed_) {
      if (dropped_.contains(key)) continue;
      add("ALTER TABLE " + after_word(from_.find(key)->table) + " ALTER COLUMN " + from_.find(key)->name +
              " DROP DEFAULT",
          "");
      altered_.insert(key);
    }
    Keys done;
    const std::function<void(const std::string&)> visit = [&](const std::string& key) {
      if (!done.insert(key).second) return;
      const Object& object = *from_.find(key);
      const bool goes_along = goes_with_its_table(key, object);
      if (goes_along && dropped_.contains(object.table)) visit(object.table);
      for (const std::string& user : users_[key])
        if (dropped_.contains(user)) visit(user);
      // Who needs a column of it needs it.
      if (object.kind == Kind::kTable)
        for (const auto& [column, part] : from_.objects)
          if (part.table == key)
            for (const std::string& user : users_[column])
              if (dropped_.contains(user)) visit(user);
      if (!goes_along) add(object.drop, hazard_of_drop(object, made_.contains(key)) + rename_hint(key, object));
    };
    for (const std::string& key : dropped_) visit(key);
  }

  // -- made ----------------------------------------------------------------------------------------------------------

  // A new table's columns are made with it.
  std::string maker(const std::string& key) const {
    const Object* object = to_.find(key);
    return object != nullptr && object->kind == Kind::kColumn && made_.contains(object->table) ? object->table : key;
  }

  // What has to be there before; columns stand for their tables.
  std::map<std::string, Keys> needs_of_makers(const Keys& nodes) const {
    std::map<std::string, Keys> needs;
    for (const auto& [key, needed] : to_.needs) {
      const std::string node = maker(key);
      if (!nodes.contains(node)) continue;
      for (const std::string& need : needed) {
        const std::string before = maker(need);
        if (before != node && nodes.contains(before)) needs[node].insert(before);
      }
    }
    return needs;
  }

  static std::string number(const Object& object) { return object.fact("number"); }

  void make() {
    Keys nodes;
    for (const Keys* keys : {&made_, &altered_})
      for (const std::string& key : *keys)
        if (maker(key) == key) nodes.insert(key);
    std::map<std::string, Keys> needs = needs_of_makers(nodes);
    const auto earlier = [this](const std::string& a, const std::string& b) {
      const Object &x = *to_.find(a), &y = *to_.find(b);
      return std::tuple(x.kind, x.table, number(x), a) < std::tuple(y.kind, y.table, number(y), b);
    };
    std::vector<std::string> left(nodes.begin(), nodes.end());
    std::ranges::sort(left, earlier);
    while (!left.empty()) {
      // The first that needs nothing that is left; in a circle, the first.
      const auto ready = std::ranges::find_if(left, [&](const std::string& key) { return needs[key].empty(); });
      const std::string key = ready == left.end() ? left.front() : *ready;
      std::erase(left, key);
      for (auto& [node, needed] : needs) needed.erase(key);
      if (made_.contains(key))
        create(key, *to_.find(key));
      else
        alter(key, *from_.find(key), *to_.find(key));
    }
  }

  bool is_new(const std::string& table) const { return table.empty() || from_.find(table) == nullptr; }

  void create(const std::string& key, const Object& object) {
    const std::string sql = object.kind == Kind::kTable ? create_table(key, object) : object.create;
    add(sql, is_new(object.table) ? "" : hazard_of_creation(object));
  }

  std::string create_table(const std::string& key, const Object& table) const {
    const std::string head = table.fact("persistence") == "u" ? "CREATE UNLOGGED TABLE " : "CREATE TABLE ";
    const std::string by = table.fact("key").empty() ? "" : " PARTITION BY " + table.fact("key");
    if (table.fact("partition") == "t")
      return head + table.name + " PARTITION OF " + table.fact("parent") + " " + table.fact("bound") + by;
    std::vector<const Object*> columns;
    for (const auto& [name, object] : to_.objects)
      if (object.kind == Kind::kColumn && object.table == key) columns.push_back(&object);
    std::ranges::sort(columns, {}, [](const Object* column) { return number(*column); });
    std::string text = head + table.name + " (";
    for (const Object* column : columns) text += (column == columns.front() ? "\n  " : ",\n  ") + column->definition;
    return text + "\n)" + by;
  }

  void alter(const std::string& key, const Object& before, const Object& after) {
    switch (after.kind) {
      case Kind::kColumn:
        return alter_column(key, before, after);
      case Kind::kType:
        return alter_enum(key, before, after);
      case Kind::kSequence:
        return add("ALTER SEQUENCE " + after.name + " " + after.definition, "");
      default: {
        // CREATE OR REPLACE: a function's definition says so already.
        std::string sql = after.create;
        if (after.kind == Kind::kView) sql.replace(0, 6, "CREATE OR REPLACE");
        add(sql, "");
      }
    }
  }

  void alter_column(const std::string& key, const Object& before, const Object& after) {
    const std::string table = "ALTER TABLE " + after_word(after.table), head = table + " ALTER COLUMN " + after.name;
    const auto changes = [&](const char* fact) { return before.fact(fact) != after.fact(fact); };
    const bool retyped = retypes(before, after);
    const bool freed = freed_.contains(key) || replaced_columns_.contains(key);
    const bool default_changes = changes("default") || freed || retyped;
    if (default_changes && !before.fact("default").empty() && !freed_.contains(key) &&
        !replaced_columns_.contains(key) && (retyped || after.fact("default").empty()))
      add(head + " DROP DEFAULT", "");
    if (retyped) {
      const std::string collation = after.fact("collation").empty() ? "" : " COLLATE " + after.fact("collation");
      add(head + " TYPE " + after.fact("type") + collation + " USING " + after.name + "::" + after.fact("type"),
          hazard_of_type(before, after));
    }
    if (default_changes && !after.fact("default").empty()) add(head + " SET DEFAULT " + after.fact("default"), "");
    if (changes("not_null")) {
      const bool set = !after.fact("not_null").empty();
      add(head + (set ? " SET NOT NULL" : " DROP NOT NULL"), set ? hazard_of_not_null(after) : "");
    }
    if (changes("identity") && !after.fact("identity").empty())
      add(head + " ADD GENERATED " + (after.fact("identity") == "a" ? "ALWAYS" : "BY DEFAULT") + " AS IDENTITY", "");
  }

  void alter_enum(const std::string& key, const Object& before, const Object& after) {
    if (replaced_types_.contains(key)) return replace_enum(key, after);
    const auto had = labels_of(before), wanted = labels_of(after);
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (std::ranges::find(had, wanted[i]) != had.end()) continue;
      add("ALTER TYPE " + after.name + " ADD VALUE " + wanted[i] +
              (i == 0 ? " BEFORE " + wanted[1] : " AFTER " + wanted[i - 1]),
          "the value can be used once this step is committed");
    }
  }

  // A label cannot be taken away: the type is made again, and its columns go over to it.
  void replace_enum(const std::string& key, const Object& after) {
    const std::string schema = after.name.substr(0, after.name.find('.')), old = "cairn_old_type";
    for (const std::string& column : replaced_columns_)
      if (users_[key].contains(column) && !from_.find(column)->fact("default").empty())
        add("ALTER TABLE " + after_word(from_.find(column)->table) + " ALTER COLUMN " + from_.find(column)->name +
                " DROP DEFAULT",
            "");
    add("ALTER TYPE " + after.name + " RENAME TO " + old, "");
    add(after.create, "");
    for (const std::string& column : replaced_columns_) {
      if (!users_[key].contains(column)) continue;
      const Object& now = *to_.find(column);
      const bool array = from_.find(column)->fact("type").ends_with("[]");
      const std::string type = after.name + (array ? "[]" : "");
      add("ALTER TABLE " + after_word(now.table) + " ALTER COLUMN " + now.name + " TYPE " + type + " USING " +
              now.name + "::text" + (array ? "[]" : "") + "::" + type,
          "it rewrites the table under ACCESS EXCLUSIVE, and fails where a row has a value that is no more");
      altered_columns_later(column);
    }
    add("DROP TYPE " + schema + "." + old, "");
  }

  // Its default went before the type.
  void altered_columns_later(const std::string& column) {
    const Object& now = *to_.find(column);
    if (!altered_.contains(column) && !now.fact("default").empty())
      add("ALTER TABLE " + after_word(now.table) + " ALTER COLUMN " + now.name + " SET DEFAULT " + now.fact("default"),
          "");
  }

  // -- comments ------------------------------------------------------------------------------------------------------

  void comment() {
    for (const auto& [key, object] : to_.objects) {
      if (object.comment_on.empty()) continue;
      const Object* before = made_.contains(key) ? nullptr : from_.find(key);
      const std::string had = before != nullptr ? before->comment : "";
      if (had == object.comment) continue;
      std::string quoted = "'";
      for (const char c : object.comment) quoted += c == '\'' ? "''" : std::string(1, c);
      add("COMMENT ON " + object.comment_on + " IS " + (object.comment.empty() ? "NULL" : quoted + "'"), "");
    }
  }

  const Catalog& from_;
  const Catalog& to_;
  std::map<std::string, Keys> users_;  // the other way round than from_.needs
  Keys dropped_, made_, altered_;
  Keys retyped_;           // columns whose type or collation changes
  Keys replaced_types_;    // enumerations that lose a label
  Keys replaced_columns_;  // columns of those
  Keys freed_;             // columns whose default needs what goes
  std::vector<Change> changes_;
};

}  // namespace

std::vector<Change> difference(const Catalog& from, const Catalog& to) { return Differ(from, to).run(); }

}  // namespace cairn::schema
