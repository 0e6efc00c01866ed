// `cairn backup`: options of its commands.
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "backup/api.h"
#include "base/error.h"
#include "base/log.h"

namespace cairn::app {
namespace {

void add_create(CommandLine& line, CLI::App* parent) {
  CLI::App* command =
      line.add(parent, "create", "Back up the embedded PostgreSQL and the artifacts, beside a running server");
  command->footer(
      "The first one turns the WAL archive on, in the backup directory: from then on any point in time can be "
      "restored.\n"
      "Interrupted, it leaves nothing that `list` shows. Exit codes: 0 done, 4 the directory holds another server's\n"
      "backups or is in use, 5 PostgreSQL cannot be reached or does not archive.\n"
      "Example: cairn backup create --data-dir ~/cairn --backup-dir /mnt/backups --keep 7\n"
      "         cairn backup create --with pgbackrest --data-dir ~/cairn --backup-dir /mnt/backups");
  const auto options = std::make_shared<backup::CreateOptions>();
  command->add_option("--keep", options->keep, "Then remove all but the newest N, and the WAL that none of them needs")
      ->check(CLI::Range(1, 100000));
  command
      ->add_option("--with", options->with,
                   "postgresql (its own tools, the default) or pgbackrest (compressed, incremental, where it is "
                   "installed); the directory's next backups are made alike")
      ->check(CLI::IsMember({"postgresql", "pgbackrest"}));
  command->add_flag("--full", options->full, "With pgbackrest: a full backup, though there is one already");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "artifact_root", "backup_dir", "postgres_bin"});
  line.on(command, [&line, options] {
    log::configure(log::Format::kText, "warn");
    const ServerConfig config = line.settings();
    if (!config.database_url.empty())
      throw invalid(
          "a database of your own (database_url) is backed up by its own means, pg_basebackup or pgBackRest: "
          "`cairn backup` is for the embedded one");
    const CommandDatabase database(config);
    options->directory = config.backup_directory();
    options->connection_string = database.superuser_connection_string();
    options->data_dir = std::filesystem::weakly_canonical(std::filesystem::absolute(config.data_dir));
    options->artifact_root = config.artifact_directory();
    options->postgres_bin = config.postgres_bin;
    return backup::create(*options, std::cout);
  });
}

void add_list(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "list", "The backups, the oldest first");
  command->footer("Example: cairn backup list --backup-dir /mnt/backups");
  const auto options = std::make_shared<backup::ListOptions>();
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "backup_dir"});
  line.on(command, [&line, options] {
    options->directory = line.settings().backup_directory();
    return backup::list(*options, std::cout);
  });
}

void add_verify(CommandLine& line, CLI::App* parent) {
  CLI::App* command =
      line.add(parent, "verify", "Restore a backup into a scratch cluster and compare it with what was backed up");
  command->footer(
      "Every file of the base backup against its manifest, recovery, counts and checksums of every table, the "
      "checksum\n"
      "of every page and of every artifact. Needs the room of the database in the backup directory.\n"
      "Exit codes: 0 good, 1 not good, 3 no such backup.\n"
      "Example: cairn backup verify --backup-dir /mnt/backups");
  const auto options = std::make_shared<backup::VerifyOptions>();
  command->add_option("backup", options->backup, "Its id (default: the newest)");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "backup_dir", "postgres_bin"});
  line.on(command, [&line, options] {
    log::configure(log::Format::kText, "error");
    const ServerConfig config = line.settings();
    options->directory = config.backup_directory();
    options->postgres_bin = config.postgres_bin;
    return backup::verify(*options, std::cout);
  });
}

void add_restore(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "restore", "Make a new data directory from a backup, at any point in time");
  command->footer(
      "Without a point: everything that is in the WAL archive, and in the data directory if that is still there. The\n"
      "directory appears when it is whole; nothing else is touched. Exit codes: 0 done, 2 a point that cannot be\n"
      "reached, 3 no such backup, 4 the directory is there already.\n"
      "Example: cairn backup restore ~/cairn-before --backup-dir /mnt/backups --time '2026-11-22 11:45:10+01'");
  const auto options = std::make_shared<backup::RestoreOptions>();
  command->add_option("directory", options->target_dir, "The new data directory")->required();
  command->add_option("--backup", options->backup, "Begin with this one (default: the newest before the point)");
  CLI::Option* time = command->add_option("--time", options->time,
                                          "Up to and with the last transaction committed then; without a zone: UTC");
  CLI::Option* lsn =
      command->add_option("--lsn", options->lsn, "Up to this position in the WAL, like 0/3000060")->excludes(time);
  command->add_option("--name", options->name, "Up to this restore point (pg_create_restore_point)")
      ->excludes(time)
      ->excludes(lsn);
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "backup_dir", "postgres_bin"});
  line.on(command, [&line, options] {
    log::configure(log::Format::kText, "error");
    const ServerConfig config = line.settings();
    options->directory = config.backup_directory();
    options->postgres_bin = config.postgres_bin;
    return backup::restore(*options, std::cout);
  });
}

}  // namespace

void add_backup(CommandLine& line) {
  CLI::App* backup =
      line.add("backup", "Back up the embedded PostgreSQL with its artifacts, and restore to any point in time");
  backup->require_subcommand(1);
  backup->footer(
      "Example: cairn backup create --backup-dir /mnt/backups\n"
      "         cairn backup verify --backup-dir /mnt/backups");
  add_create(line, backup);
  add_list(line, backup);
  add_verify(line, backup);
  add_restore(line, backup);
}

}  // namespace cairn::app
