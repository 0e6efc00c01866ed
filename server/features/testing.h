// For *_pgtest.cpp only: a feature store behind its routes, over a database of the test's own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/reactor.h"
#include "features/api.h"
#include "http/router.h"
#include "schema/testing.h"

namespace cairn::features {

inline constexpr const char* kDrivers = R"({
  "entities": [{"name": "driver", "join_key": "driver_id", "value_type": "int64"}, {"name": "city"}],
  "feature_views": [
    {"name": "stats", "entities": ["driver"], "push_source": "trips",
     "features": [{"name": "conv_rate", "value_type": "FLOAT"}, {"name": "trips", "value_type": "int32"},
                  {"name": "tags", "value_type": "string_list"}, {"name": "active", "value_type": "bool"},
                  {"name": "note", "value_type": "string"}]},
    {"name": "in_city", "entities": ["driver", "city"], "ttl_s": 3600, "features": [{"name": "rank", "value_type": "double"}]}],
  "feature_services": [{"name": "ranking", "features": ["stats:trips", "in_city"]}]})";

// A body that arrives in small pieces.
class Pieces : public http::BodyStream {
 public:
  explicit Pieces(std::string text) : text_(std::move(text)) {}
  task<std::optional<std::string>> next() override {
    if (at_ == text_.size()) co_return std::nullopt;
    const size_t begin = at_;
    at_ = std::min(text_.size(), at_ + 7);
    co_return text_.substr(begin, at_ - begin);
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

class FeaturesTest : public testing::Test {
 protected:
  struct Answer {
    int status;
    std::string body;
  };

  FeaturesTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 8;
    pool_ = std::make_unique<db::Pool>(options);
    store_ = std::make_unique<FeatureStore>(router_, *pool_);
  }

  // What the server does with it, but for the socket. An answer that is broken off has the status 0.
  task<Answer> call(std::string method, std::string path, std::string input,
                    std::string content_type = "application/json") {
    const size_t question = path.find('?');
    http::Request request;
    if (question != std::string::npos) request.query = *http::parse_query(path.substr(question + 1));
    path = path.substr(0, question);
    const http::Router::Match match = router_.match(method, path);
    if (match.route == nullptr) throw std::logic_error("no route " + method + " " + path);
    request.method = method;
    request.path = path;
    request.captures = match.captures;
    if (match.route->options.streaming)
      request.stream = std::make_unique<Pieces>(input);
    else
      request.body = input;
    request.headers = {{"content-type", content_type}};
    http::Response response = co_await http::dispatch(*match.route, request);
    Answer answer{response.status, response.body};
    if (!response.stream) co_return answer;
    std::string broken;
    try {
      while (const auto piece = co_await response.stream->next()) answer.body += *piece;
    } catch (const Error& error) {
      broken = error.what();
    }
    if (!broken.empty()) answer = {0, broken};
    co_return answer;
  }
  Answer post(const std::string& path, const std::string& input) {
    return reactor_.block_on(call("POST", path, input));
  }
  Answer apply(const std::string& input) { return post("/api/v1/features/apply", input); }
  Answer write(const std::string& view, const std::string& columns) {
    return post("/write-to-online-store", R"({"feature_view_name": ")" + view + R"(", "df": )" + columns + "}");
  }
  Answer read(const std::string& features, const std::string& entities) {
    return post("/get-online-features", R"({"features": )" + features + R"(, "entities": )" + entities + "}");
  }
  std::string count(const std::string& table) {
    return reactor_.block_on(pool_->query({"", "SELECT count(*)::text FROM features." + std::string(table)}))
        .text(0, 0);
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
  http::Router router_;
  std::unique_ptr<FeatureStore> store_;
};

}  // namespace cairn::features
