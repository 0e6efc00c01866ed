// What stands where: environments, deployments with their history, approvals, and the audit log's reading.
//
// Answers are JSON text. A model has at most one active deployment in an environment; the model's row is locked first.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "registry/store.h"

namespace cairn::registry {

struct NewDeployment {
  VersionKey version;
  std::string environment;
  int32_t replicas = 1;
  std::string config = "{}";  // JSON object
};

// What a listing is narrowed to; newest first, those before an id for the next page.
struct Listing {
  std::optional<std::string> model, environment, status;
  std::optional<std::string> object_type, object_id, actor;
  std::optional<int64_t> before;
  int64_t limit = 100;
  std::vector<std::string> hidden = {};  // names of models that are not there for who asks
};

struct Decision {
  int64_t approval_id = 0;
  bool approve = false;
  std::string comment;
};

task<std::string> list_environments(db::Pool& pool);
task<std::string> create_environment(db::Pool& pool, const Caller& caller, std::string name, bool requires_approval);

task<std::string> list_deployments(db::Pool& pool, Listing listing);
task<std::string> read_deployment(db::Pool& pool, int64_t id);
task<std::string> deploy(db::Pool& pool, const Caller& caller, NewDeployment deployment);
// Puts back what the active deployment of the model in the environment had replaced.
task<std::string> roll_back(db::Pool& pool, const Caller& caller, std::string model, std::string environment);

task<std::string> list_approvals(db::Pool& pool, Listing listing);
// `target`: a stage or an environment.
task<std::string> request_approval(db::Pool& pool, const Caller& caller, VersionKey version, std::string target,
                                   std::string comment);
task<std::string> decide_approval(db::Pool& pool, const Caller& caller, Decision decision);

task<std::string> list_events(db::Pool& pool, Listing listing);

}  // namespace cairn::registry
