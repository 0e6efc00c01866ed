// Field numbers are those of feast/core/*.proto (Feast 0.67); fields that are not named here are not read.
#include "features/feast_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "features/protobuf.h"
#include "features/types.h"

namespace cairn::features {
namespace {

using protobuf::Field;
using protobuf::Message;
using protobuf::Reader;
using simdjson::dom::element;

// feast.types.ValueType.Enum, and our name for it. The first of a number is the one that is read.
struct FeastType {
  uint64_t number;
  std::string_view name;
};
constexpr std::array kFeastTypes = {
    FeastType{1, "bytes"},        FeastType{2, "string"},
    FeastType{3, "int32"},        FeastType{4, "int64"},
    FeastType{5, "double"},       FeastType{6, "float"},
    FeastType{7, "bool"},         FeastType{8, "unix_timestamp"},
    FeastType{11, "bytes_list"},  FeastType{12, "string_list"},
    FeastType{13, "int32_list"},  FeastType{14, "int64_list"},
    FeastType{15, "double_list"}, FeastType{16, "float_list"},
    FeastType{17, "bool_list"},   FeastType{18, "unix_timestamp_list"},
    FeastType{32, "json"},        FeastType{36, "uuid"},
    FeastType{16, "vector"},      FeastType{20, "json"},
    FeastType{37, "uuid"},
};

std::string_view type_name_of(uint64_t number) {
  for (const FeastType& type : kFeastTypes)
    if (type.number == number) return type.name;
  return "";
}

// -- Out ---------------------------------------------------------------------------------------------------------

std::string_view text_of(element object, std::string_view key) {
  std::string_view text;
  if (object[key].get_string().get(text) != simdjson::SUCCESS) return "";
  return text;
}

uint64_t feast_type(std::string_view name) {
  for (const FeastType& type : kFeastTypes)
    if (type.name == name) return type.number;
  throw Error(ErrorCode::kInternalError, "no type of Feast's for " + std::string(name));
}

void add_tags(Message& message, uint32_t field, element object) {
  simdjson::dom::object tags;
  if (object["tags"].get_object().get(tags) != simdjson::SUCCESS) return;
  for (const auto [key, value] : tags) {
    std::string_view text;
    const std::string other = simdjson::minify(value);
    if (value.get_string().get(text) != simdjson::SUCCESS) text = other;
    message.message(field, Message().text(1, key).text(2, text));
  }
}

Message feature_spec(element feature) {
  Message spec;
  spec.text(1, text_of(feature, "name")).number(2, feast_type(text_of(feature, "value_type")));
  add_tags(spec, 3, feature);
  spec.text(4, text_of(feature, "description"));
  int64_t length = 0;
  if (feature["vector_length"].get_int64().get(length) == simdjson::SUCCESS)
    spec.number(5, 1).text(6, text_of(feature, "vector_search_metric")).number(7, static_cast<uint64_t>(length));
  return spec;
}

class RegistryWriter {
 public:
  RegistryWriter(element definitions, const RegistryOptions& options) : definitions_(definitions), options_(options) {
    moment_.number(1, static_cast<uint64_t>(options.now_s));
    meta_.message(1, moment_).message(2, moment_);
  }

  std::string bytes() {
    for (const element entity : definitions_["entities"].get_array()) add_entity(entity);
    for (const element view : definitions_["feature_views"].get_array()) add_view(view);
    for (const element service : definitions_["feature_services"].get_array()) add_service(service);
    const Message project = Message().text(1, options_.project);
    registry_.text(3, "1")
        .text(4, "00000000-0000-4000-8000-" + fmt::format("{:012x}", options_.now_s))
        .message(5, moment_)
        .message(15, Message().text(1, options_.project))
        .message(17, Message().message(1, project).message(2, meta_));
    return registry_.bytes();
  }

 private:
  void add_entity(element entity) {
    Message spec;
    spec.text(1, text_of(entity, "name")).number(2, feast_type(text_of(entity, "value_type")));
    spec.text(3, text_of(entity, "description")).text(4, text_of(entity, "join_key"));
    add_tags(spec, 8, entity);
    spec.text(9, options_.project);
    registry_.message(1, Message().message(1, spec).message(2, meta_));
    join_keys_[text_of(entity, "name")] = entity;
  }

