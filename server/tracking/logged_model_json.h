// Logged models as MLflow's API shows them: read for a whole page at once, written as JSON by one function.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "db/transaction.h"

namespace cairn::tracking {

struct LoggedModels {
  db::Rows models;   // in the order that was asked for
  db::Rows metrics;  // their points, model by model
};

// The models with these ids, deleted ones too; unknown ids are left out. One round trip. The models' points fit them
// when the transaction is a repeatable-read one.
task<LoggedModels> load_logged_models(db::Transaction& transaction, const std::vector<std::string>& model_ids);

// [{"info": …, "data": …}, …]
void write_logged_models(json::Writer& writer, const LoggedModels& models);
// The first element of that list.
void write_logged_model(json::Writer& writer, const LoggedModels& models);

}  // namespace cairn::tracking
