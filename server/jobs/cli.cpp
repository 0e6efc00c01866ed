#include "jobs/cli.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"
#include "jobs/worker.h"

namespace cairn::jobs {
namespace {

constexpr size_t kShownError = 60;
constexpr const char* kRow = "{:>8}  {:<9}  {:<12}  {:<16}  {:>8}  {:<19}  {}";

// A field as text: strings without quotes, null as "-".
std::string text_of(const simdjson::dom::element& job, const char* name) {
  const simdjson::dom::element value = job[name];
  if (value.is_null()) return "-";
  return value.is_string() ? std::string(std::string_view(value)) : simdjson::minify(value);
}

std::string time_of(const simdjson::dom::element& job, const char* name) {
  const simdjson::dom::element value = job[name];
  if (value.is_null()) return "-";
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<time_t>(int64_t(value) / 1000)));
}

void print_row(const simdjson::dom::element& job, std::ostream& out) {
  std::string error = text_of(job, "error");
  error = error.substr(0, error.find('\n'));
  if (error.size() > kShownError) error = error.substr(0, kShownError) + "…";
  out << fmt::format(kRow, text_of(job, "job_id"), text_of(job, "status"), text_of(job, "queue"), text_of(job, "kind"),
                     text_of(job, "attempts") + "/" + text_of(job, "max_attempts"), time_of(job, "created_at"), error)
      << "\n";
}

void print_list(const std::string& documents, const JobsOptions& options, std::ostream& out) {
  const json::Document parsed(documents);
  if (options.json) {
    out << simdjson::minify(parsed.root()) << "\n";
    return;
  }
  const auto jobs = simdjson::dom::array(parsed.root());
  if (jobs.size() == 0) {
    out << "no jobs\n";
    return;
  }
  out << fmt::format(kRow, "id", "status", "queue", "kind", "attempts", "created (UTC)", "error") << "\n";
  int64_t last = 0;
  for (const auto job : jobs) {
    print_row(job, out);
    last = int64_t(job["job_id"]);
  }
  if (static_cast<int64_t>(jobs.size()) == options.listing.limit) out << "older ones: --before " << last << "\n";
}

void print_job(const std::string& document, bool as_json, std::ostream& out) {
  const json::Document parsed(document);
  if (as_json) {
    out << simdjson::minify(parsed.root()) << "\n";
    return;
  }
  for (const auto field : simdjson::dom::object(parsed.root())) {
    const std::string name(field.key);
    const bool is_time = name == "run_after" || name == "lease_until" || name.ends_with("_at");
    out << fmt::format("{:<14} {}", name,
                       is_time ? time_of(parsed.root(), name.c_str()) : text_of(parsed.root(), name.c_str()))
        << "\n";
  }
}

// One line for what became of a job.
void print_change(const std::string& document, bool as_json, std::ostream& out) {
  const json::Document parsed(document);
  if (as_json)
    out << simdjson::minify(parsed.root()) << std::endl;
  else
    out << "job " << text_of(parsed.root(), "job_id") << " is " << text_of(parsed.root(), "status") << std::endl;
}

void check_payload(const std::string& payload) {
  try {
    const json::Document checked(payload);
  } catch (const Error&) {
    throw invalid("the payload is no JSON: " + payload.substr(0, kShownError) + "; give --payload as '{\"name\": 1}'");
  }
}

std::string worker_name() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return fmt::format("{}:{}", host, getpid());
}

WorkOptions work_options(const JobsOptions& options, std::ostream& out, std::ostream& progress) {
  WorkOptions work;
  work.take = options.take;
  if (work.take.worker.empty()) work.take.worker = worker_name();
  work.command = options.command;
  work.poll_s = options.poll_s;
  work.until_empty = options.until_empty;
  work.say = [&progress](const std::string& line) { progress << line << std::endl; };
  // People are told by say() already.
  work.ended = [&options, &out](const std::string& document) {
    if (options.json) print_change(document, true, out);
  };
  return work;
}

}  // namespace

int run_jobs(const JobsOptions& options, std::ostream& out, std::ostream& progress) {
  using Action = JobsOptions::Action;
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  switch (options.action) {
    case Action::kList:
      print_list(reactor.block_on(list(pool, options.listing)), options, out);
      break;
    case Action::kAdd:
      check_payload(options.job.payload);
      print_change(reactor.block_on(enqueue(pool, options.job)), options.json, out);
      break;
    case Action::kShow:
      print_job(reactor.block_on(read(pool, options.ids.at(0))), options.json, out);
      break;
    case Action::kRequeue:
      for (const int64_t id : options.ids) print_change(reactor.block_on(requeue(pool, id)), options.json, out);
      break;
    case Action::kCancel:
      for (const int64_t id : options.ids) print_change(reactor.block_on(cancel(pool, id)), options.json, out);
      break;
    case Action::kWork:
      reactor.block_on(work(reactor, pool, work_options(options, out, progress)));
      break;
  }
  return 0;
}

}  // namespace cairn::jobs
