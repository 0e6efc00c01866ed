// Against a server of the test's own that answers as it is told: what comes back, what is tried again, what is said.
#include "search/endpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <mutex>

#include "base/error.h"
#include "base/json.h"
#include "http/testing.h"

namespace cairn::search {
namespace {

using namespace std::chrono_literals;
using http::Request;
using http::Response;
using Vectors = std::vector<std::vector<float>>;

constexpr const char* kKey = "sk-very-secret";

// An answer to give; without a body: the embeddings that were asked for.
struct Step {
  int status = 200;
  std::string body = "";
  std::string retry_after = "";
  int dimension = 3;
  std::chrono::milliseconds delay{0};
};

class EndpointTest : public testing::Test {
 protected:
  EndpointTest() {
    router_.add("POST", "/v1/embeddings", [this](Request& request) -> task<Response> {
      Step step;
      {
        const std::lock_guard lock(mutex_);
        ++requests_;
        authorization_ = std::string(request.header("authorization"));
        if (!steps_.empty()) step = steps_.front(), steps_.pop_front();
      }
      if (step.delay > 0ms) co_await sleep_for(step.delay);
      Response response;
      response.status = step.status;
      response.headers.emplace_back("Content-Type", "application/json");
      if (!step.retry_after.empty()) response.headers.emplace_back("Retry-After", step.retry_after);
      response.body = step.body.empty() ? embeddings(request.body, step.dimension) : step.body;
      co_return response;
    });
    server_ = std::make_unique<http::testing::TestServer>(router_);
  }

  // [length, 1, 0, …] of each text, the last text first.
  std::string embeddings(const std::string& body, int dimension) {
    const json::Document document(body);
    const std::vector<std::string> texts = json::root_fields(document).strings("input");
    {
      const std::lock_guard lock(mutex_);
      batches_.push_back(texts.size());
    }
    std::string text;
    json::Writer out(text);
    out.begin_object();
    out.key("data");
    out.begin_array();
    for (size_t i = texts.size(); i-- > 0;) {
      out.begin_object();
      out.field("index", int64_t(i));
      out.key("embedding");
      out.begin_array();
      for (int place = 0; place < dimension; ++place)
        out.number(place == 0 ? double(texts[i].size()) : place == 1 ? 1 : 0);
      out.end_array();
      out.end_object();
    }
    out.end_array();
    out.end_object();
    return text;
  }

  EndpointOptions options() const {
    EndpointOptions options;
    options.base_url = "http://127.0.0.1:" + std::to_string(server_->port()) + "/v1";
    options.model = "small";
    options.key = kKey;
    options.first_delay = 1ms;
    return options;
  }
  Vectors embed(EndpointOptions options, std::vector<std::string> texts) {
    EndpointEmbedder embedder(std::move(options));
    return reactor_.block_on(embedder.embed(std::move(texts)));
  }
  // What it says when it fails, in any way.
  Error failure(EndpointOptions options, std::vector<std::string> texts = {"a", "bb"}) {
    try {
      embed(std::move(options), std::move(texts));
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find(kKey), std::string::npos) << error.what();
      return error;
    }
    ADD_FAILURE() << "it did not fail";
    return invalid("");
  }
  void expect_failure(const Error& error, ErrorCode code, const std::string& part) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("/v1/embeddings"), std::string::npos) << error.what();
  }

  Reactor reactor_;
  http::Router router_;
  std::mutex mutex_;
  std::deque<Step> steps_;
  int requests_ = 0;
  std::vector<size_t> batches_;
  std::string authorization_;
  std::unique_ptr<http::testing::TestServer> server_;
};

