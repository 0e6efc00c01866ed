// The summary of the demonstration: steps that held or did not, with their figures, and tables.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::demo {

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;
};

struct Step {
  std::string name;
  std::string summary;  // one line for people; why, when it did not hold
  bool run = true;      // false after a step that did not hold
  bool held = false;
  double seconds = 0;
  std::vector<std::pair<std::string, std::string>> figures;  // name and JSON value
  std::optional<Table> table;

  void figure(const std::string& name, int64_t value);
  void figure(const std::string& name, int value) { figure(name, int64_t{value}); }
  void figure(const std::string& name, size_t value) { figure(name, static_cast<int64_t>(value)); }
  void figure(const std::string& name, double value);
  void figure(const std::string& name, const std::string& value);
};

// Throws Error, so that the step does not hold.
void require(bool condition, const std::string& otherwise);

class Report {
 public:
  // As JSON nothing is printed before finish().
  Report(bool json, std::ostream& out);

  void title(const std::string& text);
  // Runs the body, which throws when the step does not hold. After one that did not hold the rest are not run.
  void step(const std::string& name, const std::function<void(Step&)>& body);
  // What goes on, on standard error: on a terminal in one line that changes.
  void progress(const std::string& text);

  bool held() const;
  // The last line, or the JSON object. `url`: of the server, which `kept` says to be up still.
  void finish(const std::string& url, bool kept);

 private:
  void print(const Step& step);
  void print(const Table& table);
  std::string paint(const char* code, const std::string& text) const;
  void clear_progress();

  bool json_;
  std::ostream& out_;
  bool colours_;
  bool terminal_;  // standard error is one
  bool progress_shown_ = false;
  bool after_table_ = false;
  double seconds_ = 0;
  std::vector<Step> steps_;
};

// 1797 as "1,797".
std::string with_commas(int64_t number);

}  // namespace cairn::demo