  // Feast wants a batch source for each view, which nobody reads: the server keeps the history itself.
  Message batch_source(element view) const {
    Message source;
    source.number(1, 1).text(3, "event_timestamp").text(5, "created");
    source.message(11, Message().text(2, fmt::format("{}.parquet", text_of(view, "name"))));
    source.text(17, "feast.infra.offline_stores.file_source.FileSource");
    return source.text(20, fmt::format("{}_history", text_of(view, "name"))).text(21, options_.project);
  }

  Message push_source(std::string_view name, const Message& batch) const {
    Message source;
    source.number(1, 9).text(17, "feast.data_source.PushSource").text(20, name).text(21, options_.project);
    return source.message(26, batch);
  }

  void add_view(element view) {
    Message spec;
    spec.text(1, text_of(view, "name")).text(2, options_.project);
    for (const element entity : view["entities"].get_array()) spec.text(3, entity.get_string().value());
    for (const element feature : view["features"].get_array()) spec.message(4, feature_spec(feature));
    add_tags(spec, 5, view);
    const double ttl_s = view["ttl_s"].get_double().value();
    const auto seconds = static_cast<uint64_t>(ttl_s);
    spec.message(6, Message().number(1, seconds).number(2, static_cast<uint64_t>((ttl_s - double(seconds)) * 1e9)));
    const Message batch = batch_source(view);
    registry_.message(12, batch);
    spec.message(7, batch).number(8, 1);
    if (const std::string_view push = text_of(view, "push_source"); !push.empty()) {
      const Message source = push_source(push, batch);
      // Several views may have one source, but its name stands for one.
      if (push_sources_.insert(std::string(push)).second) registry_.message(12, source);
      spec.message(9, source);
    }
    spec.text(10, text_of(view, "description"));
    for (const element name : view["entities"].get_array()) {
      const element entity = join_keys_.at(name.get_string().value());
      spec.message(12,
                   Message().text(1, text_of(entity, "join_key")).number(2, feast_type(text_of(entity, "value_type"))));
    }
    registry_.message(6, Message().message(1, spec).message(2, meta_));
    views_[text_of(view, "name")] = view;
  }

  void add_service(element service) {
    Message spec;
    spec.text(1, text_of(service, "name")).text(2, options_.project);
    // A projection a view, in the order in which the views are first named.
    std::vector<std::pair<std::string, Message>> projections;
    for (const element reference : service["features"].get_array()) {
      const std::string_view name = reference.get_string().value();
      const size_t colon = name.find(':');
      const std::string view(name.substr(0, colon));
      auto found = std::find_if(projections.begin(), projections.end(), [&](const auto& p) { return p.first == view; });
      if (found == projections.end())
        found = projections.insert(found, {view, Message().text(1, view).text(11, "featureView")});
      for (const element feature : views_.at(view)["features"].get_array())
        if (text_of(feature, "name") == name.substr(colon + 1)) found->second.message(2, feature_spec(feature));
    }
    for (const auto& [view, projection] : projections) spec.message(3, projection);
    add_tags(spec, 4, service);
    spec.text(5, text_of(service, "description"));
    registry_.message(7, Message().message(1, spec).message(2, meta_));
  }