TEST_F(EndpointTest, R18_texts_are_embedded_in_batches_and_in_their_order) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 250; ++i) texts.emplace_back(i % 50 + 1, 'x');
  texts.emplace_back(300'000, 'y');
  const Vectors vectors = embed(options(), texts);
  ASSERT_EQ(vectors.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(vectors[i], (std::vector<float>{float(texts[i].size()), 1, 0}));
  EXPECT_EQ(batches_, (std::vector<size_t>{96, 96, 58, 1}));
  EXPECT_EQ(authorization_, std::string("Bearer ") + kKey);
  EXPECT_TRUE(embed(options(), {}).empty());
}

TEST_F(EndpointTest, R18_vectors_are_normalised_for_the_cosine) {
  EndpointOptions normalised = options();
  normalised.normalise = true;
  const Vectors vectors = embed(normalised, {"abc"});
  EXPECT_NEAR(vectors[0][0], 3 / std::sqrt(10.), 1e-6);
  EXPECT_NEAR(vectors[0][1], 1 / std::sqrt(10.), 1e-6);
}

TEST_F(EndpointTest, R18_the_dimension_is_checked) {
  EndpointOptions four = options();
  four.dimension = 4;
  expect_failure(failure(four), ErrorCode::kInvalidParameterValue, "have 3 numbers, the collection's 4");
  EXPECT_EQ(requests_, 1);
  steps_ = {{}, {.dimension = 5}};
  expect_failure(failure(options(), std::vector<std::string>(100, "x")), ErrorCode::kInvalidParameterValue,
                 "of 3 numbers, then of 5");
}

TEST_F(EndpointTest, R18_what_may_pass_is_tried_again) {
  steps_ = {{.status = 500, .body = "oops"}, {.status = 503, .body = "{}"}, {.status = 429, .body = "slow down"}};
  EXPECT_EQ(embed(options(), {"a"}).size(), 1u);
  EXPECT_EQ(requests_, 4);
}

TEST_F(EndpointTest, R18_retry_after_is_kept) {
  steps_ = {{.status = 429, .body = "slow down", .retry_after = "1"}};
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(embed(options(), {"a"}).size(), 1u);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 1s);
  steps_ = {{.status = 429, .body = "tomorrow", .retry_after = "86400"}};
  requests_ = 0;
  expect_failure(failure(options()), ErrorCode::kTemporarilyUnavailable, "asked too often");
  EXPECT_EQ(requests_, 1);
}

TEST_F(EndpointTest, ends_when_trying_again_does_not_help) {
  steps_.assign(10, {.status = 500, .body = R"({"error": {"message": "no memory"}})"});
  expect_failure(failure(options()), ErrorCode::kTemporarilyUnavailable, "no memory");
  EXPECT_EQ(requests_, 6);
}

TEST_F(EndpointTest, does_not_try_again_what_stays_so) {
  const std::vector<std::pair<Step, std::string>> cases = {
      {{.status = 401, .body = std::string(R"({"error": {"message": "wrong key )") + kKey + "\"}}"}, "wrong key ***"},
      {{.status = 404, .body = R"({"error": "no model small"})"}, "no model small"},
      {{.status = 400, .body = "<html>"}, "<html>"},
      {{.status = 302, .body = "elsewhere"}, "302"}};
  for (const auto& [step, part] : cases) {
    requests_ = 0;
    steps_ = {step};
    expect_failure(failure(options()), ErrorCode::kInvalidParameterValue, part);
    EXPECT_EQ(requests_, 1);
  }
  requests_ = 0;
  steps_ = {{.status = 429, .body = R"({"error": {"code": "insufficient_quota", "message": "pay"}})"}};
  expect_failure(failure(options()), ErrorCode::kTemporarilyUnavailable, "no quota left");
  EXPECT_EQ(requests_, 1);
}

TEST_F(EndpointTest, an_endpoint_that_is_down_or_slow_is_said_to_be) {
  EndpointOptions slow = options();
  slow.timeout = 50ms;
  slow.tries = 2;
  steps_.assign(2, {.delay = 400ms});
  expect_failure(failure(slow), ErrorCode::kTemporarilyUnavailable, "did not answer within");
  EndpointOptions down = options();
  down.base_url = "http://127.0.0.1:1/v1";
  expect_failure(failure(down), ErrorCode::kTemporarilyUnavailable, "see that it runs");
  EndpointOptions no_tls = options();
  no_tls.base_url.insert(4, "s");
  no_tls.tries = 1;
  expect_failure(failure(no_tls), ErrorCode::kTemporarilyUnavailable, "did not work");
}

