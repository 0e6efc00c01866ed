// Feast's registry without Feast: out and in again gives what was there. That Feast reads it, test_feast.py shows.
#include "features/feast_registry.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "features/protobuf.h"

namespace cairn::features {
namespace {

using protobuf::Message;

// As DefinitionStore::as_json() orders it.
constexpr const char* kDefinitions = R"({
  "entities": [
    {"name": "city", "tags": {}, "join_key": "city", "value_type": "string", "description": ""},
    {"name": "driver", "tags": {"team": "Löwe"}, "join_key": "driver_id", "value_type": "int64", "description": "who drives"}],
  "feature_views": [
    {"name": "in_city", "tags": {}, "ttl_s": 0, "entities": ["driver", "city"], "push_source": null, "description": "",
     "features": [{"name": "rank", "tags": {}, "value_type": "double", "description": ""}]},
    {"name": "stats", "tags": {"k": "v"}, "ttl_s": 1.5, "entities": ["driver"], "push_source": "trips", "description": "d",
     "features": [{"name": "conv_rate", "tags": {"unit": "1"}, "value_type": "float", "description": "share"},
                  {"name": "embedding", "tags": {}, "value_type": "vector", "description": "", "vector_length": 3,
                   "vector_search_metric": "l2"},
                  {"name": "id", "tags": {}, "value_type": "uuid", "description": ""},
                  {"name": "any", "tags": {}, "value_type": "json", "description": ""},
                  {"name": "names", "tags": {}, "value_type": "string_list", "description": ""}]}],
  "feature_services": [{"name": "ranking", "tags": {}, "features": ["stats:id", "in_city:rank", "stats:conv_rate"],
                        "description": "x"}]})";

