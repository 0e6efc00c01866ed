// The command line: one function a command. Each adds its subcommand; parsing the arguments chooses what main runs.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>

#include "base/config.h"

namespace cairn::app {

class CommandLine {
 public:
  explicit CommandLine(CLI::App& root) : root_(root) {}

  CLI::App* add(CLI::App* parent, const std::string& name, const std::string& help) {
    return parent->add_subcommand(name, help);
  }
  CLI::App* add(const std::string& name, const std::string& help) { return add(&root_, name, help); }
  // `action` runs, and gives the exit code, when `command` was chosen, and none below it.
  void on(CLI::App* command, std::function<int()> action) {
    command->callback([this, command, action = std::move(action)] {
      if (command->get_subcommands().empty()) chosen_ = action;
    });
  }
  // The settings (base/config.h) of these names as options of the command, and --config.
  void add_settings(CLI::App* command, std::initializer_list<const char*> names);
  // For use in an action: the settings from all sources.
  ServerConfig settings() const { return load_config(sources_with_environment()); }

  CLI::App& root() { return root_; }
  int run() const { return chosen_ ? chosen_() : 0; }

 private:
  ConfigSources sources_with_environment() const;

  CLI::App& root_;
  ConfigSources sources_;
  std::function<int()> chosen_;
};

void add_serve(CommandLine& line);
void add_demo(CommandLine& line);
void add_migrate(CommandLine& line);
void add_runs(CommandLine& line);
void add_models(CommandLine& line);
void add_jobs(CommandLine& line);
void add_features(CommandLine& line);
void add_search(CommandLine& line);
void add_doctor(CommandLine& line);
void add_transfer(CommandLine& line);
void add_gc(CommandLine& line);
void add_tune(CommandLine& line);
void add_tune_explain(CommandLine& line, CLI::App* tune);
void add_tune_prove(CommandLine& line, CLI::App* tune);
void add_tune_refresh(CommandLine& line, CLI::App* tune);
void add_tune_apply(CommandLine& line, CLI::App* tune);
void add_tune_guard(CommandLine& line, CLI::App* tune);
void add_tune_autopilot(CommandLine& line, CLI::App* tune);
void add_tune_report(CommandLine& line, CLI::App* tune);
void add_partitions(CommandLine& line);
void add_monitor(CommandLine& line);
void add_backup(CommandLine& line);
void add_replica(CommandLine& line);
void add_credentials(CommandLine& line);
void add_completion(CommandLine& line);
void add_version(CommandLine& line);
void add_workload(CommandLine& line);
void add_pool(CommandLine& line);
void add_triage(CommandLine& line);
void add_maintain(CommandLine& line);
void add_runbook(CommandLine& line);

}  // namespace cairn::app
