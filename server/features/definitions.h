// What entities, feature views and feature services there are: declared as JSON, kept in the database, remembered by
// the server until their version changes.
//
// All on the reactor's thread.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "db/transaction.h"
#include "features/types.h"

namespace cairn::features {

struct Entity {
  std::string name;
  std::string join_key;
  std::string value_type;  // string, int32, int64, uuid
};

struct Feature {
  std::string name;
  ValueType type = ValueType::kDouble;
  int slot = 0;           // from 1
  int vector_length = 0;  // of a vector
  std::string vector_search_metric;
};

struct FeatureView {
  int32_t id = 0;
  std::string name;
  double ttl_s = 0;      // 0: values stay
  int64_t rollup_s = 0;  // 0: none
  std::optional<std::string> push_source;
  std::vector<Entity> entities;
  std::vector<Feature> features;
  std::map<std::string, size_t, std::less<>> by_name;  // places in `features`
  std::array<int, 3> slot_counts{};                    // by Slots; those of removed features count

  const Feature* find(std::string_view feature) const;
};

// A feature of a view, as a request names it.
struct Reference {
  const FeatureView* view = nullptr;
  const Feature* feature = nullptr;
};

struct Definitions {
  int64_t version = 0;
  std::vector<FeatureView> views;
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> services;  // (view, feature)

  const FeatureView* find(std::string_view view) const;
};

// Throws Error(kResourceDoesNotExist) with Feast's name of the error in front: `FeatureViewNotFoundException: …`.
const FeatureView& require_view(const Definitions& definitions, const std::string& name);
std::vector<Reference> references_of(const Definitions& definitions, const std::vector<std::string>& names);
std::vector<Reference> references_of_service(const Definitions& definitions, const std::string& service);

// A view as JSON and back, for what was made of it.
std::string view_json(const FeatureView& view);
FeatureView view_of(simdjson::dom::element object);

class DefinitionStore {
 public:
  explicit DefinitionStore(db::Pool& pool) : pool_(pool) {}

  // Those that are remembered, read first where there are none.
  task<std::shared_ptr<const Definitions>> remembered();
  // Read anew.
  task<std::shared_ptr<const Definitions>> read();
  // All of them as JSON, in the form that apply() takes.
  task<std::string> as_json();
  // Makes what is declared so: {"entities": […], "feature_views": […], "feature_services": […]}. What is not named
  // stays; a feature that its view does not name any more is removed. Gives {"changes": […], "applied": …}; with
  // `dry_run` nothing is changed. Throws Error(kInvalidParameterValue) for what is no declaration,
  // Error(kResourceConflict) for what would give stored values another meaning.
  task<std::string> apply(json::Fields declared, bool dry_run);
  // With all its values. Throws Error(kResourceDoesNotExist).
  task<> remove_view(std::string name);

 private:
  static task<std::shared_ptr<const Definitions>> read_in(db::Transaction& transaction);

  db::Pool& pool_;
  std::shared_ptr<const Definitions> definitions_;
};

}  // namespace cairn::features
