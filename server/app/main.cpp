// The binary `cairn`: parses the command line and runs the chosen command. Errors go to standard error as one line.
#include <exception>
#include <iostream>

#include "app/commands.h"
#include "base/error.h"
#include "base/version.h"

namespace {

constexpr int kUsage = 2;
constexpr int kInternal = 1;

}  // namespace

int main(int argc, char** argv) {
  CLI::App root("One PostgreSQL as a whole ML platform: tracking and registry behind MLflow's API.", "cairn");
  root.set_version_flag("--version", std::string(cairn::kVersion));
  root.require_subcommand(1);
  root.footer(
      "Exit codes: 0 done, 1 internal error, 2 usage or invalid input, 3 not found, 4 conflict, 5 unavailable, 6 "
      "denied.\n"
      "`cairn COMMAND --help` explains a command.");
  cairn::app::CommandLine line(root);
  cairn::app::add_serve(line);
  cairn::app::add_demo(line);
  cairn::app::add_migrate(line);
  cairn::app::add_runs(line);
  cairn::app::add_models(line);
  cairn::app::add_jobs(line);
  cairn::app::add_features(line);
  cairn::app::add_search(line);
  cairn::app::add_doctor(line);
  cairn::app::add_transfer(line);
  cairn::app::add_gc(line);
  cairn::app::add_backup(line);
  cairn::app::add_replica(line);
  cairn::app::add_tune(line);
  cairn::app::add_workload(line);
  cairn::app::add_pool(line);
  cairn::app::add_partitions(line);
  cairn::app::add_monitor(line);
  cairn::app::add_triage(line);
  cairn::app::add_maintain(line);
  cairn::app::add_runbook(line);
  cairn::app::add_credentials(line);
  cairn::app::add_completion(line);
  cairn::app::add_version(line);
  try {
    root.parse(argc, argv);
    return line.run();
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? 0 : kUsage;
  } catch (const cairn::Error& error) {
    std::cerr << "cairn: " << error.what() << "\n";
    return cairn::exit_code(error.code());
  } catch (const std::exception& error) {
    std::cerr << "cairn: " << error.what() << "\n";
    return kInternal;
  }
}
