// `cairn partitions`: options of its commands.
#include "app/database_command.h"
#include "partitions/api.h"

namespace cairn::app {
namespace {

template <class Options>
std::shared_ptr<Options> add(CommandLine& line, CLI::App* command,
                             int (*run)(const Options&, std::ostream&, std::ostream&)) {
  const auto options = on_database<Options>(line, command, run);
  command
      ->add_option("--wait", options->wait_s,
                   "Seconds to wait for another cairn partitions and for locks (default: 60)")
      ->check(CLI::Range(0.0, 86400.0));
  return options;
}

void add_scheme(CLI::App* command, partitions::ConvertOptions& options) {
  command->add_option("table", options.table, "The table, with its schema")->required();
  command->add_option("--column", options.column, "By which rows are divided");
  command->add_option("--by", options.by, "month (default), week, day, number or list")
      ->check(CLI::IsMember({"month", "week", "day", "number", "list"}));
  command->add_option("--step", options.step, "Numbers in a partition (default: 1000000)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 60));
  command->add_option("--ahead", options.ahead, "Partitions made ahead (default: 4)")->check(CLI::Range(0, 100));
  command->add_option("--keep", options.keep_months, "Months that are kept (default: 12; 0: all)")
      ->check(CLI::Range(0, 1200));
}

void add_conversion(CommandLine& line, CLI::App* partitions) {
  CLI::App* plan = line.add(partitions, "plan", "Show what a conversion would make, change and refuse");
  plan->footer(
      "Nothing is changed. Exit code 1 when something is in the way.\n"
      "Example: cairn partitions plan public.events --column created_at --database-url postgresql://owner@host/db");
  add_scheme(plan, *add(line, plan, partitions::run_plan));
  plan->get_option("--column")->required();

  CLI::App* convert = line.add(partitions, "convert", "Make a table partitioned while others write to it");
  convert->footer(
      "Killed at any moment, the same command goes on where it stopped. The old table is kept beside the new one, and\n"
      "follows what is written: undo puts it back, finish drops it.\n"
      "Example: cairn partitions convert public.events --column created_at --by month --keep 12\n"
      "         cairn partitions convert public.events");
  add_scheme(convert, *add(line, convert, partitions::run_convert));

  CLI::App* finish = line.add(partitions, "finish", "Drop the old table of a conversion, the last step");
  finish->footer(
      "From then on it cannot be undone, and writing costs less.\n"
      "Example: cairn partitions finish public.events");
  finish->add_option("table", add(line, finish, partitions::run_finish)->table, "The table, with its schema")
      ->required();

  CLI::App* undo = line.add(partitions, "undo", "Take back a conversion, until it is finished");
  undo->footer(
      "With all that was written meanwhile. Killed, the same command goes on.\n"
      "Example: cairn partitions undo public.events");
  undo->add_option("table", add(line, undo, partitions::run_undo)->table, "The table, with its schema")->required();
}

void add_care(CommandLine& line, CLI::App* partitions) {
  CLI::App* status =
      line.add(partitions, "status", "Show partitioned tables, conversions under way, and what a statement reads");
  status->footer(
      "With a table: how many of its partitions a statement's plan reads; without --statement one that asks for the\n"
      "newest partition's rows. The statement is planned, not run.\n"
      "Example: cairn partitions status public.events --statement \"SELECT count(*) FROM events WHERE created_at > "
      "now()\"");
  const auto shown = add(line, status, partitions::run_status);
  status->add_option("table", shown->table, "The table (default: all)");
  status->add_option("--statement", shown->statement, "Whose plan is read");

  CLI::App* maintain =
      line.add(partitions, "maintain", "Make partitions ahead, fill gaps, detach what is older than is kept");
  maintain->footer(
      "To be run by a schedule. Nothing is deleted: what is detached stays as a table until it is archived.\n"
      "Example: cairn partitions maintain --dry-run\n"
      "         cairn partitions maintain public.events");
  const auto kept = add(line, maintain, partitions::run_maintain);
  maintain->add_option("table", kept->table, "The table (default: all)");
  maintain->add_flag("--dry-run", kept->dry_run, "Show what would be done");
}

void add_archive(CommandLine& line, CLI::App* partitions) {
  CLI::App* archive = line.add(partitions, "archive", "Write detached partitions to files, and drop them");
  archive->footer(
      "A folder for each, with a manifest and SHA-256 sums; also the rows of other tables that are deleted with its "
      "own.\n"
      "Files are whole, on the disk and read back before anything is dropped.\n"
      "Example: cairn partitions archive public.events --to /srv/archive");
  const auto written = add(line, archive, partitions::run_archive);
  archive->add_option("table", written->table, "The partitioned table")->required();
  archive->add_option("--to", written->directory, "The folder of archives")->required();
  archive->add_flag("--dry-run", written->dry_run, "Show what would be archived");

  CLI::App* restore = line.add(partitions, "restore", "Bring an archived partition back");
  restore->footer("Example: cairn partitions restore /srv/archive/public.events_2023_01");
  const auto read = add(line, restore, partitions::run_restore);
  restore->add_option("folder", read->directory, "Of one partition, in the folder of archives")->required();
}

}  // namespace

void add_partitions(CommandLine& line) {
  CLI::App* partitions = line.add("partitions", "Divide large tables, look after their partitions, archive old ones");
  partitions->require_subcommand(1);
  add_conversion(line, partitions);
  add_care(line, partitions);
  add_archive(line, partitions);
}

}  // namespace cairn::app
