#include <gtest/gtest.h>

#include "base/error.h"
#include "tracking/graphql_query.h"
#include "tracking/graphql_schema.h"

namespace cairn::tracking {
namespace {

// a:name(argument=value){…} for each field.
std::string show(const std::vector<GraphqlField>& fields) {
  std::string out;
  for (const GraphqlField& field : fields) {
    out += (out.empty() ? "" : " ") + (field.alias == field.name ? "" : field.alias + ":") + field.name;
    for (const auto& [name, value] : field.arguments) out += "(" + name + "=" + value + ")";
    if (field.has_selection) out += "{" + show(field.fields) + "}";
  }
  return out;
}

std::string parsed(std::string_view text, std::string_view operation = "", std::string_view variables = "{}") {
  const json::Document document(variables);
  const json::Fields values = json::root_fields(document);
  return show(parse_graphql(text, operation, &values));
}

std::string refusal(std::string_view text, std::string_view operation = "") {
  try {
    parsed(text, operation);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
    return error.what();
  }
}

TEST(GraphqlQuery, PutsFragmentsAndVariablesIn) {
  EXPECT_EQ(
      parsed("query Q($x: [String!]! = [\"d\"], $y: Int) @component(name: \"N\") { a: b(input: $x, n: $y) { ...F } }"
             " fragment F on T { c ... on U { d } ... { c } }",
             "", R"({"y": 5})"),
      R"(a:b(input=["d"])(n=5){c d})");
  EXPECT_EQ(parsed("{ f(input: {s: \"q\\\"\", e: ENUM, l: [1, -2.5e3], b: true, n: null, o: {}}) { x } } # end"),
            R"(f(input={"s":"q\"","e":"ENUM","l":[1,-2.5e3],"b":true,"n":null,"o":{}}){x})");
  EXPECT_EQ(parsed("{ f(t: \"\"\"a \"b\"\n\"\"\") }"), R"(f(t="a \"b\"\n"))");
}

TEST(GraphqlQuery, FieldsOfOneAliasAreOne) {
  EXPECT_EQ(parsed("{ run { info { a } } run { info { b a } data { c } } }"), "run{info{a b} data{c}}");
  EXPECT_EQ(refusal("{ a: x a: y }"), "Fields 'a' conflict: give one of them another alias.");
}

TEST(GraphqlQuery, SkipsAndIncludes) {
  EXPECT_EQ(
      parsed(
          "{ a @skip(if: true) b @include(if: $no) c @include(if: true) ...F @skip(if: true) } fragment F on T { d }",
          "", R"({"no": false})"),
      "c");
}

TEST(GraphqlQuery, ChoosesTheOperation) {
  EXPECT_EQ(parsed("query A { a } mutation B { b }", "B"), "b");
  EXPECT_NE(refusal("query A { a } query B { b }"), "");
  EXPECT_NE(refusal("query A { a }", "C"), "");
  EXPECT_NE(refusal("fragment F on T { a }"), "");
}

TEST(GraphqlQuery, SaysWhereItIsWrong) {
  EXPECT_EQ(refusal("{\n  a(\n"), "Syntax error in the GraphQL query, line 3: expected a name, found the end");
  for (const char* text :
       {"", "{", "{bad", "}", "{ a: }", "{ a(b) }", "{ a(b: ", "{ a(b: \"x) }", "{ \"a\" }", "{ ... }", "{ ...F }",
        "query ($x) { a }", "{ a @ }", "{ a(b: [1) }", "subscription { a }"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
}

TEST(GraphqlQuery, DepthAndSizeAreBounded) {
  std::string deep = "query ";
  for (int i = 0; i < 10000; ++i) deep += "{ a ";
  EXPECT_NE(refusal(deep), "");
  EXPECT_NE(refusal("{ a(b: " + std::string(100000, '[')), "");
  EXPECT_NE(refusal("{ ...F } fragment F on T { ...F }"), "");
  // Each fragment is its successor twice: two to the power of twenty fields.
  std::string bomb = "{ ...F0 }";
  for (int i = 0; i < 20; ++i) {
    const std::string next = "...F" + std::to_string(i + 1);
    bomb +=
        " fragment F" + std::to_string(i) + " on T { a" + std::to_string(i) + " { " + next + " } b { " + next + " } }";
  }
  EXPECT_NE(refusal(bomb + " fragment F20 on T { a }"), "");
}

std::string projected(std::string_view query, std::string_view type, std::string_view text,
                      std::vector<std::string>& errors) {
  const std::vector<GraphqlField> fields = parse_graphql(query, "", nullptr);
  check_graphql(fields, type);
  const json::Document document(text);
  std::string out;
  json::Writer writer(out);
  write_graphql(writer, fields, type, document.root(), errors);
  return out;
}

TEST(GraphqlSchema, WhatIsLeftOutIsEmpty) {
  std::vector<std::string> errors;
  EXPECT_EQ(projected("{ info { runName endTime status } data { metrics { key } } inputs { modelInputs { modelId } } }",
                      "MlflowRunExtension", R"({"info": {"run_name": "r"}, "data": {}})", errors),
            R"({"info":{"runName":"r","endTime":"0","status":null},"data":{"metrics":[]},"inputs":null})");
  EXPECT_EQ(projected("{ files { __typename p: path isDir fileSize } }", "MlflowListArtifactsResponse",
                      R"({"files": [{"path": "a", "is_dir": false, "file_size": 9007199254740993}]})", errors),
            R"({"files":[{"__typename":"MlflowFileInfo","p":"a","isDir":false,"fileSize":"9007199254740993"}]})");
  EXPECT_TRUE(errors.empty());
}

TEST(GraphqlSchema, AFloatThatIsNoNumberIsAnError) {
  std::vector<std::string> errors;
  EXPECT_EQ(projected("{ metrics { value } }", "MlflowRunData", R"({"metrics": [{"value": "NaN"}, {"value": 1e-7}]})",
                      errors),
            R"({"metrics":[{"value":null},{"value":1e-07}]})");
  EXPECT_EQ(errors, std::vector<std::string>{"Float cannot represent non numeric value: nan"});
}

TEST(GraphqlSchema, RefusesFieldsThatAreNotThere) {
  std::vector<std::string> errors;
  EXPECT_THROW(projected("{ bogus }", "MlflowRunData", "{}", errors), Error);
  EXPECT_THROW(projected("{ metrics }", "MlflowRunData", "{}", errors), Error);
  EXPECT_THROW(projected("{ key { x } }", "MlflowParam", "{}", errors), Error);
}

}  // namespace
}  // namespace cairn::tracking
