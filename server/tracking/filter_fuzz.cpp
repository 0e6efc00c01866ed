// needs: base/error.cpp base/json.cpp base/bytes.cpp db/statement.cpp
// needs: tracking/filter.cpp tracking/filter_tokens.cpp tracking/search_sql.cpp
// The searches' filters, orders and page tokens: whatever the bytes, they are refused with an Error or become one SQL
// statement that holds nothing of them but parameters. The first line is the filter, the second the order, the rest the
// token.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "tracking/filter.h"
#include "tracking/search_sql.h"

namespace {

using namespace cairn;
using namespace cairn::tracking;

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

// Every second name is known.
KeyIds ids_of(const std::vector<std::string>& names) {
  KeyIds ids;
  for (size_t i = 0; i < names.size(); i += 2) ids.emplace(names[i], static_cast<int32_t>(i));
  return ids;
}

void search(Subject subject, std::string_view text) {
  const Filter filter = parse_filter(subject, take_line(text));
  std::vector<OrderBy> order;
  if (const auto clause = take_line(text); !clause.empty()) order = parse_order_by(subject, {std::string(clause)});
  SearchQuery query(subject, ids_of(SearchQuery::key_names(filter, order)));
  query.where("r.experiment_id = " + query.bind(int64_t{1}));
  query.where(filter);
  query.order_by(order);
  if (!text.empty()) query.after(std::string(text));
  const std::string sql = query.sql(100);
  fuzz::require_bound(sql, query.take_params().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto subject : {Subject::kRuns, Subject::kExperiments, Subject::kLoggedModels}) {
    try {
      search(subject, text);
    } catch (const Error& error) {
      fuzz::require(error.code() == ErrorCode::kInvalidParameterValue);
    }
  }
  return 0;
}
