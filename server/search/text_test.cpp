#include "search/text.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/json.h"
#include "search/filter.h"

namespace cairn::search {
namespace {

TEST(Chunks, EndWhereSentencesEnd) {
  const auto chunks = chunks_of("One two three. Four five six! Seven? Eight nine ten.", 30, 0);
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0], "One two three. Four five six!");
  EXPECT_EQ(chunks[1], "Seven? Eight nine ten.");
}

TEST(Chunks, OverlapByWholeSentences) {
  const auto chunks = chunks_of("Aaaa aaaa. Bbbb bbbb. Cccc cccc. Dddd dddd.", 24, 12);
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0], "Aaaa aaaa. Bbbb bbbb.");
  EXPECT_EQ(chunks[1], "Bbbb bbbb. Cccc cccc.");
  EXPECT_EQ(chunks[2], "Cccc cccc. Dddd dddd.");
}

size_t characters(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

// Every character that is no white space is in a chunk, in order; none is too long, and none is half a character.
TEST(Chunks, LoseNothingWhateverTheText) {
  std::mt19937 random(20260131);
  const std::string alphabet[] = {"a", "b", " ", ".", "! ", "\n", "ü", "€", "😀", "\"", "word "};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = int(random() % 200); i > 0; --i) text += alphabet[random() % std::size(alphabet)];
    const size_t size = 5 + random() % 40, overlap = random() % (size / 2 + 1);
    const char* covered = text.data();
    for (const std::string_view chunk : chunks_of(text, size, overlap)) {
      ASSERT_LE(characters(chunk), size);
      ASSERT_NE(chunk.front() & 0xc0, 0x80);
      for (; covered < chunk.data(); ++covered) ASSERT_TRUE(*covered == ' ' || *covered == '\n') << text;
      covered = std::max(covered, chunk.data() + chunk.size());
    }
    for (; covered < text.data() + text.size(); ++covered) ASSERT_TRUE(*covered == ' ' || *covered == '\n') << text;
  }
}

TEST(Html, GivesTextWithoutMarkup) {
  const Extracted page = extract(Format::kHtml, R"(<!DOCTYPE html><html><head><title> A &amp; B
      </title><style>p > a {color: red}</style></head><body><!-- <p>no</p> --><h1 class="a>b">Head</h1>
      <p>One <b>two</b>&nbsp;three &#228;&#x20AC; 1 < 2 &unknown; R&D<br>four<script>if (a</b) { "</p>" }</script></p>
      <table><tr><td>x</td><td>y</td></tr></table><pre>a
  b</pre></body></html>)",
                                 "page.html");
  EXPECT_EQ(page.title, "A & B");
  EXPECT_EQ(page.content, "Head\nOne two three ä€ 1 < 2 &unknown; R&D\nfour\nx y\na\n  b");
}

TEST(Html, CostsNothingMoreWhenItIsHostile) {
  for (const std::string part :
       {"<div>", "<a b=\"", "&", "<!--", "<script>", "</", "<x ", "&#", "<title>", "<p a=b "}) {
    std::string bomb;
    while (bomb.size() < (4u << 20)) bomb += part;
    EXPECT_LE(extract(Format::kHtml, bomb, "bomb").content.size(), bomb.size()) << part;
  }
}

TEST(Extract, RefusesWhatIsNoText) {
  EXPECT_THROW(extract(Format::kText, "a\xff", "x"), Error);
  EXPECT_THROW(extract(Format::kHtml, std::string_view("a\0b", 3), "x"), Error);
  EXPECT_THROW(extract(Format::kText, std::string(kMaxDocument + 1, 'a'), "x"), Error);
}

TEST(Extract, FindsTheTitleOfMarkdown) {
  EXPECT_EQ(extract(Format::kMarkdown, "text\n# The title #\n", "x").title, "The title");
  EXPECT_EQ(extract(Format::kMarkdown, "The title\n=====\n", "x").title, "The title");
  EXPECT_EQ(extract(Format::kMarkdown, "no heading", "folder/x.md").title, "x.md");
}

TEST(Filter, HoldsNoValueInItsText) {
  db::Params params;
  const json::Document filter(R"({"type": "and", "filters": [{"type": "eq", "key": "a'b", "value": "c'd"},
      {"type": "or", "filters": [{"type": "gte", "key": "year", "value": 2020}, {"type": "exists", "key": "x"}]}]})");
  EXPECT_EQ(filter_sql(filter.root(), "m", params),
            "(m @> $1 AND ((jsonb_typeof(m -> $2::text) = 'number' AND (m -> $2::text) >= $3) OR m ? $4::text))");
  EXPECT_EQ(params.size(), 4u);
}

TEST(Filter, SaysWhatIsWrong) {
  for (const char* wrong :
       {"1", "{}", R"({"type": "eq"})", R"({"type": "eq", "key": "a"})", R"({"type": "like", "key": "a", "value": 1})",
        R"({"type": "and", "filters": []})", R"({"type": "gt", "key": "a", "value": true})",
        R"({"type": "in", "key": "a", "value": []})", R"({"type": "eq", "key": "a", "value": {}})"}) {
    db::Params params;
    const json::Document filter(wrong);
    EXPECT_THROW(filter_sql(filter.root(), "m", params), Error) << wrong;
  }
}

TEST(Filter, ReadsTheCommandLinesForm) {
  EXPECT_EQ(filter_json("year>=2020"), R"({"type":"gte","key":"year","value":2020})");
  EXPECT_EQ(filter_json("lang=en"), R"({"type":"eq","key":"lang","value":"en"})");
  EXPECT_EQ(filter_json("a!=\"1\""), R"({"type":"ne","key":"a","value":"1"})");
  EXPECT_THROW(filter_json("lang"), Error);
  EXPECT_THROW(filter_json("=x"), Error);
}

}  // namespace
}  // namespace cairn::search
