// The images as entities of the feature store: what their pixels sum up to, written once and read back as a model asks
// for it.
#pragma once

#include "demo/client.h"
#include "demo/digits.h"
#include "demo/report.h"

namespace cairn::demo {

// Throws Error when a value does not come back as it was written, or one of the future comes back.
void keep_features(Client& client, const Digits& digits, Step& step);

}  // namespace cairn::demo
