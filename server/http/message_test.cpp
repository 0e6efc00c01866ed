#include "http/message.h"

#include <gtest/gtest.h>

#include "http/response_head.h"

namespace cairn::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Message, PercentDecodes) {
  EXPECT_EQ(percent_decode("a%2Fb%c3%A4+", false), "a/b\xc3\xa4+");
  EXPECT_EQ(percent_decode("a+b%2B", true), "a b+");
  EXPECT_EQ(percent_decode("%", false), std::nullopt);
  EXPECT_EQ(percent_decode("%4", false), std::nullopt);
  EXPECT_EQ(percent_decode("%4g", false), std::nullopt);
}

TEST(Message, ParsesQueries) {
  EXPECT_EQ(parse_query("run_id=a&run_id=b&x=&y&&z=1%3D2=3"),
            (Pairs{{"run_id", "a"}, {"run_id", "b"}, {"x", ""}, {"y", ""}, {"z", "1=2=3"}}));
  EXPECT_EQ(parse_query(""), Pairs{});
  EXPECT_EQ(parse_query("a=%zz"), std::nullopt);
}

TEST(Message, AFieldsValueCannotBeginAnotherField) {
  Response response = text_response("");
  response.headers.emplace_back("Content-Disposition", "attachment; filename=a\r\nSet-Cookie: b");
  std::string head;
  append_head(head, response, HeadOptions{});
  EXPECT_EQ(head.find("\r\nSet-Cookie"), head.npos);
  EXPECT_NE(head.find("filename=a  Set-Cookie: b\r\n"), head.npos);
}

}  // namespace
}  // namespace cairn::http
