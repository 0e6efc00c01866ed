// The HTTP API called inside the process: what the commands of the terminal show is what every client is told.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/reactor.h"
#include "db/pool.h"
#include "http/router.h"
#include "tracking/api.h"

namespace cairn::app {

class LocalApi {
 public:
  explicit LocalApi(const std::string& connection_string);

  using Query = std::vector<std::pair<std::string, std::string>>;
  // The body of the answer. Throws Error with the answer's message when it is an error.
  std::string get(const std::string& path, const Query& query = {});
  std::string post(const std::string& path, const std::string& body);

 private:
  std::string call(http::Request& request);

  Reactor reactor_;
  db::Pool pool_;
  http::Router router_;
  std::unique_ptr<tracking::Tracking> tracking_;
};

}  // namespace cairn::app
