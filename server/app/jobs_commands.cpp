// `cairn jobs`: options of the queue's commands.
#include <iostream>
#include <iterator>

#include "app/commands.h"
#include "app/database.h"
#include "base/log.h"
#include "jobs/cli.h"

namespace cairn::app {
namespace {

using jobs::JobsOptions;
using Action = JobsOptions::Action;
using Options = std::shared_ptr<JobsOptions>;

constexpr const char* kStandardInput = "-";

CLI::App* add(CommandLine& line, CLI::App* jobs, const Options& options, Action action, const char* name,
              const char* help) {
  CLI::App* command = line.add(jobs, name, help);
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, action] {
    log::configure(log::Format::kText, "warn");
    if (options->job.payload == kStandardInput)
      options->job.payload.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
    const CommandDatabase database(line.settings());
    options->action = action;
    options->connection_string = database.connection_string();
    return jobs::run_jobs(*options, std::cout, std::cerr);
  });
  return command;
}

void add_list(CommandLine& line, CLI::App* jobs, const Options& options) {
  CLI::App* command = add(line, jobs, options, Action::kList, "list", "List jobs, newest first");
  command->add_option("--queue", options->listing.queue, "Of this queue");
  command->add_option("--kind", options->listing.kind, "Of this kind");
  command->add_option("--status", options->listing.status,
                      "queued, running, succeeded, failed, dead (all attempts were in vain) or cancelled");
  command->add_option("--before", options->listing.before, "Older than the job of this id");
  command->add_option("--limit", options->listing.limit, "At most so many (default: 100)");
}

void add_add(CommandLine& line, CLI::App* jobs, const Options& options) {
  CLI::App* command = add(line, jobs, options, Action::kAdd, "add", "Put a job into a queue");
  command->add_option("kind", options->job.kind, "What is to be done; workers see it as $JOB_KIND")->required();
  command->add_option("--payload", options->job.payload, "JSON for the worker; - reads it from standard input");
  command->add_option("--queue", options->job.queue, "Queue (default: default)");
  command->add_option("--priority", options->job.priority, "Greater is sooner (default: 0)");
  command->add_option("--max-attempts", options->job.max_attempts, "Then it is dead (default: 3)");
  command->add_option("--retry-delay-s", options->job.retry_delay_s,
                      "Seconds before the second attempt, doubled for each one after that (default: 10)");
  command->add_option("--delay-s", options->job.delay_s, "Seconds before the first attempt (default: 0)");
}

void add_work(CommandLine& line, CLI::App* jobs, const Options& options) {
  CLI::App* command = add(line, jobs, options, Action::kWork, "work", "Run a program for each job, one at a time");
  command->add_option("--queue", options->take.queue, "Queue (default: default)");
  command->add_option("--worker", options->take.worker, "Name that the jobs show (default: host:process)");
  command->add_option("--lease-s", options->take.lease_s,
                      "Seconds after which a worker that is not heard of loses its job (default: 60)");
  command->add_option("--poll-s", options->poll_s, "Seconds between looks at an empty queue (default: 1)")
      ->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--until-empty", options->until_empty, "End when no job is due");
  command->add_option("command", options->command, "A line for the shell, or a program and its arguments, after --")
      ->required();
  command->footer(
      "The program reads the payload from its standard input and finds JOB_ID, JOB_KIND, JOB_QUEUE and JOB_ATTEMPT in\n"
      "its environment. What it prints is the job's result. Exit status 0: done; 65: failed, not to be tried again;\n"
      "any other: tried again later, until its attempts are used up and it is dead.\n"
      "Example: cairn jobs work --queue gpu -- python3 train.py");
}

}  // namespace

void add_jobs(CommandLine& line) {
  CLI::App* jobs = line.add("jobs", "Look at the queue of background jobs, add to it, work through it");
  jobs->require_subcommand(1);
  jobs->footer("Example: cairn jobs add train --payload '{\"lr\": 0.1}'\n         cairn jobs work -- ./train.sh");
  const auto options = std::make_shared<JobsOptions>();
  add_list(line, jobs, options);
  add_add(line, jobs, options);
  CLI::App* show = add(line, jobs, options, Action::kShow, "show", "Show a job");
  show->add_option("id", options->ids, "Its id")->required()->expected(1);
  CLI::App* requeue = add(line, jobs, options, Action::kRequeue, "requeue",
                          "Put failed, dead or cancelled jobs back into their queue, with all attempts anew");
  requeue->add_option("id", options->ids, "Their ids")->required();
  CLI::App* cancel = add(line, jobs, options, Action::kCancel, "cancel", "Cancel jobs that are queued or running");
  cancel->add_option("id", options->ids, "Their ids")->required();
  add_work(line, jobs, options);
}

}  // namespace cairn::app
