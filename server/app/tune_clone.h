// Options of the commands that try changes on a clone.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/config.h"
#include "tuner/prove/clone.h"

namespace cairn::app {

// --clone, --clone-url, --clone-dir, --clone-buffers-mb and --sample-rows. `clone` must outlive the command line.
std::shared_ptr<std::string> add_clone_options(CLI::App* command, tuner::CloneOptions& clone);

// What they do not say: of which database, and who may copy it. `kind` is what add_clone_options() gave.
void complete_clone(tuner::CloneOptions& clone, const std::string& kind, const ServerConfig& config,
                    const std::string& connection_string);

}  // namespace cairn::app
