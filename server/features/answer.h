// What a read of features answers with, in each of its forms.
#pragma once

#include <string>
#include <vector>

#include "features/values.h"

namespace cairn::features {

enum class FoundState : uint8_t { kNotFound, kOutsideMaxAge, kPresent };

// What was found for one entity of one view.
struct Found {
  FoundState state = FoundState::kNotFound;
  int64_t event_us = 0, age_us = 0;  // of an event that was found
  StoredValues values;               // kPresent only
};

// `found`: view by view, of each a row after the other. `columns` has those that the query names as given.
std::string answer_of(AnswerForm form, const FeatureQuery& query, const Columns& columns,
                      const std::vector<Found>& found);

}  // namespace cairn::features
