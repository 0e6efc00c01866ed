// Documents and search as users see them, through the router.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "base/json.h"
#include "base/reactor.h"
#include "http/router.h"
#include "schema/testing.h"
#include "search/api.h"
#include "search/query.h"

namespace cairn::search {
namespace {

// A body in pieces of a few bytes.
class Pieces : public http::BodyStream {
 public:
  Pieces(std::string text, size_t size) : text_(std::move(text)), size_(size) {}
  task<std::optional<std::string>> next() override {
    if (at_ == text_.size()) co_return std::nullopt;
    std::string piece = text_.substr(at_, size_);
    at_ += piece.size();
    co_return piece;
  }

 private:
  std::string text_;
  size_t size_, at_ = 0;
};

class SearchTest : public testing::Test {
 protected:
  struct Answer {
    int status;
    std::string body;
  };

  SearchTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 8;
    pool_ = std::make_unique<db::Pool>(options);
    register_routes(router_, *pool_);
  }

  task<Answer> call(std::string method, std::string target, std::string input, std::string type) {
    const size_t mark = target.find('?');
    const std::string path = target.substr(0, mark);
    const http::Router::Match match = router_.match(method, path);
    if (match.route == nullptr) throw std::logic_error("no route " + method + " " + path);
    http::Request request;
    request.method = method;
    request.path = path;
    request.captures = match.captures;
    if (mark != target.npos) request.query = *http::parse_query(target.substr(mark + 1));
    if (match.route->options.streaming)
      request.stream = std::make_unique<Pieces>(input, 1000);
    else
      request.body = input;
    request.headers = {{"content-type", type}};
    http::Response response = co_await http::dispatch(*match.route, request);
    co_return Answer{response.status, response.body};
  }
  Answer send(const std::string& method, const std::string& path, const std::string& input = "",
              const std::string& type = "application/json") {
    return reactor_.block_on(call(method, path, input, type));
  }
  Answer create(const std::string& input) { return send("POST", "/api/v1/collections", input); }
  Answer add(const std::string& name, const std::string& input, const std::string& type = "application/json") {
    return send("POST", "/api/v1/collections/" + name + "/documents", input, type);
  }
  Answer search_in(const std::string& name, const std::string& input) {
    return send("POST", "/api/v1/collections/" + name + "/search", input);
  }
  // The sources of the hits, in order.
  std::vector<std::string> sources(const std::string& name, const std::string& input) {
    const Answer answer = search_in(name, input);
    EXPECT_EQ(answer.status, 200) << answer.body;
    std::vector<std::string> found;
    const json::Document document(answer.body);
    simdjson::dom::array results;
    if (document.root()["results"].get(results) != simdjson::SUCCESS) return found;
    for (const auto hit : results) found.emplace_back(hit["source"].get_string().value());
    return found;
  }
  std::string value(const std::string& sql) {
    const std::string text = "SELECT (" + sql + ")::text";
    const db::Statement statement{"", text};
    return reactor_.block_on(pool_->query(statement)).text(0, 0);
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
  http::Router router_;
};

using Sources = std::vector<std::string>;

constexpr const char* kAnimals = R"({"documents": [
  {"source": "cats", "title": "Cats", "content": "Cats purr. They sleep all day.", "metadata": {"legs": 4, "kind": "pet", "x": null}},
  {"source": "dogs", "title": "Dogs", "content": "Dogs bark at cats. Dogs like walks.", "metadata": {"legs": 4, "kind": "pet", "tags": ["loud"]}},
  {"source": "birds", "title": "Birds", "content": "Birds sing in the morning, and sleep at night.", "metadata": {"legs": 2, "kind": "wild"}},
  {"source": "snakes", "title": "Snakes", "content": "Snakes hiss. Nobody knows why.", "metadata": {"legs": 0, "born": "2020-05-01"}}]})";

