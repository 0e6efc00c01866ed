// Documents about a database's performance, from what was measured in it: text 002's, by its names. Pure functions;
// report_cli.h reads what they say.
//
//   docs/performance-baseline.md       what its statements took before anything was changed
//   docs/index-strategy.md             the advice: which indexes, why, and which not
//   docs/performance-results.md        before and after, and the verdict of the proof
//   docs/performance-improvements.md   the journal, as a history
//   docs/runbook-performance-tuning.md what to do when it is slow, with this database's figures
//   sql/50_indexes.sql                 the indexes, for psql
//   docs/performance-results.svg       before and after as a picture, once something was applied
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tuner/advise/advice.h"
#include "tuner/apply/journal.h"
#include "tuner/catalog/catalog.h"
#include "tuner/plan/explain.h"
#include "tuner/profile/profile.h"
#include "tuner/prove/proof.h"

namespace cairn::tuner {

struct ReportedPlan {
  std::string fingerprint = {};
  Explained explained = {};
};

struct ReportFacts {
  std::string database = {};
  std::string server_version = {};
  int64_t made_at_ms = 0;
  std::optional<int64_t> shared_buffers = {};  // bytes
  Profile before = {};                         // all that was counted before the first change
  std::optional<Profile> after = {};           // what was counted after the last one; absent: nothing was changed yet
  std::vector<ReportedPlan> plans = {};        // as they are now, of the statements with the most time
  std::optional<Advice> advice = {};
  std::optional<Proof> proof = {};
  std::vector<JournalEntry> journal = {};
  Catalog catalog = {};
};

struct ReportDocument {
  std::string path = {};  // below the directory of the report
  std::string text = {};
};

// In the order above. What was not measured is said to be so.
std::vector<ReportDocument> report_documents(const ReportFacts& facts);

}  // namespace cairn::tuner
