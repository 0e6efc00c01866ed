#include "app/tune_clone.h"

#include <map>

#include "tuner/catalog/session.h"

namespace cairn::app {
namespace {

const std::map<std::string, tuner::CloneKind> kClones{{"auto", tuner::CloneKind::kAuto},
                                                      {"template", tuner::CloneKind::kTemplate},
                                                      {"basebackup", tuner::CloneKind::kBaseBackup},
                                                      {"sample", tuner::CloneKind::kSample}};

}  // namespace

std::shared_ptr<std::string> add_clone_options(CLI::App* command, tuner::CloneOptions& clone) {
  auto kind = std::make_shared<std::string>("auto");
  command
      ->add_option(
          "--clone", *kind,
          "template (CREATE DATABASE … TEMPLATE), basebackup, sample (some of the rows; it is enough to read), or auto "
          "(default): template or basebackup, the first that can be")
      ->check(CLI::Validator(CLI::IsMember(&kClones)).description(""));
  command->add_option("--clone-url", clone.url, "Use this clone: a restored backup, a replica that was promoted");
  command->add_option("--clone-dir", clone.directory,
                      "Where a base backup or a sample is put for the time (default: /tmp)");
  command
      ->add_option("--clone-buffers-mb", clone.shared_buffers_mb,
                   "shared_buffers of its server (default: as the database's, at most 128)")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--sample-rows", clone.sample_rows, "Rows of a table in a sample, at most (default: 100000)")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}));
  return kind;
}

void complete_clone(tuner::CloneOptions& clone, const std::string& kind, const ServerConfig& config,
                    const std::string& connection_string) {
  clone.kind = kClones.at(kind);
  clone.target = connection_string;
  // The embedded database's owner may not copy it; its superuser is of this machine.
  if (config.database_url.empty()) clone.administrator = tuner::with_options(clone.target, {{"user", "postgres"}});
  clone.binary_directory = config.postgres_bin;
}

}  // namespace cairn::app