TEST_F(SearchTest, TextIsFoundByWordsWithTitlesFirst) {
  ASSERT_EQ(create(R"({"name": "a"})").status, 200);
  EXPECT_EQ(add("a", kAnimals).body, R"({"added":4,"changed":0,"unchanged":0,"chunks":4,"embedded":0})");
  EXPECT_EQ(sources("a", R"({"query": "cat"})"), (Sources{"cats", "dogs"}));
  EXPECT_EQ(sources("a", R"({"query": "\"sleep at night\""})"), Sources{"birds"});
  EXPECT_EQ(sources("a", R"({"query": "sleep -bird"})"), Sources{"cats"});
  EXPECT_EQ(sources("a", R"({"query": "hiss or walks", "k": 1})").size(), 1u);
  EXPECT_EQ(sources("a", R"({"query": "the"})"), Sources{});
  EXPECT_EQ(sources("a", R"({"query": "'); DROP TABLE search.chunks; --"})"), Sources{});
  const Answer shown = search_in("a", R"({"query": "purrs", "highlight": true, "explain": true})");
  EXPECT_NE(shown.body.find(R"("highlight":"Cats <b>purr</b>. They sleep")"), std::string::npos) << shown.body;
  EXPECT_NE(shown.body.find(R"("explain":{"text_rank":1,"text_score":)"), std::string::npos) << shown.body;
}

// The functions for those who live in psql.
TEST_F(SearchTest, R05_SqlFindsWordsOfMetadataToo) {
  create(R"({"name": "a"})");
  add("a", kAnimals);
  EXPECT_EQ(value("SELECT string_agg(source, ',' ORDER BY score DESC) FROM search.query('a', 'cat')"), "cats,dogs");
  EXPECT_EQ(value(R"(SELECT string_agg(source, ',') FROM search.query('a', 'cat', filter => '{"tags": ["loud"]}'))"),
            "dogs");
  EXPECT_EQ(value("SELECT string_agg(source, ',' ORDER BY score DESC) FROM search.query('a', 'wild')"), "birds");
  EXPECT_EQ(sources("a", R"({"query": "loud pets"})"), (Sources{"dogs", "cats"}));
}

TEST_F(SearchTest, R16_FiltersCompareMetadata) {
  create(R"({"name": "a"})");
  add("a", kAnimals);
  const auto found = [&](const std::string& filter) {
    const Sources all = sources("a", R"({"query": "cats dogs birds snakes", "filter": )" + filter + "}");
    return std::set<std::string>(all.begin(), all.end());
  };
  using Set = std::set<std::string>;
  EXPECT_EQ(found(R"({"type": "eq", "key": "kind", "value": "pet"})"), (Set{"cats", "dogs"}));
  EXPECT_EQ(found(R"({"type": "ne", "key": "kind", "value": "pet"})"), Set{"birds"});
  EXPECT_EQ(found(R"({"type": "gt", "key": "legs", "value": 0})"), (Set{"cats", "dogs", "birds"}));
  EXPECT_EQ(found(R"({"type": "lte", "key": "legs", "value": 2})"), (Set{"birds", "snakes"}));
  EXPECT_EQ(found(R"({"type": "gt", "key": "kind", "value": 0})"), Set{});
  EXPECT_EQ(found(R"({"type": "lt", "key": "born", "value": "2021"})"), Set{"snakes"});
  EXPECT_EQ(found(R"({"type": "in", "key": "legs", "value": [0, 2]})"), (Set{"birds", "snakes"}));
  EXPECT_EQ(found(R"({"type": "nin", "key": "legs", "value": [0, 2]})"), (Set{"cats", "dogs"}));
  EXPECT_EQ(found(R"({"type": "exists", "key": "born"})"), Set{"snakes"});
  EXPECT_EQ(found(R"({"type": "or", "filters": [{"type": "eq", "key": "legs", "value": 0}, {"type": "and", "filters": [
      {"type": "eq", "key": "legs", "value": 4}, {"type": "exists", "key": "tags"}]}]})"),
            (Set{"dogs", "snakes"}));
  EXPECT_EQ(search_in("a", R"({"query": "x", "filter": {"type": "eq"}})").status, 400);
}

