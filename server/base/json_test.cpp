#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace cairn::json {
namespace {

std::string number_text(double value) {
  std::string out;
  Writer(out).number(value);
  return out;
}

TEST(Json, DoublesReadBackEqual) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const std::string text = R"({"v":)" + number_text(value) + "}";
    const Document document(text);
    ASSERT_EQ(root_fields(document).number("v"), value) << text;
  }
  EXPECT_EQ(number_text(std::nan("")), R"("NaN")");
  EXPECT_EQ(number_text(-HUGE_VAL), R"("-Infinity")");
}

TEST(Json, StringsAreEscapedAndInvalidUtf8IsReplaced) {
  EXPECT_EQ(quote("a\"\\\n\x01ü"), "\"a\\\"\\\\\\n\\u0001ü\"");
  EXPECT_EQ(quote("x\xC0\xAFy\xED\xA0\x80"), "\"x\xEF\xBF\xBD\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  EXPECT_EQ(quote("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\"");
}

TEST(Json, IntegersComeAsNumbersOrStrings) {
  const Document document(
      R"({"a": 5, "b": "9223372036854775807", "c": 1e3, "d": 1.5, "e": "x", "f": null, "g": 1e30})");
  const Fields fields = root_fields(document);
  EXPECT_EQ(fields.integer("a"), 5);
  EXPECT_EQ(fields.integer("b"), INT64_MAX);
  EXPECT_EQ(fields.integer("c"), 1000);
  EXPECT_THROW(fields.integer("d"), Error);
  EXPECT_THROW(fields.integer("e"), Error);
  EXPECT_EQ(fields.integer("f"), std::nullopt);
  EXPECT_THROW(fields.integer("g"), Error);
}

TEST(Json, WrongTypesAndMissingValuesNameTheParameter) {
  const Document document(R"({"key": 5, "nul": "a\u0000b"})");
  const Fields fields = root_fields(document);
  try {
    fields.string("key");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidParameterValue);
    EXPECT_STREQ(
        error.what(),
        "Invalid value 5 for parameter 'key' supplied:  Hint: Value was of type 'int'. See the API docs for more "
        "information about request parameters.");
  }
  EXPECT_THROW(fields.string("nul"), Error);
  try {
    fields.required_string("run_id");
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("Missing value for required parameter 'run_id'"));
  }
}

TEST(Json, QueryArgumentsAreReadLikeFields) {
  const Fields::Arguments arguments{{"n", "12"}, {"list", "a"}, {"list", "b"}, {"v", "NaN"}};
  const Fields fields(arguments);
  EXPECT_EQ(fields.integer("n"), 12);
  EXPECT_EQ(fields.strings("list"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(std::isnan(*fields.number("v")));
}

TEST(Json, MalformedTextIsABadRequest) {
  for (const char* text : {"", "{", "[1,]", "{\"a\":NaN}", "\xFF", "{} {}"}) {
    EXPECT_THROW(Document{text}, Error) << text;
  }
  EXPECT_THROW(Document{std::string(100, '[') + std::string(100, ']')}, Error);
}

}  // namespace
}  // namespace cairn::json
