// Which objects a route is about, and what it takes: one table for all routes of the server.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/auth.h"
#include "http/router.h"

namespace cairn::access {

enum class Kind { kNone, kExperiment, kModel, kCollection, kView };
// As it stands in access.permissions.
std::string_view object_type(Kind kind);

// How the objects of a request are found.
enum class Find {
  kRole,            // none: the caller's role decides
  kName,            // `field` is the object's name, or an experiment's id
  kNames,           // the same, a list of them
  kExperimentName,  // `field` is the experiment's name
  kRun,             // `run_id` or `run_uuid`: the run's experiment
  kRuns,            // `field` is a list of runs
  kLoggedModel,     // `field`: the logged model's experiment
  kArtifact,        // `field` is a path below the artifact root, or a URI: the experiments that have their files there
  kSource,          // `field` is where a version comes from: the model that it names, if it does
  kPushSource,      // `field`: the views that it feeds
  kFeatures,        // `features` and `feature_service`: their views
  kViews,           // `feature_views`: names, or objects that have one; none is all of them
  kDeployment,      // `field`: the deployment's model
  kApproval,        // `field`: the approval's model
  kAll,             // all objects of the kind
  kEverything,      // all objects of all kinds: what runs SQL, or shows everybody's doings
  kCreates,         // `field`: the object that is made; its maker manages it
  kAnswer,          // a list: `field` says where in the answer. What may not be read is left out
};

struct Rule {
  std::string_view route;  // method and path; of MLflow's without what is before /mlflow; … at the end: and all below
  Find find = Find::kRole;
  Kind kind = Kind::kNone;
  http::Permission needs = http::Permission::kRead;
  std::string_view field = {};  // an argument; {name}: what the path has there; of an answer: list.id
};

// All rules of a route, which it takes together. Empty: the table does not know the route.
std::span<const Rule> rules_of(std::string_view method, std::string_view pattern);

}  // namespace cairn::access
