#include "demo/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "base/error.h"
#include "base/json.h"
#include "demo/client.h"

namespace cairn::demo {
namespace {

constexpr size_t kRowsShown = 8;
constexpr size_t kNameWidth = 8;
constexpr size_t kSummaryWidth = 92;
constexpr const char* kNull = "-";

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("+-.0123456789e") == text.npos;
}

std::string number_text(double value) {
  std::string text;
  json::Writer(text).number(value);
  return text;
}

}  // namespace

std::string with_commas(int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<ptrdiff_t>(text.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    text.insert(static_cast<size_t>(at), ",");
  return text;
}

void Step::figure(const std::string& name, int64_t value) { figures.emplace_back(name, std::to_string(value)); }
void Step::figure(const std::string& name, double value) { figures.emplace_back(name, number_text(value)); }
void Step::figure(const std::string& name, const std::string& value) { figures.emplace_back(name, json::quote(value)); }

void require(bool condition, const std::string& otherwise) {
  if (!condition) throw Error(ErrorCode::kInternalError, otherwise);
}

Report::Report(bool json, std::ostream& out)
    : json_(json),
      out_(out),
      colours_(isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr),
      terminal_(isatty(STDERR_FILENO) != 0) {}

std::string Report::paint(const char* code, const std::string& text) const {
  return colours_ ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
}

void Report::title(const std::string& text) {
  if (!json_) out_ << paint("1", text) << std::endl;
}

void Report::progress(const std::string& text) {
  std::cerr << (terminal_ ? "\r\x1b[K" : "") << "  " << text << (terminal_ ? "" : "\n") << std::flush;
  progress_shown_ = terminal_;
}

void Report::clear_progress() {
  if (std::exchange(progress_shown_, false)) std::cerr << "\r\x1b[K" << std::flush;
}

bool Report::held() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.held; });
}

void Report::step(const std::string& name, const std::function<void(Step&)>& body) {
  Step step;
  step.name = name;
  if (!held()) {
    step.run = false;
    step.summary = "not run, because an earlier step did not hold";
  } else {
    const auto start = std::chrono::steady_clock::now();
    try {
      body(step);
      step.held = true;
    } catch (const std::exception& error) {
      if (stop_wanted()) {
        clear_progress();
        throw Error(ErrorCode::kAborted, "stopped; the demonstration's server and data are removed");
      }
      step.summary = error.what();
    }
    step.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    seconds_ += step.seconds;
  }
  clear_progress();
  if (!json_ && step.run) print(step);
  steps_.push_back(std::move(step));
}

void Report::print(const Step& step) {
  out_ << (step.table || std::exchange(after_table_, false) ? "\n" : "")
       << (step.held ? paint("32", "ok    ") : paint("31", "FAILED")) << " "
       << paint("1", fmt::format("{:<{}}", step.name, step.table ? 0 : kNameWidth)) << " ";
  if (step.table || !step.held)
    out_ << step.summary;
  else
    out_ << fmt::format("{:<{}}", step.summary, kSummaryWidth) << paint("2", fmt::format("{:7.2f} s", step.seconds));
  out_ << std::endl;
  after_table_ = step.table.has_value();
  if (step.table) print(*step.table);
}

void Report::print(const Table& table) {
  const size_t shown = std::min(table.rows.size(), kRowsShown);
  std::string header, lines;
  std::vector<std::string> rows(shown);
  for (size_t c = 0; c < table.columns.size(); ++c) {
    size_t width = table.columns[c].size();
    bool numbers = true;
    for (size_t r = 0; r < shown; ++r) {
      const std::string value = table.rows[r][c].value_or(kNull);
      width = std::max(width, value.size());
      numbers = numbers && (!table.rows[r][c] || is_number(value));
    }
    const auto cell = [&](const std::string& text) {
      return numbers ? fmt::format("  {:>{}}", text, width) : fmt::format("  {:<{}}", text, width);
    };
    header += cell(table.columns[c]);
    for (size_t r = 0; r < shown; ++r) rows[r] += cell(table.rows[r][c].value_or(kNull));
  }
  out_ << paint("4", header) << "\n";
  for (const std::string& row : rows) out_ << row << "\n";
  if (table.rows.size() > shown) out_ << paint("2", fmt::format("  … {} more rows", table.rows.size() - shown)) << "\n";
  out_ << std::flush;
}

void Report::finish(const std::string& url, bool kept) {
  const auto good = std::count_if(steps_.begin(), steps_.end(), [](const Step& step) { return step.held; });
  const auto not_run = std::count_if(steps_.begin(), steps_.end(), [](const Step& step) { return !step.run; });
  if (!json_) {
    out_ << "\n"
         << paint(held() ? "1;32" : "1;31", fmt::format("{} of {} steps held", good, steps_.size()))
         << fmt::format(" in {:.1f} s", seconds_) << (not_run > 0 ? fmt::format("; {} were not run", not_run) : "")
         << std::endl;
    return;
  }
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("held", held());
  writer.field("seconds", seconds_);
  if (kept) writer.field("url", url);
  writer.key("steps");
  writer.begin_array();
  for (const Step& step : steps_) {
    writer.begin_object();
    writer.field("name", step.name);
    writer.field("held", step.held);
    writer.field("seconds", step.seconds);
    writer.field("summary", step.summary);
    writer.key("figures");
    writer.begin_object();
    for (const auto& [name, value] : step.figures) {
      writer.key(name);
      writer.raw(value);
    }
    writer.end_object();
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out_ << text << std::endl;
}

}  // namespace cairn::demo
