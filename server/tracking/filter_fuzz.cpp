// Whatever the bytes, parsing returns or throws Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tracking/filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto subject : {cairn::tracking::Subject::kRuns, cairn::tracking::Subject::kExperiments}) {
    try {
      cairn::tracking::parse_filter(subject, text);
    } catch (const cairn::Error&) {
    }
    try {
      cairn::tracking::parse_order_by(subject, {std::string(text)});
    } catch (const cairn::Error&) {
    }
  }
  return 0;
}
