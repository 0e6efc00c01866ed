#pragma once

#include "app/commands.h"

namespace cairn::app {

// Of `cairn features`.
void add_training_sets(CommandLine& line, CLI::App* features);

}  // namespace cairn::app
