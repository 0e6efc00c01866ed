// For this module's tests: bodies made of given pieces, and its routes without sockets.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "artifacts/api.h"
#include "base/error.h"
#include "base/reactor.h"
#include "base/testing.h"

namespace cairn::artifacts::testing {

using testing_support::TemporaryDirectory;

// Gives its pieces, then ends, or breaks off as a client that goes away does.
class Pieces : public http::BodyStream {
 public:
  explicit Pieces(std::vector<std::string> pieces, bool breaks = false) : pieces_(std::move(pieces)), breaks_(breaks) {}
  task<std::optional<std::string>> next() override {
    if (at_ < pieces_.size()) co_return pieces_[at_++];
    if (breaks_) throw Error(ErrorCode::kBadRequest, "the peer has gone");
    co_return std::nullopt;
  }

 private:
  std::vector<std::string> pieces_;
  bool breaks_;
  size_t at_ = 0;
};

inline std::string read_all(Reactor& reactor, http::BodyStream& stream) {
  std::string all;
  while (auto piece = reactor.block_on(stream.next())) all += *piece;
  return all;
}

struct Answer {
  int status = 0;
  std::string content_type;
  std::string body;
  std::map<std::string, std::string> headers;
};

// Calls this module's routes over a store that starts empty. `database_url` may be empty where no route asks for it.
class Caller {
 public:
  explicit Caller(const std::string& database_url) : pool_(options(database_url)) {
    register_routes(router_, pool_, store_);
  }

  Answer call(const std::string& method, const std::string& target, std::vector<std::string> body = {},
              const std::string& range = "") {
    http::Request request;
    request.method = method;
    request.raw_target = target;
    const size_t query = target.find('?');
    if (query != target.npos) request.query = *http::parse_query(target.substr(query + 1));
    if (!range.empty()) request.headers.emplace_back("range", range);
    request.stream = std::make_unique<Pieces>(std::move(body));
    http::Router::Match match = router_.match(method, target.substr(0, query));
    if (match.route == nullptr) return {match.path_exists ? 405 : 404, "", "", {}};
    request.captures = std::move(match.captures);
    http::Response response = reactor_.block_on(http::dispatch(*match.route, request));
    Answer answer{response.status, response.content_type, response.body, {}};
    for (const auto& [name, value] : response.headers) answer.headers[name] = value;
    if (response.stream) answer.body = read_all(reactor_, *response.stream);
    return answer;
  }

 private:
  static db::PoolOptions options(const std::string& database_url) {
    db::PoolOptions options;
    options.connection_string = database_url;
    return options;
  }

  Reactor reactor_;
  TemporaryDirectory directory_;
  LocalArtifactStore store_{(directory_.path() / "root").string()};
  db::Pool pool_;
  http::Router router_;
};

}  // namespace cairn::artifacts::testing
