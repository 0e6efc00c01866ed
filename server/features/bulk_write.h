// Rows of a view in bulk, from a stream of CSV or of PostgreSQL's binary COPY format.
//
// All rows are read, checked and staged in a temporary table first: a row that cannot be taken leaves nothing behind.
// Then they are written in batches of entities, each a transaction, as values.h's write() would write them. A batch
// that was committed stays; after a failure the same rows again do what is left, as what is there changes nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "db/pool.h"
#include "http/message.h"

namespace cairn::features {

struct BulkWrite {
  std::string view;
  bool binary = false;
  std::vector<std::string> columns;  // names of the binary format's fields; CSV has them in its first line
  int64_t batch_rows = 20'000;       // about; an entity is never divided
};

struct BulkReport {
  int64_t rows = 0;     // read
  int64_t history = 0;  // that were new
  int64_t latest = 0;   // entities whose latest values are new
};

// Throws Error(kInvalidParameterValue) that names the row and the column, Error(kResourceDoesNotExist) for the view.
task<BulkReport> bulk_write(db::Pool& pool, BulkWrite write, std::unique_ptr<http::BodyStream> in);
std::string bulk_report_json(const BulkReport& report);

}  // namespace cairn::features
