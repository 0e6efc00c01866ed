#include "app/commands.h"

#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "app/app.h"
#include "app/database.h"
#include "app/doctor.h"
#include "app/metadata.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "demo/api.h"
#include "gc/api.h"
#include "schema/cli.h"
#include "transfer/api.h"

namespace cairn::app {
namespace {

// Reads a line; a terminal does not show what is typed.
std::string read_secret(const std::string& prompt) {
  termios shown{};
  const bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
  if (terminal) {
    termios hidden = shown;
    hidden.c_lflag &= ~tcflag_t(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    std::cerr << prompt << std::flush;
  }
  std::string secret;
  std::getline(std::cin, secret);
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    std::cerr << "\n";
  }
  return secret;
}

std::string random_token() { return "cairn_" + to_hex(random_bytes(32)); }

// What a command that is not the server says goes to the user, not into a log.
void quiet_log() { log::configure(log::Format::kText, "warn"); }

}  // namespace

void CommandLine::add_settings(CLI::App* command, std::initializer_list<const char*> names) {
  command->add_option("--config", sources_.config_file, "Configuration file (TOML)");
  for (const char* name : names) {
    for (const ConfigKey& key : config_keys()) {
      if (key.name != std::string_view(name)) continue;
      std::string option = name;
      std::replace(option.begin(), option.end(), '_', '-');
      std::string variable = name;
      std::transform(variable.begin(), variable.end(), variable.begin(),
                     [](unsigned char c) { return char(toupper(c)); });
      const std::string help = std::string(key.help) + " [CAIRN_" + variable + "]";
      auto store = [this, name = std::string(name)](const std::string& value) { sources_.options[name] = value; };
      if (std::holds_alternative<bool ServerConfig::*>(key.member)) {
        command->add_flag_callback(
            "--" + option, [store] { store("true"); }, help);
      } else {
        command->add_option_function<std::string>("--" + option, store, help);
      }
    }
  }
}

ConfigSources CommandLine::sources_with_environment() const {
  ConfigSources sources = sources_;
  sources.environment = process_environment();
  return sources;
}

void add_serve(CommandLine& line) {
  CLI::App* serve_command =
      line.add("serve", "Run the server, with a PostgreSQL of its own unless --database-url names one");
  serve_command->footer(
      "Example: cairn serve --data-dir ~/cairn\nThen:    mlflow.set_tracking_uri(\"http://127.0.0.1:5000\")");
  line.add_settings(serve_command,
                    {"data_dir", "database_url", "migrate", "host", "port", "tls_certificate", "tls_key", "credentials",
                     "insecure", "rate_limit", "pool_size", "max_overflow", "pool_timeout_s", "artifact_root",
                     "backup_dir", "postgres_port", "postgres_bin", "log_format", "log_level"});
  line.on(serve_command, [&line] { return serve(line.settings()); });
}

void add_demo(CommandLine& line) {
  CLI::App* command = line.add("demo", "Train, register and deploy a model on real data, in a temporary server");
  command->footer(
      "Leaves nothing behind. Exit code 0 when every step held.\n"
      "Example: cairn demo --keep --port 5000   and look at it in a browser");
  auto options = std::make_shared<demo::Options>();
  command->add_flag("--keep", options->keep, "Leave the server up until Ctrl-C");
  command->add_flag("--json", options->json, "Print the summary as one JSON object");
  command->add_option("--port", options->port, "Port of the server (default: any free one)")
      ->check(CLI::Range(0, 65535));
  line.add_settings(command, {"postgres_bin"});
  line.on(command, [&line, options] {
    quiet_log();
    options->postgres_bin = line.settings().postgres_bin;
    return demo::run_demo(*options, std::cout);
  });
}

void add_migrate(CommandLine& line) {
  using Options = schema::MigrateOptions;
  using Action = Options::Action;
  CLI::App* migrate = line.add("migrate", "Bring the database's schema to a chosen step, or say where it stands");
  migrate->require_subcommand(1);
  migrate->footer("Example: cairn migrate upgrade head --database-url postgresql://user@host/db");
  auto options = std::make_shared<Options>();
  const auto metadata_name = std::make_shared<std::string>();
  auto add = [&](Action action, const char* name, const char* help) {
    CLI::App* command = line.add(migrate, name, help);
    command->add_option("--directory", options->directory, "Steps from files here instead of those in the binary");
    command->add_flag("--json", options->json, "Print one JSON value");
    command->add_option("--lineage", options->lineage, "Name of a set of steps; default: user, with --directory");
    line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
    line.on(command, [&line, options, metadata_name, action] {
      quiet_log();
      options->action = action;
      if (action == Action::kRevision && !options->autogenerate)
        return schema::run_migrate(*options, std::cout, std::cerr);
      if (action == Action::kRevision) {
        if (options->schema_file.empty() && metadata_name->empty())
          throw invalid("--autogenerate needs to know what is wanted: --schema FILE or --metadata MODULE:ATTRIBUTE");
        if (!metadata_name->empty()) options->wanted = read_metadata(*metadata_name);
      }
      const ServerConfig config = line.settings();
      const CommandDatabase database(config);
      options->connection_string = database.connection_string();
      // The role of the embedded database may make no other.
      options->scratch_connection =
          database.connection_string() + (config.database_url.empty() ? " user=postgres" : "");
      return schema::run_migrate(*options, std::cout, std::cerr);
    });
    return command;
  };
  CLI::App* revision =
      add(Action::kRevision, "revision", "Make the files of a new step in --directory (default: migrations)");
  revision->add_option("-m,--message", options->message, "What it changes, as in \"module: change\"")->required();
  CLI::Option* file = revision->add_option("--schema", options->schema_file, "SQL file that makes the wanted schema");
  CLI::Option* metadata = revision->add_option("--metadata", *metadata_name,
                                               "SQLAlchemy's: MODULE:ATTRIBUTE of its MetaData, or of its declarative "
                                               "base; --schema, if given too, is loaded first");
  CLI::Option* automatic =
      revision->add_flag("--autogenerate", options->autogenerate,
                         "Fill them with what the database lacks of --schema or --metadata, and with its way back");
  file->needs(automatic);
  metadata->needs(automatic);
  revision->footer(
      "No difference makes no files. Read them before you apply them: their comments say what locks, rewrites or "
      "loses.\n"
      "Metadata is read by python3 (of PATH) in this directory, with the SQLAlchemy that is installed there.\n"
      "Example: cairn migrate revision --autogenerate --schema schema.sql -m \"notes: add a column\"\n"
      "         cairn migrate revision --autogenerate --metadata shop.models:Base -m \"shop: add a column\"\n"
      "         cairn migrate upgrade head --directory migrations");
  auto add_targeted = [&](Action action, const char* name, const char* help, const char* target_help,
                          const char* fallback) {
    CLI::App* command = add(action, name, help);
    CLI::Option* target = command->add_option("target", options->target, target_help);
    if (fallback == nullptr)
      target->required();
    else
      command->preparse_callback([options, fallback](size_t) { options->target = fallback; });
    command->add_flag("--sql", options->print_sql, "Print the SQL instead of running it");
  };
  add_targeted(Action::kUpgrade, "upgrade", "Apply steps", "head (default), +n steps, or a step's number", "head");
  add_targeted(Action::kDowngrade, "downgrade", "Take steps back", "-n steps, base, or the number to go back to",
               nullptr);
  add(Action::kCurrent, "current", "The step that the database is at");
  add(Action::kHistory, "history", "All steps, and when each was applied");
}

void add_doctor(CommandLine& line) {
  CLI::App* command =
      line.add("doctor", "Check versions, extensions, permissions, settings and disk, and say what to do");
  line.add_settings(command, {"data_dir", "database_url", "artifact_root", "postgres_bin"});
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON object");
  line.on(command, [&line, as_json] {
    quiet_log();
    return run_doctor(line.settings(), *as_json, std::cout);
  });
}

// `cairn import mlflow` and `cairn export mlflow`: alike but for the direction.
void add_transfer(CommandLine& line) {
  auto add = [&line](const char* name, const char* help, const char* mlflow_help, const char* footer, auto* copy) {
    CLI::App* direction = line.add(name, help);
    direction->require_subcommand(1);
    CLI::App* command = line.add(direction, "mlflow", mlflow_help);
    for (CLI::App* app : {direction, command}) app->footer(footer);
    auto options = std::make_shared<transfer::Options>();
    command->add_option("url", options->mlflow_url, "MLflow's database: the URL of its --backend-store-uri")
        ->required();
    command->add_flag("--dry-run", options->dry_run, "Say what would be copied, write nothing");
    command->add_flag("--json", options->json, "Print one JSON object");
    line.add_settings(command, {"data_dir", "database_url", "migrate", "postgres_bin"});
    line.on(command, [&line, options, copy] {
      quiet_log();
      const ServerConfig config = line.settings();
      const CommandDatabase database(config);
      schema::prepare_schema(database.connection_string(), database.cluster() != nullptr || config.migrate);
      options->connection_string = database.connection_string();
      return copy(*options, std::cout, std::cerr);
    });
  };
  add("import", "Copy another tracking server's data into Cairn", "Copy an MLflow 3 database into Cairn",
      "Experiments, runs, metrics, params, tags, datasets, logged models, registered models, versions and aliases are\n"
      "copied from one snapshot; MLflow may go on running. Run it again to bring over what came since: nothing is\n"
      "doubled, and what MLflow has overwrites the same thing here. Artifacts are not copied, and their locations are\n"
      "kept: copy the directory of --artifacts-destination into Cairn's artifact root, and mlflow-artifacts: works.\n"
      "Exit codes: 0 done, 1 a row could not be copied, 2 not such a database, 4 another copy is under way, 5 cannot\n"
      "connect. What was copied before an error stays, and the next run goes on from there.\n"
      "Example: cairn import mlflow postgresql://user@host/mlflow --dry-run",
      &transfer::import_mlflow);
  add("export", "Copy Cairn's data into another tracking server's database",
      "Copy Cairn's data into an MLflow database",
      "The database must have MLflow's tables: `mlflow db upgrade URL` makes them. Written as `cairn import mlflow`\n"
      "reads it: in batches, from one snapshot, and again without doubling anything. Artifacts are not copied.\n"
      "Exit codes: 0 done, 1 a row could not be copied, 2 no tables of MLflow, 4 another copy is under way, 5 cannot\n"
      "connect.\n"
      "Example: cairn export mlflow postgresql://user@host/mlflow",
      &transfer::export_mlflow);
}

void add_gc(CommandLine& line) {
  CLI::App* command = line.add("gc", "Remove for good what was deleted long enough ago, with its artifacts");
  command->footer(
      "Runs, logged models and experiments in the lifecycle stage `deleted` can be restored until this removes them. "
      "A\n"
      "deleted experiment takes along all that is in it. What a model version was made from is kept, and artifacts "
      "that\n"
      "lie outside this server's artifact root are left there; the summary says both. The server may run meanwhile;\n"
      "interrupted, run it again. Exit codes: 0 done, 1 artifacts could not be removed (their runs are kept), 2 not "
      "an\n"
      "age, 5 cannot connect.\n"
      "Example: cairn gc --older-than 30d --dry-run");
  struct Choice {
    std::string age = "30d";
    bool dry_run = false;
    bool json = false;
  };
  auto choice = std::make_shared<Choice>();
  command->add_option("--older-than", choice->age, "Deleted longer ago than this: 30d (default), 12h, 1d12h, 0s");
  command->add_flag("--dry-run", choice->dry_run, "Say what would be removed, remove nothing");
  command->add_flag("--json", choice->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "migrate", "artifact_root", "postgres_bin"});
  line.on(command, [&line, choice] {
    quiet_log();
    const gc::Options options{gc::parse_age(choice->age), choice->dry_run, choice->json};
    const ServerConfig config = line.settings();
    const CommandDatabase database(config);
    schema::prepare_schema(database.connection_string(), database.cluster() != nullptr || config.migrate);
    Reactor reactor;
    db::PoolOptions pool_options;
    pool_options.connection_string = database.connection_string();
    pool_options.size = 1;
    db::Pool pool(pool_options);
    artifacts::LocalArtifactStore store(config.artifact_directory());
    return reactor.block_on(gc::collect(pool, store, options, std::cout, std::cerr));
  });
}

