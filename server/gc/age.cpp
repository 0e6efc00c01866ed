#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "gc/api.h"

namespace cairn::gc {

std::chrono::milliseconds parse_age(const std::string& text) {
  using namespace std::chrono_literals;
  constexpr size_t kMaxDigits = 9;
  std::chrono::milliseconds age{0};
  size_t at = 0;
  do {
    size_t end = at;
    while (end < text.size() && isdigit(static_cast<unsigned char>(text[end]))) ++end;
    const char unit = end < text.size() ? text[end] : '\0';
    const std::chrono::milliseconds one = unit == 'd'   ? 24h
                                          : unit == 'h' ? 1h
                                          : unit == 'm' ? 1min
                                          : unit == 's' ? 1s
                                                        : 0s;
    if (end == at || end - at > kMaxDigits || one.count() == 0) {
      throw invalid("'" + text + "' is no age: give days, hours, minutes and seconds, such as 30d, 12h or 1d12h30m");
    }
    age += one * std::stol(text.substr(at, end - at));
    at = end + 1;
  } while (at < text.size());
  return age;
}

}  // namespace cairn::gc
