#include "tuner/sql/parameter_types.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace cairn::tuner {
namespace {

constexpr size_t kMost = 65'535;  // parameters of a statement

// The n of the first $n; 0: none.
size_t parameter_in(std::string_view message) {
  const size_t at = message.find('$');
  size_t number = 0;
  if (at != std::string_view::npos) std::from_chars(message.data() + at + 1, message.data() + message.size(), number);
  return number;
}

}  // namespace

bool ParameterTypes::learn(const db::DbError& error) {
  if (error.sqlstate() != "42P18") return false;
  const size_t number = parameter_in(error.what());
  if (number == 0 || number > kMost) return false;
  are_text_.resize(std::max(are_text_.size(), number));
  if (are_text_[number - 1]) return false;
  are_text_[number - 1] = true;
  return true;
}

std::string ParameterTypes::sql() const {
  std::string types;
  for (const bool is_text : are_text_)
    types += (types.empty() ? "(" : ", ") + std::string(is_text ? "text" : "unknown");
  return types.empty() ? types : types + ")";
}

}  // namespace cairn::tuner