  element definitions_;
  const RegistryOptions& options_;
  Message registry_, moment_, meta_;
  std::map<std::string_view, element> join_keys_, views_;  // entities and views by name
  std::set<std::string> push_sources_;
};

// -- In ----------------------------------------------------------------------------------------------------------

struct FeastFeature {
  std::string name, type, description, metric;
  uint64_t feast_type = 0, vector_length = 0;
  bool vector = false;
  std::map<std::string, std::string> tags;
};

// An entity, a feature view (also a stream feature view) or a feature service.
struct Object {
  std::string name, project, description, join_key, push_source;
  uint64_t value_type = 0;
  double ttl_s = 0;
  std::map<std::string, std::string> tags;
  std::vector<std::string> entities;
  std::vector<FeastFeature> features, entity_columns;
  std::vector<std::pair<std::string, std::vector<std::string>>> projections;  // view, features; none: all
  bool renames = false;  // a service whose views go by other names or join keys
};

void read_tag(std::map<std::string, std::string>& tags, std::string_view entry) {
  std::string key, value;
  Reader reader(entry);
  while (const auto field = reader.next()) {
    if (field->number == 1) key = field->text();
    if (field->number == 2) value = field->text();
  }
  tags[key] = value;
}

FeastFeature read_feature(std::string_view bytes) {
  FeastFeature feature;
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) feature.name = field->text();
    if (field->number == 2) feature.feast_type = field->value;
    if (field->number == 3) read_tag(feature.tags, field->message());
    if (field->number == 4) feature.description = field->text();
    if (field->number == 5) feature.vector = field->value != 0;
    if (field->number == 6) feature.metric = field->text();
    if (field->number == 7) feature.vector_length = field->value;
  }
  feature.type = type_name_of(feature.feast_type);
  for (char& c : feature.metric) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (feature.type == "float_list" && feature.vector && feature.vector_length > 0) feature.type = "vector";
  return feature;
}

double read_duration(std::string_view bytes) {
  double seconds = 0;
  Reader reader(bytes);
  while (const auto field = reader.next())
    if (field->number == 1 || field->number == 2)
      seconds += static_cast<double>(static_cast<int64_t>(field->value)) * (field->number == 1 ? 1 : 1e-9);
  return seconds;
}

// The name of a source that is pushed to; otherwise nothing.
std::string read_push_source(std::string_view bytes) {
  constexpr uint64_t kPushSource = 9;
  std::string name;
  uint64_t type = 0;
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) type = field->value;
    if (field->number == 20) name = field->text();
  }
  return type == kPushSource ? name : "";
}

Object read_entity(std::string_view bytes) {
  Object entity;
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) entity.name = field->text();
    if (field->number == 2) entity.value_type = field->value;
    if (field->number == 3) entity.description = field->text();
    if (field->number == 4) entity.join_key = field->text();
    if (field->number == 8) read_tag(entity.tags, field->message());
    if (field->number == 9) entity.project = field->text();
  }
  return entity;
}

// The numbers of the fields differ between the two kinds of views.
struct ViewFields {
  uint32_t features = 0, tags = 0, ttl = 0, stream_source = 0, description = 0, entity_columns = 0;
  uint32_t entities = 0;
};
constexpr ViewFields kViewFields{4, 5, 6, 9, 10, 12, 3};
constexpr ViewFields kStreamViewFields{4, 7, 9, 11, 6, 5, 3};
constexpr ViewFields kNameOnly{};

Object read_view(std::string_view bytes, const ViewFields& numbers) {
  Object view;
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) view.name = field->text();
    if (field->number == 2) view.project = field->text();
    if (field->number == numbers.entities) view.entities.push_back(field->text());
    if (field->number == numbers.features) view.features.push_back(read_feature(field->message()));
    if (field->number == numbers.tags) read_tag(view.tags, field->message());
    if (field->number == numbers.ttl) view.ttl_s = read_duration(field->message());
    if (field->number == numbers.stream_source) view.push_source = read_push_source(field->message());
    if (field->number == numbers.description) view.description = field->text();
    if (field->number == numbers.entity_columns) view.entity_columns.push_back(read_feature(field->message()));
  }
  return view;
}

Object read_service(std::string_view bytes) {
  Object service;
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) service.name = field->text();
    if (field->number == 2) service.project = field->text();
    if (field->number == 4) read_tag(service.tags, field->message());
    if (field->number == 5) service.description = field->text();
    if (field->number != 3) continue;
    auto& [view, features] = service.projections.emplace_back();
    Reader projection(field->message());
    while (const auto part = projection.next()) {
      if (part->number == 1) view = part->text();
      if (part->number == 2) features.push_back(read_feature(part->message()).name);
      // name_alias, join_key_map: another name for the view, or for its join keys, in this service.
      if (part->number == 3 || part->number == 4) service.renames = true;
    }
  }
  return service;
}

// Of {spec = 1, meta = 2}.
std::string_view spec_of(std::string_view bytes) {
  std::string_view spec;
  Reader reader(bytes);
  while (const auto field = reader.next())
    if (field->number == 1) spec = field->message();
  return spec;
}