std::string written() {
  return registry_of(json::Document(kDefinitions).root(), {.project = "rides", .now_s = 1'800'000'000});
}

std::string view_names(const ImportedRegistry& imported) {
  const json::Document document(imported.declaration);
  std::string names;
  for (const auto view : document.root()["feature_views"].get_array())
    names += std::string(view["name"].get_string().value()) + " ";
  return names;
}

TEST(FeastRegistry, WhatIsWrittenIsReadBack) {
  const ImportedRegistry imported = declaration_of(written(), "rides");
  EXPECT_TRUE(imported.left_out.empty());
  const json::Document declared(imported.declaration), expected(kDefinitions);
  EXPECT_EQ(
      simdjson::minify(declared.root()["entities"].at(1)),
      R"({"name":"driver","join_key":"driver_id","value_type":"int64","description":"who drives","tags":{"team":"Löwe"}})");
  EXPECT_EQ(
      simdjson::minify(declared.root()["feature_views"].at(1)),
      R"({"name":"stats","ttl_s":1.5,"description":"d","push_source":"trips","tags":{"k":"v"},"entities":["driver"],"features":[)"
      R"({"name":"conv_rate","value_type":"float","description":"share","tags":{"unit":"1"}},)"
      R"({"name":"embedding","value_type":"vector","description":"","vector_length":3,"vector_search_metric":"l2","tags":{}},)"
      R"({"name":"id","value_type":"uuid","description":"","tags":{}},{"name":"any","value_type":"json","description":"","tags":{}},)"
      R"({"name":"names","value_type":"string_list","description":"","tags":{}}]})");
  // A service keeps its features view by view.
  EXPECT_EQ(simdjson::minify(declared.root()["feature_services"].at(0)["features"]),
            R"(["stats:id","stats:conv_rate","in_city:rank"])");
}

TEST(FeastRegistry, WhatIsDamagedIsRefused) {
  const std::string bytes = written();
  int refused = 0;
  for (size_t length = 0; length < bytes.size(); ++length) {
    try {
      declaration_of(bytes.substr(0, length), "");
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
      ++refused;
    }
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size() / 2));
  EXPECT_THROW(declaration_of("<html>", ""), Error);
  EXPECT_THROW(declaration_of(std::string(20, '\xff'), ""), Error);
}

TEST(FeastRegistry, WhatHasNoCounterpartIsNamed) {
  const auto view = [](const char* name, const char* project, uint64_t type) {
    const Message spec =
        Message().text(1, name).text(2, project).text(3, "driver").message(4, Message().text(1, "f").number(2, type));
    return Message().message(1, spec);
  };
  Message registry;
  registry.message(1, Message().message(1, Message().text(1, "driver").text(4, "driver").number(2, 4).text(9, "a")));
  registry.message(6, view("known", "a", 5)).message(6, view("set", "a", 26)).message(6, view("other", "b", 5));
  registry.message(8, Message().message(1, Message().text(1, "computed").text(2, "a")));
  registry.message(14, view("stream", "a", 4));
  EXPECT_THROW(declaration_of(registry.bytes(), ""), Error);  // two projects
  EXPECT_THROW(declaration_of(registry.bytes(), "c"), Error);
  const ImportedRegistry imported = declaration_of(registry.bytes(), "a");
  EXPECT_EQ(view_names(imported), "known stream ");
  EXPECT_EQ(imported.left_out.size(), 3u);
  EXPECT_EQ(imported.left_out[0], "feature set:f: no type here is Feast's number 26");
  EXPECT_EQ(imported.left_out[2], "feature view computed: it is computed when it is asked for, by Python");
}

TEST(FeastRegistry, AnOnDemandViewIsNamedWhateverItHolds) {
  Message registry;
  registry.message(1, Message().message(1, Message().text(1, "driver").text(4, "driver").number(2, 4)));
  // Sources and a pickled function, where a feature view has its entities, its features and their types.
  const Message sources = Message().text(1, "in").message(2, Message().text(1, "\xff\x00"));
  registry.message(8, Message().message(1, Message()
                                               .text(1, "computed")
                                               .message(3, Message().number(1, 7))
                                               .message(4, sources)
                                               .message(5, Message().text(2, "\x80\x04"))));
  EXPECT_EQ(declaration_of(registry.bytes(), "").left_out,
            std::vector<std::string>{"feature view computed: it is computed when it is asked for, by Python"});
}

TEST(FeastRegistry, AServiceThatRenamesIsLeftOut) {
  Message registry;
  registry.message(1, Message().message(1, Message().text(1, "driver").text(4, "driver").number(2, 4)));
  const Message view = Message().text(1, "v").text(3, "driver").message(4, Message().text(1, "f").number(2, 5));
  registry.message(6, Message().message(1, view));
  const auto service = [](const char* name, const Message& projection) {
    return Message().message(1, Message().text(1, name).message(3, projection));
  };
  registry.message(7, service("plain", Message().text(1, "v")));
  registry.message(7, service("alias", Message().text(1, "v").text(3, "other")));
  registry.message(7,
                   service("keys", Message().text(1, "v").message(4, Message().text(1, "driver").text(2, "origin"))));
  const ImportedRegistry imported = declaration_of(registry.bytes(), "");
  const json::Document document(imported.declaration);
  EXPECT_EQ(document.root()["feature_services"].get_array().size(), 1u);
  EXPECT_EQ(imported.left_out.size(), 2u);
}

TEST(FeastRegistry, OfEntitiesOfOneJoinKeyTheFirstStandsForAll) {
  const auto entity = [](const char* name, uint64_t type) {
    return Message().message(1, Message().text(1, name).text(4, type == 7 ? "flag" : "id").number(2, type));
  };
  const auto view = [](const char* name, const char* of) {
    return Message().message(1, Message().text(1, name).text(3, of).message(4, Message().text(1, "f").number(2, 5)));
  };
  Message registry;
  registry.message(1, entity("driver", 4)).message(1, entity("courier", 4)).message(1, entity("flag", 7));
  registry.message(6, view("a", "courier")).message(6, view("b", "flag"));
  const ImportedRegistry imported = declaration_of(registry.bytes(), "");
  EXPECT_EQ(view_names(imported), "a ");
  const json::Document document(imported.declaration);
  EXPECT_EQ(simdjson::minify(document.root()["feature_views"].at(0)["entities"]), R"(["driver"])");
  EXPECT_EQ(imported.left_out.size(), 3u);  // courier, flag, and the view of flag
}

}  // namespace
}  // namespace cairn::features