TEST_F(EndpointTest, a_huge_answer_ends_the_request) {
  steps_ = {{.body = std::string(33u << 20, ' ')}};
  expect_failure(failure(options()), ErrorCode::kInvalidParameterValue, "more than 32 MiB");
}

TEST_F(EndpointTest, an_answer_without_embeddings_is_refused) {
  for (const char* body :
       {"no json", "[]", "{}", R"({"data": {}})", R"({"data": []})", R"({"data": [1]})",
        R"({"data": [{"embedding": "x"}, {"embedding": [1]}]})", R"({"data": [{"embedding": [1]}]})",
        R"({"data": [{"embedding": []}, {"embedding": [1]}]})",
        R"({"data": [{"embedding": [1]}, {"embedding": [1, 2]}]})",
        R"({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]})",
        R"({"data": [{"index": 7, "embedding": [1]}]})", R"({"data": [{"index": -1, "embedding": [1]}]})",
        R"({"data": [{"embedding": [1e300]}, {"embedding": [1]}]})"}) {
    steps_ = {{.body = body}};
    expect_failure(failure(options()), ErrorCode::kInvalidParameterValue, "no usable answer");
  }
}

TEST_F(EndpointTest, many_requests_at_once_all_get_their_own_vectors) {
  int done = 0;
  for (size_t i = 1; i <= 40; ++i) {
    auto one = [&, i]() -> task<> {
      EndpointEmbedder embedder(options());
      std::vector<std::string> texts = {std::string(i, 'x')};
      const Vectors vectors = co_await embedder.embed(std::move(texts));
      EXPECT_EQ(vectors.at(0).at(0), float(i));
      if (++done == 40) reactor_.stop();
    };
    // Kept alive by the test: the coroutine uses the lambda's captures.
    static std::deque<decltype(one)> running;
    running.push_back(one);
    reactor_.spawn("embed", running.back()());
  }
  reactor_.run();
  EXPECT_EQ(done, 40);
}

TEST(EndpointOptionsTest, the_key_goes_to_its_own_endpoint_only) {
  const std::map<std::string, std::string> openai = {{"OPENAI_API_KEY", kKey}};
  EmbedderSettings settings;
  settings.kind = "openai";
  settings.model = "m";
  EXPECT_EQ(endpoint_options(settings, openai).base_url, "https://api.openai.com/v1");
  EXPECT_EQ(endpoint_options(settings, openai).key, kKey);
  settings.base_url = "http://elsewhere/v1/";
  EXPECT_EQ(endpoint_options(settings, openai).base_url, "http://elsewhere/v1");
  EXPECT_EQ(endpoint_options(settings, openai).key, "");
  const std::map<std::string, std::string> own = {{"OPENAI_API_KEY", kKey}, {"OPENAI_BASE_URL", "http://elsewhere"}};
  EXPECT_EQ(endpoint_options(settings, own).key, kKey);
  settings.base_url.clear();
  EXPECT_EQ(endpoint_options(settings, own).base_url, "http://elsewhere/v1");
}

TEST(EndpointOptionsTest, refuse_what_is_no_address) {
  EmbedderSettings settings;
  settings.model = "m";
  for (const char* url : {"elsewhere/v1", "ftp://x/v1", "file:///etc/passwd", "http://", "http://me:secret@x/v1",
                          "http://x/v1?key=1", "http://x y/v1", "http://x\r\nHost: y"}) {
    settings.base_url = url;
    EXPECT_THROW(endpoint_options(settings, {}), Error) << url;
  }
  settings = {};
  EXPECT_THROW(endpoint_options(settings, {}), Error) << "without a model";
}

}  // namespace
}  // namespace cairn::search