TEST_F(SearchTest, TheSameAgainCostsNothingAndChangesOnlyWhatChanged) {
  create(R"({"name": "a", "chunk_size": 50, "chunk_overlap": 0})");
  std::string content;
  for (int i = 0; i < 20; ++i) content += fmt::format("This is the sentence with the number {:04}. ", i);
  const auto document = [](const std::string& text) {
    return R"({"source": "s", "title": "T", "content": )" + json::quote(text) + "}";
  };
  EXPECT_EQ(add("a", document(content)).body, R"({"added":1,"changed":0,"unchanged":0,"chunks":20,"embedded":0})");
  const std::string rows = "SELECT string_agg(chunk_id || ' ' || xmin, ',' ORDER BY chunk_id) FROM search.chunks";
  const std::string before = value(rows);
  EXPECT_EQ(add("a", document(content)).body, R"({"added":0,"changed":0,"unchanged":1,"chunks":0,"embedded":0})");
  EXPECT_EQ(value(rows), before);
  content.replace(content.find("0010"), 4, "abcd");
  EXPECT_EQ(add("a", document(content)).body, R"({"added":0,"changed":1,"unchanged":0,"chunks":1,"embedded":0})");
  EXPECT_EQ(value("SELECT string_agg(right(content, 5), '' ORDER BY ordinal) FROM search.chunks"),
            "0000.0001.0002.0003.0004.0005.0006.0007.0008.0009.abcd.0011.0012.0013.0014.0015.0016.0017.0018.0019.");
  EXPECT_EQ(send("DELETE", "/api/v1/collections/a/documents?source=s").status, 200);
  EXPECT_EQ(send("DELETE", "/api/v1/collections/a/documents?source=s").status, 404);
  EXPECT_EQ(value("SELECT count(*) FROM search.chunks"), "0");
}

TEST_F(SearchTest, JsonLinesAreStoredUpToTheBrokenOne) {
  create(R"({"name": "a"})");
  std::string lines;
  for (int i = 0; i < 700; ++i)
    lines += fmt::format(R"({{"source": "{}", "content": "text {}"}})"
                         "\n",
                         i, i);
  const Answer broken = add("a", lines + "{\"content\": \"\xff\"}\n", "application/x-ndjson");
  EXPECT_EQ(broken.status, 400);
  EXPECT_NE(broken.body.find("line:701"), std::string::npos) << broken.body;
  EXPECT_EQ(value("SELECT count(*) FROM search.documents"), "700");
  EXPECT_EQ(add("a", lines, "application/x-ndjson").body,
            R"({"added":0,"changed":0,"unchanged":700,"chunks":0,"embedded":0})");
  EXPECT_EQ(add("a", "{\"content\": \"" + std::string(40u << 20, 'a'), "application/x-ndjson").status, 400);
}

TEST_F(SearchTest, WhatIsWrongIsSaidAndLeavesNothing) {
  EXPECT_EQ(create(R"({"name": "a", "language": "klingon"})").status, 400);
  EXPECT_EQ(create(R"({"name": "a", "metric": "manhattan"})").status, 400);
  EXPECT_EQ(create(R"({"name": "a", "embedder": {"kind": "oracle"}})").status, 400);
  EXPECT_EQ(create(R"({"name": "a", "embedder": {"kind": "own"}})").status, 400);
  EXPECT_EQ(search_in("a", R"({"query": "x"})").status, 404);
  ASSERT_EQ(create(R"({"name": "a"})").status, 200);
  EXPECT_EQ(create(R"({"name": "a"})").status, 400);
  EXPECT_EQ(search_in("a", R"({"vector": [1]})").status, 400);
  EXPECT_EQ(search_in("a", R"({"query": "x", "mode": "vector"})").status, 400);
  EXPECT_EQ(search_in("a", R"({"query": "x", "page_token": "1:2"})").status, 400);
  EXPECT_EQ(add("a", R"({"documents": [{"content": "fine"}, {"content": 7}]})").status, 400);
  EXPECT_EQ(add("a", R"({"content": "x", "embedding": [1]})").status, 400);
  EXPECT_EQ(add("a", R"({"content": "a\u0000b"})").status, 400);
  EXPECT_EQ(add("a", std::string(100000, '[')).status, 400);
  EXPECT_EQ(value("SELECT count(*) FROM search.documents"), "0");
}

