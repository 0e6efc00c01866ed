#include "maintain/cron.h"

#include <charconv>
#include <chrono>
#include <vector>

#include "base/error.h"

namespace cairn::maintain {
namespace {

constexpr int64_t kDay_s = 86'400;
constexpr int64_t kDaysAhead = 8 * 366;
constexpr int64_t kIntervalMax_s = 366 * kDay_s;

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    if (at != ' ' || end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Field {
  const char* name;
  int least, most;
};

Error wrong(const Field& field, std::string_view text) {
  return invalid("'" + std::string(text) + "' is no " + field.name + " of a schedule: it takes *, numbers from " +
                 std::to_string(field.least) + " to " + std::to_string(field.most) +
                 ", a-b, /step, and lists of these with commas between them");
}

struct Range {
  int from, to, step;
};

Range range_of(const Field& field, std::string_view item) {
  const auto steps = split(item, '/');
  const auto bounds = split(steps[0], '-');
  Range range{field.least, field.most, 1};
  if (steps.size() > 2 || bounds.size() > 2) throw wrong(field, item);
  if (steps.size() == 2) {
    const auto step = number(steps[1]);
    if (!step || *step == 0) throw wrong(field, item);
    range.step = *step;
  }
  if (steps[0] == "*") return range;
  const auto from = number(bounds[0]);
  const auto to = bounds.size() == 2 ? number(bounds[1]) : from;
  if (!from || !to || *from < field.least || *to > field.most || *from > *to) throw wrong(field, item);
  range.from = *from;
  // In cron "5/10" goes on to the end, "5" is one.
  range.to = bounds.size() == 1 && steps.size() == 2 ? field.most : *to;
  return range;
}

template <size_t kSize>
void set_bits(std::bitset<kSize>& bits, const Field& field, std::string_view text) {
  for (const std::string_view item : split(text, ',')) {
    const Range range = range_of(field, item);
    for (int value = range.from; value <= range.to; value += range.step) bits.set(static_cast<size_t>(value));
  }
}

constexpr Field kMinute{"minute", 0, 59}, kHour{"hour", 0, 23}, kDayOfMonth{"day of the month", 1, 31},
    kMonth{"month", 1, 12}, kWeekday{"day of the week", 0, 7};

}  // namespace

Cron::Cron(std::string_view text) {
  const auto fields = split(text, ' ');
  if (fields.size() == 2 && (fields[1] == "seconds" || fields[1] == "second")) {
    const auto seconds = number(fields[0]);
    if (!seconds || *seconds < 1 || *seconds > kIntervalMax_s)
      throw invalid("'" + std::string(text) + "' is no schedule: a number of seconds between 1 and a year");
    interval_s_ = *seconds;
    return;
  }
  if (fields.size() != 5)
    throw invalid(
        "'" + std::string(text) +
        "' is no schedule: it takes five fields (minute, hour, day of the month, month, day of the week, in UTC), as "
        "in '0 2 * * 0#1', or 'N seconds'");
  set_bits(minutes_, kMinute, fields[0]);
  set_bits(hours_, kHour, fields[1]);
  set_bits(days_, kDayOfMonth, fields[2]);
  set_bits(months_, kMonth, fields[3]);
  any_day_ = fields[2].starts_with('*');
  any_weekday_ = fields[4].starts_with('*');
  for (const std::string_view item : split(fields[4], ',')) {
    const size_t hash = item.find('#');
    if (hash == std::string_view::npos) {
      set_bits(weekdays_, kWeekday, item);
      continue;
    }
    const auto weekday = number(item.substr(0, hash)), nth = number(item.substr(hash + 1));
    if (!weekday || *weekday > 7 || !nth || *nth < 1 || *nth > 5) throw wrong(kWeekday, item);
    nths_[*weekday % 7].set(static_cast<size_t>(*nth));
  }
  if (weekdays_.test(7)) weekdays_.set(0);
}

bool Cron::wants_day(int64_t day) const {
  const std::chrono::sys_days date{std::chrono::days(day)};
  const std::chrono::year_month_day calendar(date);
  const unsigned of_month = static_cast<unsigned>(calendar.day());
  if (!months_.test(static_cast<unsigned>(calendar.month()))) return false;
  const unsigned weekday = std::chrono::weekday(date).c_encoding();
  const bool by_weekday = weekdays_.test(weekday) || nths_[weekday].test((of_month + 6) / 7);
  const bool by_day = days_.test(of_month);
  return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<int64_t> Cron::next(int64_t after_s) const {
  if (interval_s_ > 0) return after_s + interval_s_;
  const int64_t first = after_s / 60 * 60 + 60;
  for (int64_t day = first / kDay_s; day < first / kDay_s + kDaysAhead; ++day) {
    if (!wants_day(day)) continue;
    for (int64_t minute = 0; minute < kDay_s / 60; ++minute) {
      const int64_t at = day * kDay_s + minute * 60;
      if (at >= first && hours_.test(static_cast<size_t>(minute / 60)) &&
          minutes_.test(static_cast<size_t>(minute % 60)))
        return at;
    }
  }
  return std::nullopt;
}

QuietHours::QuietHours(std::string_view text) {
  const auto ends = split(text, '-');
  bool good = ends.size() == 2;
  int minutes[2] = {0, 0};
  for (size_t i = 0; good && i < 2; ++i) {
    const auto parts = split(ends[i], ':');
    const auto hour = number(parts[0]);
    const auto minute = parts.size() == 2 ? number(parts[1]) : std::nullopt;
    good = hour && minute && *minute < 60 && *hour * 60 + *minute <= 24 * 60;
    if (good) minutes[i] = *hour * 60 + *minute;
  }
  if (!good || minutes[0] == minutes[1])
    throw invalid("'" + std::string(text) + "' are no quiet hours: they are as '01:00-05:00', in UTC");
  from_min_ = minutes[0];
  to_min_ = minutes[1];
}

bool QuietHours::contain(int64_t at_s) const {
  const auto minute = static_cast<int>(at_s % kDay_s / 60);
  if (from_min_ < to_min_) return from_min_ <= minute && minute < to_min_;
  return minute >= from_min_ || minute < to_min_;
}

}  // namespace cairn::maintain
