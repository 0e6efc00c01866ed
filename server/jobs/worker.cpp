#include "jobs/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "jobs/child.h"

namespace cairn::jobs {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kMaxResult = 1 << 20;
constexpr size_t kMaxShown = 2000;  // of an output that is no JSON, or of errors
constexpr milliseconds kFirstLook{2}, kLongestLook{100};
constexpr std::chrono::seconds kGrace{10};  // between asking a program to end and forcing it

struct Job {
  Lease lease;
  std::string kind;
  std::string payload;
  int64_t attempt = 0;
};

Job read_job(const std::string& document) {
  const json::Document parsed(document);
  const auto root = parsed.root();
  return {{int64_t(root["job_id"]), std::string(std::string_view(root["lease_token"]))},
          std::string(std::string_view(root["kind"])),
          simdjson::minify(simdjson::dom::element(root["payload"])),
          int64_t(root["attempts"])};
}

std::string status_of(const std::string& document) {
  const json::Document parsed(document);
  return std::string(std::string_view(parsed.root()["status"]));
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

// Text that may be anything, as valid UTF-8.
std::string as_utf8(const std::string& text) {
  const json::Document parsed(json::quote(text));
  return std::string(std::string_view(parsed.root()));
}

// The program's output if it is JSON, else {"output": …}.
std::string result_of(const Child& child) {
  std::string output = trimmed(child.output(kMaxResult));
  if (output.empty()) return "{}";
  try {
    const json::Document parsed(output);
    if (output.find("\\u0000") == output.npos) return simdjson::minify(parsed.root());  // jsonb cannot hold that one
  } catch (const Error&) {
  }
  std::replace(output.begin(), output.end(), '\0', ' ');
  const size_t skipped = output.size() - std::min(output.size(), kMaxShown);
  return "{\"output\":" + json::quote(output.substr(skipped)) + "}";
}

Failure failure_of(const Child& child) {
  const std::string errors = trimmed(as_utf8(child.errors(kMaxShown)));
  return {"the program " + child.describe_end() + (errors.empty() ? "" : ": " + errors),
          !child.exited_with(kDoNotRetry)};
}

class Worker {
 public:
  Worker(Reactor& reactor, db::Pool& pool, WorkOptions options)
      : reactor_(reactor), pool_(pool), options_(std::move(options)) {}

  task<> run();

 private:
  void listen_to_signals();
  task<std::optional<std::string>> take_next();
  task<> run_job(std::string document);
  task<bool> keep_lease(const Job& job);
  task<> watch(Child& child, const Job& job);
  task<> settle(const Child& child, const Job& job);
  task<> pause(double seconds);

  Reactor& reactor_;
  db::Pool& pool_;
  WorkOptions options_;
  int signals_ = 0;
};

void Worker::listen_to_signals() {
  reactor_.on_signal([this](int) {
    if (++signals_ == 1) options_.say("stopping after the job under way; a second signal ends it at once");
    listen_to_signals();
  });
}

task<> Worker::run() {
  listen_to_signals();
  while (signals_ == 0) {
    const std::optional<std::string> document = co_await take_next();
    if (document)
      co_await run_job(*document);
    else if (options_.until_empty)
      break;
    else
      co_await pause(options_.poll_s);
  }
}

// Nothing, too, while the database is away: a worker outlives its restart.
task<std::optional<std::string>> Worker::take_next() {
  try {
    co_return co_await take(pool_, options_.take);
  } catch (const db::DbError& error) {
    if (!error.is_unavailable() || options_.until_empty) throw;
    options_.say(std::string("waiting for the database: ") + error.what());
  }
  co_return std::nullopt;
}

task<> Worker::pause(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (signals_ == 0 && Clock::now() < end) co_await sleep_for(kLongestLook);
}

task<> Worker::run_job(std::string document) {
  const Job job = read_job(document);
  options_.say(fmt::format("job {} ({}), attempt {}", job.lease.job_id, job.kind, job.attempt));
  const std::vector<std::string> environment{fmt::format("JOB_ID={}", job.lease.job_id), "JOB_KIND=" + job.kind,
                                             "JOB_QUEUE=" + options_.take.queue,
                                             fmt::format("JOB_ATTEMPT={}", job.attempt)};
  std::unique_ptr<Child> child;
  Failure not_started;
  try {
    child = std::make_unique<Child>(options_.command, environment, job.payload);
  } catch (const Error& error) {
    not_started.error = error.what();
  }
  if (!child) {
    co_await fail(pool_, job.lease, not_started);
    throw Error(ErrorCode::kInvalidState, not_started.error);
  }
  try {
    co_await watch(*child, job);
    co_await settle(*child, job);
  } catch (const Error& error) {
    // The job is another's, or PostgreSQL is away and the lease will tell.
    const bool lost = error.code() == ErrorCode::kResourceConflict || error.code() == ErrorCode::kResourceDoesNotExist;
    if (!lost && error.code() != ErrorCode::kTemporarilyUnavailable) throw;
    options_.say(error.what());
  }
}

// False when the job is not ours any more.
task<bool> Worker::keep_lease(const Job& job) {
  try {
    co_await renew(pool_, job.lease, options_.take.lease_s);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kTemporarilyUnavailable) co_return true;  // it may last until the next time
    options_.say(error.what());
    co_return false;
  }
  co_return true;
}

task<> Worker::watch(Child& child, const Job& job) {
  const std::chrono::duration<double> interval(options_.take.lease_s / 3);
  auto next_renewal = Clock::now() + interval;
  std::optional<Clock::time_point> force_at;
  milliseconds look = kFirstLook;
  bool ours = true;
  while (!child.ended()) {
    co_await sleep_for(look);
    look = std::min(look * 2, kLongestLook);
    if (ours && Clock::now() >= next_renewal) {
      ours = co_await keep_lease(job);
      next_renewal = Clock::now() + interval;
    }
    if ((!ours || signals_ > 1) && !force_at) {
      child.terminate();
      force_at = Clock::now() + kGrace;
    } else if (force_at && Clock::now() >= *force_at) {
      child.terminate();
      force_at = Clock::now() + kGrace;
    }
  }
}

task<> Worker::settle(const Child& child, const Job& job) {
  std::string document;
  if (child.succeeded()) {
    const std::string result = result_of(child);
    document = co_await complete(pool_, job.lease, result);
  } else {
    const Failure failure = failure_of(child);
    options_.say(fmt::format("job {}: {}", job.lease.job_id, failure.error));
    document = co_await fail(pool_, job.lease, failure);
  }
  options_.say(fmt::format("job {} is {}", job.lease.job_id, status_of(document)));
  options_.ended(document);
}

}  // namespace

task<> work(Reactor& reactor, db::Pool& pool, WorkOptions options) {
  Worker worker(reactor, pool, std::move(options));
  co_await worker.run();
}

}  // namespace cairn::jobs
