// When a job is to run: five fields as cron has them, in UTC, or an interval. Pure.
//
// minute hour day-of-month month day-of-week; each *, a number, a-b, with /step, lists of these. Sunday is 0 and 7; a
// day of the week may be d#n, the n-th of its month. As in cron, a day that is wanted by either day field is wanted
// when both are restricted. "90 seconds": so long after the last time.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::maintain {

class Cron {
 public:
  // Throws Error(kInvalidParameterValue) that says which field is wrong.
  explicit Cron(std::string_view text);

  // The first moment after `after_s`, both in seconds since 1970. Nothing: there is none within eight years (30
  // February).
  std::optional<int64_t> next(int64_t after_s) const;

 private:
  bool wants_day(int64_t day) const;

  int64_t interval_s_ = 0;  // 0: by the fields
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<8> weekdays_;  // 0: Sunday
  std::bitset<6> nths_[7];   // of that weekday: 1 to 5
  bool any_day_ = true, any_weekday_ = true;
};

// Hours of the day in which heavy work may be begun: "01:00-05:00", over midnight too.
class QuietHours {
 public:
  explicit QuietHours(std::string_view text);
  bool contain(int64_t at_s) const;

 private:
  int from_min_ = 0, to_min_ = 0;
};

}  // namespace cairn::maintain