void add_credentials(CommandLine& line) {
  CLI::App* credentials = line.add("credentials", "Make entries for the file that --credentials names");
  credentials->require_subcommand(1);
  auto name = std::make_shared<std::string>();
  auto role = std::make_shared<std::string>("writer");
  const auto add_role = [role](CLI::App* command) {
    command->add_option("--role", *role, "reader, writer (default) or admin")
        ->check(CLI::IsMember({"reader", "writer", "admin"}));
  };
  CLI::App* user =
      line.add(credentials, "user", "Ask for a password (or read it from standard input) and print the user's entry");
  user->add_option("name", *name, "The user's name")->required();
  add_role(user);
  line.on(user, [name, role] {
    const std::string password = read_secret("Password: ");
    if (password.empty()) throw invalid("an empty password protects nothing: type one, or give it on standard input");
    std::cout << "[[users]]\nname = " << json::quote(*name) << "\nrole = " << json::quote(*role)
              << "\npassword_hash = " << json::quote(http::hash_password(password)) << "\n";
    return 0;
  });
  CLI::App* token = line.add(credentials, "token", "Make a token: print it once, on standard error, and its entry");
  token->add_option("name", *name, "Whom it stands for")->required();
  add_role(token);
  line.on(token, [name, role] {
    const std::string secret = random_token();
    std::cerr << "The token, shown only now: " << secret << "\n";
    std::cout << "[[tokens]]\nname = " << json::quote(*name) << "\nrole = " << json::quote(*role) << "\nsha256 = \""
              << sha256_hex(secret) << "\"\n";
    return 0;
  });
}

void add_version(CommandLine& line) {
  CLI::App* command = line.add("version", "Print the version");
  line.on(command, [] {
    std::cout << kVersion << "\n";
    return 0;
  });
}

}  // namespace cairn::app