TEST_F(SearchTest, FilesBringTheirTextAndOpenAisClientsFind) {
  create(R"({"name": "files"})");
  const auto file = [&](const std::string& name, const std::string& text, const std::string& type) {
    return send("POST", "/api/v1/collections/files/documents?source=" + name, text, type).status;
  };
  EXPECT_EQ(file("p.html", "<title>Page</title><p>Hello <b>world</b>", "text/html"), 200);
  EXPECT_EQ(file("p.md", "# Heading\nof *Markdown*", "text/markdown"), 200);
  EXPECT_EQ(value("SELECT string_agg(title || ':' || content, '|' ORDER BY source) FROM search.documents"),
            "Page:Hello world|Heading:# Heading\nof *Markdown*");
  create(R"({"name": "a"})");
  add("a", kAnimals);
  const Answer answer = send("POST", "/v1/vector_stores/a/search", R"({"query": ["bark", "purr"], "max_num_results": 1,
      "filters": {"type": "eq", "key": "kind", "value": "pet"}})");
  const json::Document document(answer.body);
  EXPECT_EQ(document.root()["object"].get_string().value(), "vector_store.search_results.page");
  const auto hit = document.root()["data"].at(0);
  EXPECT_EQ(hit["filename"].get_string().value(), "cats") << answer.body;
  EXPECT_EQ(hit["attributes"]["kind"].get_string().value(), "pet");
  EXPECT_EQ(hit["content"].at(0)["text"].get_string().value(), "Cats purr. They sleep all day.");
}