void write_tags(json::Writer& out, const std::map<std::string, std::string>& tags) {
  out.key("tags");
  out.begin_object();
  for (const auto& [key, value] : tags) out.field(key, value);
  out.end_object();
}

class RegistryReader {
 public:
  ImportedRegistry read(std::string_view registry, const std::string& project);

 private:
  void read_objects(std::string_view registry);
  void write_entities(json::Writer& out);
  void write_views(json::Writer& out);
  void write_feature(json::Writer& out, const FeastFeature& feature) const;
  void write_services(json::Writer& out);
  bool is_wanted(const Object& object) const { return object.project.empty() || object.project == project_; }
  void leave_out(const std::string& what, const std::string& why) { left_out_.push_back(what + ": " + why); }

  std::string project_;
  std::set<std::string> projects_;
  std::vector<Object> entities_, views_, services_;
  std::vector<std::pair<std::string, std::string>> others_;  // name, project of on-demand and label views
  std::map<std::string, std::string> entity_names_;          // as they are written; none: left out
  std::map<std::string, std::set<std::string>> written_;     // features by view
  std::vector<std::string> left_out_;
};

void RegistryReader::read_objects(std::string_view registry) {
  Reader reader(registry);
  while (const auto field = reader.next()) {
    const auto spec = [&] { return spec_of(field->message()); };
    if (field->number == 1) entities_.push_back(read_entity(spec()));
    if (field->number == 6) views_.push_back(read_view(spec(), kViewFields));
    if (field->number == 14) views_.push_back(read_view(spec(), kStreamViewFields));
    if (field->number == 7) services_.push_back(read_service(spec()));
    if (field->number == 8 || field->number == 19) {
      // Of on-demand and label views the other fields are other things: sources, a pickled function.
      const Object other = read_view(spec(), kNameOnly);
      others_.emplace_back(other.name, other.project);
    }
  }
  for (const auto* objects : {&entities_, &views_, &services_})
    for (const Object& object : *objects) projects_.insert(object.project);
  projects_.erase("");
}

void RegistryReader::write_entities(json::Writer& out) {
  std::map<std::string, uint64_t> key_types;  // where the entity itself does not say
  std::set<std::string> used;
  std::map<std::string, std::string> owners;  // entities by join key
  for (const Object& view : views_) {
    if (!is_wanted(view)) continue;
    used.insert(view.entities.begin(), view.entities.end());
    for (const FeastFeature& column : view.entity_columns) key_types.emplace(column.name, column.feast_type);
  }
  out.key("entities");
  out.begin_array();
  for (const Object& entity : entities_) {
    // Feast puts this one into every registry, for views without entities.
    if (!is_wanted(entity) || (entity.name == "__dummy" && !used.contains(entity.name))) continue;
    const auto known = key_types.find(entity.join_key);
    const uint64_t number = entity.value_type != 0 ? entity.value_type : known != key_types.end() ? known->second : 0;
    const std::string type(number == 0 ? "string" : type_name_of(number));
    const std::string join_key = entity.join_key.empty() ? entity.name : entity.join_key;
    if (!is_key_type(type)) {
      leave_out("entity " + entity.name, "no join key here is Feast's number " + std::to_string(number));
      continue;
    }
    const auto [owner, first] = owners.emplace(join_key, entity.name);
    entity_names_[entity.name] = owner->second;
    if (!first) {
      leave_out("entity " + entity.name, "its join key is that of " + owner->second + ", which its views have instead");
      continue;
    }
    out.begin_object();
    out.field("name", entity.name);
    out.field("join_key", join_key);
    out.field("value_type", type);
    out.field("description", entity.description);
    write_tags(out, entity.tags);
    out.end_object();
  }
  out.end_array();
}

// Feast takes any name; one that is none of these goes by the default.
const std::set<std::string> kMetrics = {"cosine", "inner_product", "l2"};