// Of many who write the same documents each leaves a whole one: its chunks are its content, in order, and of no other.
TEST_F(SearchTest, WritersOfOneDocumentLeaveItWhole) {
  create(R"({"name": "a", "chunk_size": 50, "chunk_overlap": 0})");
  const auto write = [&](int writer, int& running) -> task<> {
    std::mt19937 random(uint32_t(writer) + 1);
    for (int round = 0; round < 25; ++round) {
      std::string lines;
      for (int document = 0; document < 3; ++document) {
        std::string content;
        for (int i = int(random() % 8); i >= 0; --i) content += fmt::format("{:048}.\n", random() % 6);
        lines += fmt::format(R"({{"source": "{}", "content": {}}})"
                             "\n",
                             random() % 5, json::quote(content));
      }
      const Answer answer = co_await call("POST", "/api/v1/collections/a/documents", lines, "application/x-ndjson");
      EXPECT_EQ(answer.status, 200) << answer.body;
      if (random() % 4 == 0)
        co_await call("DELETE", fmt::format("/api/v1/collections/a/documents?source={}", random() % 5), "", "");
    }
    --running;
  };
  int running = 4;
  const auto all = [&]() -> task<> {
    for (int writer = 0; writer < 4; ++writer) reactor_.spawn("writer", write(writer, running));
    while (running > 0) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor_.block_on(all());
  EXPECT_EQ(
      value("SELECT count(*) FROM search.documents d FULL JOIN (SELECT document_id, string_agg(content, E'\\n' ORDER BY"
            " ordinal) || E'\\n' AS content FROM search.chunks GROUP BY 1) c USING (document_id)"
            " WHERE d.content IS DISTINCT FROM c.content"),
      "0");
}

// -- vectors -----------------------------------------------------------------------------------------------------

struct Point {
  std::vector<double> vector;
  int group = 0;
};

class VectorSearchTest : public SearchTest {
 protected:
  // Random points in the plane with an attribute; their sources are their numbers.
  std::vector<Point> points(const std::string& name, int count) {
    std::mt19937 random(7);
    std::vector<Point> made;
    std::string documents;
    for (int i = 0; i < count; ++i) {
      const auto coordinate = [&] { return double(int(random() % 2001) - 1000) / 8; };
      Point point{{coordinate(), coordinate(), coordinate()}, int(random() % 5)};
      documents +=
          fmt::format(R"({{"source": "{}", "content": "point number{} of group{}", "metadata": {{"group": {}}},)"
                      R"( "embedding": [{},{},{}]}})"
                      "\n",
                      i, i, point.group, point.group, point.vector[0], point.vector[1], point.vector[2]);
      made.push_back(point);
    }
    const Answer answer = add(name, documents, "application/x-ndjson");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return made;
  }

  static double distance(const std::string& metric, const std::vector<double>& a, const std::vector<double>& b) {
    double product = 0, aa = 0, bb = 0, square = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      product += a[i] * b[i];
      aa += a[i] * a[i];
      bb += b[i] * b[i];
      square += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return metric == "l2" ? std::sqrt(square) : metric == "ip" ? -product : 1 - product / std::sqrt(aa * bb);
  }

  // The sources of the points of the group (-1: all) by distance.
  static Sources nearest(const std::string& metric, const std::vector<Point>& points, const std::vector<double>& from,
                         int group) {
    std::vector<std::pair<double, int>> order;
    for (size_t i = 0; i < points.size(); ++i)
      if (group < 0 || points[i].group == group) order.emplace_back(distance(metric, points[i].vector, from), int(i));
    std::ranges::sort(order);
    Sources found;
    for (const auto& [d, i] : order) found.push_back(std::to_string(i));
    return found;
  }
};

TEST_F(VectorSearchTest, R16_TheNearestByEachMetricWithFiltersThresholdsAndPages) {
  for (const std::string metric : {"cosine", "l2", "ip"}) {
    ASSERT_EQ(create(R"({"name": ")" + metric + R"(", "metric": ")" + metric +
                     R"(", "embedder": {"kind": "own", "dimension": 3}})")
                  .status,
              200);
    const auto all = points(metric, 300);
    const std::vector<double> from = {10, -20, 30};
    Sources model = nearest(metric, all, from, -1);
    model.resize(10);
    EXPECT_EQ(sources(metric, R"({"vector": [10,-20,30]})"), model);
    model = nearest(metric, all, from, 3);
    const std::string filter = R"("filter": {"type": "eq", "key": "group", "value": 3})";
    Sources paged;
    std::string token;
    do {
      const Answer answer =
          search_in(metric, R"({"vector": [10,-20,30], "k": 7, )" + filter + R"(, "page_token": ")" + token + "\"}");
      const json::Document document(answer.body);
      for (const auto hit : document.root()["results"].get_array())
        paged.emplace_back(hit["source"].get_string().value());
      std::string_view next;
      token = document.root()["next_page_token"].get(next) == simdjson::SUCCESS ? next : "";
    } while (!token.empty());
    EXPECT_EQ(paged, model);
    const double bound = distance(metric, all[std::stoul(model[4])].vector, from);
    const Sources within =
        sources(metric, fmt::format(R"({{"vector": [10,-20,30], {}, "max_distance": {}}})", filter, bound + 1e-4));
    EXPECT_EQ(within, Sources(model.begin(), model.begin() + 5));
  }
}