void RegistryReader::write_feature(json::Writer& out, const FeastFeature& feature) const {
  out.begin_object();
  out.field("name", feature.name);
  out.field("value_type", feature.type);
  out.field("description", feature.description);
  if (feature.type == "vector") {
    out.field("vector_length", feature.vector_length);
    if (kMetrics.contains(feature.metric)) out.field("vector_search_metric", feature.metric);
  }
  write_tags(out, feature.tags);
  out.end_object();
}

void RegistryReader::write_views(json::Writer& out) {
  out.key("feature_views");
  out.begin_array();
  for (const Object& view : views_) {
    if (!is_wanted(view)) continue;
    const auto lost =
        std::ranges::find_if(view.entities, [&](const std::string& e) { return !entity_names_.contains(e); });
    if (lost != view.entities.end()) {
      leave_out("feature view " + view.name, "its entity " + *lost + " is left out");
      continue;
    }
    std::vector<FeastFeature> features;
    for (const FeastFeature& feature : view.features) {
      if (feature.type.empty())
        leave_out("feature " + view.name + ":" + feature.name,
                  "no type here is Feast's number " + std::to_string(feature.feast_type));
      else
        features.push_back(feature);
    }
    if (features.empty()) {
      leave_out("feature view " + view.name, "no feature of it is left");
      continue;
    }
    out.begin_object();
    out.field("name", view.name);
    out.field("ttl_s", view.ttl_s);
    out.field("description", view.description);
    if (!view.push_source.empty()) out.field("push_source", view.push_source);
    write_tags(out, view.tags);
    out.key("entities");
    out.begin_array();
    for (const std::string& entity : view.entities) out.string(entity_names_.at(entity));
    out.end_array();
    out.key("features");
    out.begin_array();
    for (const FeastFeature& feature : features) {
      write_feature(out, feature);
      written_[view.name].insert(feature.name);
    }
    out.end_array();
    out.end_object();
  }
  out.end_array();
  for (const auto& [name, project] : others_)
    if (project.empty() || project == project_)
      leave_out("feature view " + name, "it is computed when it is asked for, by Python");
}

void RegistryReader::write_services(json::Writer& out) {
  out.key("feature_services");
  out.begin_array();
  for (const Object& service : services_) {
    if (!is_wanted(service)) continue;
    if (service.renames) {
      leave_out("feature service " + service.name, "it gives a view another name or other join keys");
      continue;
    }
    std::vector<std::string> references;
    for (const auto& [view, features] : service.projections) {
      const auto known = written_.find(view);
      if (known == written_.end()) leave_out("feature service " + service.name + ", its view " + view, "left out");
      if (known == written_.end()) continue;
      if (features.empty()) references.push_back(view);
      for (const std::string& feature : features)
        if (known->second.contains(feature)) references.push_back(view + ":" + feature);
    }
    if (references.empty()) {
      leave_out("feature service " + service.name, "no feature of it is left");
      continue;
    }
    out.begin_object();
    out.field("name", service.name);
    out.field("description", service.description);
    write_tags(out, service.tags);
    out.key("features");
    out.begin_array();
    for (const std::string& reference : references) out.string(reference);
    out.end_array();
    out.end_object();
  }
  out.end_array();
}

ImportedRegistry RegistryReader::read(std::string_view registry, const std::string& project) {
  read_objects(registry);
  if (project.empty() && projects_.size() > 1)
    throw invalid(fmt::format("the registry has several projects: name one of {}", fmt::join(projects_, ", ")));
  if (!project.empty() && !projects_.contains(project))
    throw invalid(fmt::format("the registry has no project {}; there are: {}", project, fmt::join(projects_, ", ")));
  if (entities_.empty() && views_.empty()) throw invalid("the file is no Feast registry, or an empty one");
  project_ = !project.empty() || projects_.empty() ? project : *projects_.begin();
  ImportedRegistry imported;
  json::Writer out(imported.declaration);
  out.begin_object();
  write_entities(out);
  write_views(out);
  write_services(out);
  out.end_object();
  imported.left_out = std::move(left_out_);
  return imported;
}

}  // namespace

std::string registry_of(element definitions, const RegistryOptions& options) {
  return RegistryWriter(definitions, options).bytes();
}

ImportedRegistry declaration_of(std::string_view registry, const std::string& project) {
  return RegistryReader().read(registry, project);
}

}  // namespace cairn::features