TEST_F(VectorSearchTest, R17_HybridIsBothPartsByRankOrByWeight) {
  create(R"({"name": "h", "embedder": {"kind": "own", "dimension": 2}})");
  add("h", R"({"documents": [
    {"source": "both", "content": "apple pie", "embedding": [1, 0.1]},
    {"source": "near", "content": "nothing", "embedding": [1, 0]},
    {"source": "word", "content": "apple apple apple", "embedding": [-1, 0]},
    {"source": "none", "content": "other", "embedding": [-1, 0.1]}]})");
  const Sources fused = sources("h", R"({"query": "apple", "vector": [1, 0]})");
  ASSERT_EQ(fused.size(), 4u);
  EXPECT_EQ(fused[0], "both");
  const auto weighted = [&](double weight) {
    return sources(
        "h",
        fmt::format(R"({{"query": "apple", "vector": [1, 0], "fusion": "weighted", "vector_weight": {}}})", weight));
  };
  EXPECT_EQ(weighted(1)[0], "near");
  EXPECT_EQ(weighted(0)[0], "word");
  EXPECT_EQ(weighted(0.5)[0], "both");
  const Answer explained = search_in("h", R"({"query": "apple", "vector": [1, 0], "explain": true, "k": 1})");
  EXPECT_NE(explained.body.find(R"("explain":{"vector_rank":2,"distance":0.00)"), std::string::npos) << explained.body;
  EXPECT_NE(explained.body.find(R"("text_rank":2)"), std::string::npos) << explained.body;
  Sources paged;
  std::string token;
  do {
    const Answer answer =
        search_in("h", R"({"query": "apple", "vector": [1, 0], "k": 1, "page_token": ")" + token + "\"}");
    const json::Document document(answer.body);
    for (const auto hit : document.root()["results"].get_array())
      paged.emplace_back(hit["source"].get_string().value());
    std::string_view next;
    token = document.root()["next_page_token"].get(next) == simdjson::SUCCESS ? next : "";
  } while (!token.empty());
  EXPECT_EQ(paged, fused);
}

TEST_F(VectorSearchTest, WithoutTheExtensionAllButVectorsWorks) {
  database_.execute("DROP EXTENSION IF EXISTS vector CASCADE; CREATE ROLE no_vector_" + database_.name() +
                    "; "
                    "GRANT ALL ON SCHEMA search TO no_vector_" +
                    database_.name() + "; GRANT ALL ON ALL TABLES IN SCHEMA search TO no_vector_" + database_.name() +
                    "; GRANT ALL ON ALL SEQUENCES IN SCHEMA search TO no_vector_" + database_.name());
  EXPECT_THROW(database_.execute("SET ROLE no_vector_" + database_.name() + "; SELECT search.need_vector()"),
               std::runtime_error);
  ASSERT_EQ(create(R"({"name": "a"})").status, 200);
  add("a", kAnimals);
  EXPECT_EQ(sources("a", R"({"query": "purr"})"), Sources{"cats"});
  EXPECT_EQ(value("SELECT count(*) FROM pg_extension WHERE extname = 'vector'"), "0");
  database_.execute("DROP OWNED BY no_vector_" + database_.name() + "; DROP ROLE no_vector_" + database_.name());
}

TEST_F(VectorSearchTest, VectorsOfAnotherDimensionAreRefused) {
  create(R"({"name": "v", "embedder": {"kind": "own", "dimension": 3}})");
  EXPECT_EQ(add("v", R"({"source": "a", "content": "x", "embedding": [1, 2]})").status, 400);
  EXPECT_EQ(search_in("v", R"({"vector": [1, 2]})").status, 400);
  EXPECT_EQ(add("v", R"({"source": "a", "content": "x", "embedding": [1, 2, 3]})").status, 200);
  // Without one it is found by text, and not by vector.
  EXPECT_EQ(add("v", R"({"source": "b", "content": "x"})").status, 200);
  EXPECT_EQ(sources("v", R"({"query": "x"})").size(), 2u);
  EXPECT_EQ(sources("v", R"({"vector": [1, 2, 3]})"), Sources{"a"});
}

}  // namespace
}  // namespace cairn::search
