// The exchange: the new table takes the old one's place, in one transaction; what is validated afterwards; and the end
// of the old one, which is kept, and follows the new one, until then.
#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "partitions/convert.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

}  // namespace

Follower Converter::follower() const {
  std::vector<std::string> all;
  for (const Column& column : plan_.facts.columns) all.push_back(column.name);
  Follower::Tables tables{"ONLY " + plan_.facts.full_name(),
                          plan_.shadow(),
                          conversion_.log(),
                          plan_.facts.shown_name(),
                          plan_.key,
                          plan_.written(),
                          std::move(all)};
  return Follower(session_, std::move(tables));
}

// All that depends on the old table is read first, under a lock that no writer minds; then everybody waits for one
// round trip.
task<> Converter::swap() {
  co_await session_.run("ANALYZE " + plan_.shadow());
  Follower following = follower();
  co_await following.catch_up();
  co_await following.compare("it is as it was: take the conversion back (cairn partitions undo) and report this");
  const Session::Body follow = [&]() -> task<> { co_await following.catch_up(); };
  const Session::Body body = [&]() -> task<> {
    co_await session_.hold_off_others(all_tables());
    co_await check_unaltered();
    const std::vector<Session::Step> steps = co_await exchange_steps();
    co_await session_.at_once(steps);
  };
  co_await session_.brief("exchanging " + plan_.facts.shown_name(), body, &follow);
  conversion_.state = "swapped";
  session_.say(plan_.facts.shown_name() + " is partitioned");
}

// With all that a foreign key is dropped from, and all that one refers to: PostgreSQL would lock them one by one.
std::string Converter::all_tables() const {
  std::set<std::string> others;
  for (const IncomingKey& key : plan_.facts.incoming) others.insert(key.table);
  for (const OutgoingKey& key : plan_.facts.outgoing) others.insert(key.table);
  std::string tables = "ONLY " + plan_.facts.full_name();
  for (const std::string& table : others) tables += ", ONLY " + table;
  return tables;
}

task<> Converter::check_unaltered() {
  const TableFacts now = co_await read_facts(session_, plan_.facts.oid);
  if (now.signature() != plan_.facts.signature())
    throw Error(ErrorCode::kInvalidState, plan_.facts.shown_name() +
                                              " was altered while it was converted: run cairn partitions undo, and "
                                              "convert it again");
}

constexpr Statement kView{"partitions_view", R"(
SELECT format('CREATE OR REPLACE VIEW %s%s AS %s', $2::text, CASE WHEN $3 = '' THEN '' ELSE ' WITH (' || $3 || ')' END,
              pg_get_viewdef($1::int8::oid)))"};

task<std::string> view_again(Session& session, const View& view) {
  Params params = Params::of(view.oid, view.name, view.options);
  const Rows definition = co_await session.query(kView, std::move(params));
  co_return definition.text(0, 0);
}

// Of the table, its columns, and sequences of identity columns, whose names will be the old ones.
constexpr Statement kGrants{"partitions_grants", R"(
WITH acl AS (
  SELECT c.relowner, a.*, '' AS columns, format('TABLE %I.%I', n.nspname, c.relname) AS target
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a WHERE c.oid = $1::int8
  UNION ALL
  SELECT c.relowner, a.*, format(' (%I)', t.attname), format('TABLE %I.%I', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute t ON t.attrelid = c.oid,
       aclexplode(t.attacl) a WHERE c.oid = $1::int8 AND NOT t.attisdropped
  UNION ALL
  SELECT c.relowner, a.*, '', format('SEQUENCE %I.%I', n.nspname, c.relname)
  FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_namespace n ON n.oid = c.relnamespace,
       aclexplode(c.relacl) a
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::int8 AND d.deptype = 'i')
SELECT format('GRANT %s%s ON %s TO %s%s', privilege_type, columns, target,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM acl WHERE grantee <> relowner)"};

// CHECK constraints and columns came with LIKE; a foreign key is made from its definition alone.
constexpr Statement kComments{"partitions_comments", R"(
SELECT format('COMMENT ON %s IS %L', CASE
    WHEN d.classoid = 'pg_trigger'::regclass THEN format('TRIGGER %I ON %s', t.tgname, $2::text)
    WHEN d.classoid = 'pg_constraint'::regclass THEN format('CONSTRAINT %I ON %s', k.conname, $2::text)
    WHEN c.oid = $1::int8 THEN format('TABLE %s', $2::text)
    ELSE format('INDEX %I.%I', n.nspname, c.relname) END, d.description)
FROM pg_description d
LEFT JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger t ON d.classoid = 'pg_trigger'::regclass AND t.oid = d.objoid
LEFT JOIN pg_constraint k ON d.classoid = 'pg_constraint'::regclass AND k.oid = d.objoid AND k.contype IN ('p', 'u')
WHERE d.objsubid = 0 AND (c.oid = $1::int8 OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1::int8)
  OR t.tgrelid = $1::int8 OR k.conrelid = $1::int8))"};

namespace {

using Steps = std::vector<Session::Step>;

void add(Steps& steps, std::string sql) { steps.push_back({std::move(sql), {}}); }

void add_all(Steps& steps, const Rows& statements) {
  for (int i = 0; i < statements.size(); ++i) add(steps, statements.text(i, 0));
}

}  // namespace

// A row's key is logged, whichever of the tables it is written to. ALWAYS: also of those who write as a replica does.
void add_capture(Steps& steps, const std::string& table, const Conversion& conversion) {
  add(steps, fmt::format("CREATE TRIGGER zz_cairn_capture AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH"
                         " ROW EXECUTE FUNCTION {}()",
                         table, conversion.capture()));
  add(steps, fmt::format("CREATE TRIGGER zz_cairn_capture_truncate BEFORE TRUNCATE ON {} FOR EACH"
                         " STATEMENT EXECUTE FUNCTION {}()",
                         table, conversion.capture()));
  for (const char* trigger : {"zz_cairn_capture", "zz_cairn_capture_truncate"})
    add(steps, fmt::format("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}", table, trigger));
}

void drop_capture(Steps& steps, const std::string& table) {
  for (const char* trigger : {"zz_cairn_capture", "zz_cairn_capture_truncate"})
    add(steps, fmt::format("DROP TRIGGER IF EXISTS {} ON {}", trigger, table));
}

task<Steps> Converter::exchange_steps() {
  const TableFacts& facts = plan_.facts;
  Params named = Params::of(facts.oid, facts.full_name());
  const Rows comments = co_await session_.query(kComments, std::move(named));
  Params table = Params::of(facts.oid);
  const Rows grants = co_await session_.query(kGrants, std::move(table));
  co_await read_sequences();
  Steps steps;
  add(steps, "LOCK TABLE " + all_tables() + " IN ACCESS EXCLUSIVE MODE");
  for (const std::string& statement : follower().replay_statements(true)) add(steps, statement);
  add(steps, "CREATE SCHEMA " + conversion_.kept_schema());
  free_old_table(steps);
  add(steps, "ALTER TABLE " + facts.full_name() + " SET SCHEMA " + conversion_.kept_schema());
  add(steps, "ALTER TABLE " + plan_.shadow() + " RENAME TO " + db::quote_identifier(facts.name));
  co_await add_views(steps);
  add_sequences(steps);
  // RESTRICT: what depends on it still was not thought of, and then all of this is given up.
  add(steps, "SAVEPOINT dropped");
  add(steps, "DROP TABLE " + conversion_.kept());
  add(steps, "ROLLBACK TO SAVEPOINT dropped");
  add_names(steps);
  add_all(steps, grants);
  add_triggers(steps);
  add_all(steps, comments);
  co_await add_foreign_keys(steps);
  add_capture(steps, facts.full_name(), conversion_);
  add_to_managed(steps);
  add_to_kept(steps, comments);
  co_return steps;
}

// What would act on the rows of a table that nobody uses, or would keep others from what they refer to.
void Converter::free_old_table(Steps& steps) const {
  const TableFacts& facts = plan_.facts;
  const std::string alter = "ALTER TABLE " + facts.full_name();
  for (const IncomingKey& key : facts.incoming)
    add(steps, "ALTER TABLE " + key.table + " DROP CONSTRAINT " + db::quote_identifier(key.name));
  for (const OutgoingKey& key : facts.outgoing)
    add(steps, alter + " DROP CONSTRAINT " + db::quote_identifier(key.name));
  for (const Trigger& trigger : facts.triggers)
    add(steps, "DROP TRIGGER " + db::quote_identifier(trigger.name) + " ON " + facts.full_name());
  drop_capture(steps, facts.full_name());
  for (const Column& column : facts.columns)
    if (!column.sequence.empty() && !column.identity)
      add(steps, "ALTER SEQUENCE " + qualified(column.sequence_schema, column.sequence) + " OWNED BY NONE");
  for (const Statistics& statistics : facts.statistics)
    add(steps, "ALTER STATISTICS " + qualified(statistics.schema, statistics.name) + " SET SCHEMA " +
                   conversion_.kept_schema());
}

// The twin's name is PostgreSQL's choice; it is exchanged for the old one, which is free once the old table is in
// its own schema.
constexpr Statement kIdentitySequence{"partitions_identity_sequence", "SELECT pg_get_serial_sequence($1, $2)"};

task<> Converter::read_sequences() {
  sequence_renames_.clear();
  for (const Column& column : plan_.facts.columns) {
    if (!column.identity) continue;
    Params params = Params::of(plan_.shadow(), column.name);
    const Rows found = co_await session_.query(kIdentitySequence, std::move(params));
    sequence_renames_.push_back("ALTER SEQUENCE " + found.text(0, 0) + " RENAME TO " +
                                db::quote_identifier(column.sequence));
  }
}

task<> Converter::add_views(Steps& steps) {
  for (const View& view : plan_.facts.views) {
    std::string definition = co_await view_again(session_, view);
    add(steps, std::move(definition));
  }
}

// A serial's sequence goes over; that of an identity column has a twin, which goes on where it stands.
void Converter::add_sequences(Steps& steps) const {
  for (const Column& column : plan_.facts.columns) {
    if (column.sequence.empty()) continue;
    if (column.identity)
      steps.push_back({"SELECT setval(pg_get_serial_sequence($1, $2)::regclass, last_value, is_called) FROM " +
                           qualified(conversion_.kept_schema(), column.sequence),
                       Params::of(plan_.facts.full_name(), column.name)});
    else
      add(steps, "ALTER SEQUENCE " + qualified(column.sequence_schema, column.sequence) + " OWNED BY " +
                     plan_.facts.full_name() + "." + db::quote_identifier(column.name));
  }
}

void Converter::add_names(Steps& steps) const {
  const TableFacts& facts = plan_.facts;
  for (size_t i = 0; i < facts.indexes.size(); ++i)
    add(steps, "ALTER INDEX " + qualified(facts.schema, index_name(i)) + " RENAME TO " +
                   db::quote_identifier(facts.indexes[i].name));
  for (const std::string& rename : sequence_renames_) add(steps, rename);
  for (const Statistics& statistics : facts.statistics) add(steps, statistics.definition);
}

void Converter::add_triggers(Steps& steps) const {
  for (const std::string& statement : trigger_statements()) add(steps, statement);
}

std::vector<std::string> Converter::trigger_statements() const {
  std::vector<std::string> all;
  for (const Trigger& trigger : plan_.facts.triggers) {
    all.push_back(trigger.definition);
    if (trigger.enabled == "O") continue;
    const char* how = trigger.enabled == "D" ? "DISABLE" : trigger.enabled == "A" ? "ENABLE ALWAYS" : "ENABLE REPLICA";
    all.push_back(
        fmt::format("ALTER TABLE {} {} TRIGGER {}", plan_.facts.full_name(), how, db::quote_identifier(trigger.name)));
  }
  return all;
}

constexpr const char* kAfterSwap =
    "UPDATE cairn_partitions.conversions SET state = 'swapped', after_swap = $2 WHERE id = $1";

// Checked for every row that is written from now on; for those that are there, afterwards. A partitioned table takes no
// foreign key NOT VALID, so its partitions get it, and hand it up once it is valid.
task<> Converter::add_foreign_keys(Steps& steps) {
  std::vector<std::string> after;
  for (const IncomingKey& key : plan_.facts.incoming) {
    const std::string name = db::quote_identifier(key.name);
    add(steps, fmt::format("ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){} NOT VALID",
                           key.table, name, column_list(key.columns), plan_.target_of(key.references),
                           column_list(key.references), key.actions));
    if (key.valid) after.push_back("ALTER TABLE " + key.table + " VALIDATE CONSTRAINT " + name);
  }
  const std::vector<Partition> partitions = co_await partitions_of(session_, plan_.facts.schema, plan_.shadow_name());
  for (const OutgoingKey& key : plan_.facts.outgoing) {
    const std::string name = db::quote_identifier(key.name);
    for (const Partition& partition : partitions) {
      const std::string table = qualified(plan_.facts.schema, partition.name);
      add(steps, "ALTER TABLE " + table + " ADD CONSTRAINT " + name + " " + key.definition + " NOT VALID");
      after.push_back("ALTER TABLE " + table + " VALIDATE CONSTRAINT " + name);
    }
    after.push_back("ALTER TABLE " + plan_.facts.full_name() + " ADD CONSTRAINT " + name + " " + key.definition);
  }
  steps.push_back({kAfterSwap, Params::of(conversion_.id, after)});
  conversion_.after_swap = after;
}

// A table of that name that is gone may have been managed.
void Converter::add_to_managed(Steps& steps) const {
  const Scheme& scheme = plan_.scheme;
  const TableFacts& facts = plan_.facts;
  steps.push_back({"DELETE FROM cairn_partitions.managed WHERE table_schema = $1 AND table_name = $2",
                   Params::of(facts.schema, facts.name)});
  steps.push_back({"INSERT INTO cairn_partitions.managed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                   Params::of(facts.schema, facts.name, scheme.column, scheme.type, by_name(scheme.by), scheme.step,
                              scheme.ahead, scheme.keep_months, facts.storage)});
  for (const KeyTable& key : plan_.keys)
    steps.push_back({"INSERT INTO cairn_partitions.keys VALUES ($1, $2, $3, $4)",
                     Params::of(facts.schema, facts.name, key.name, key.columns)});
}

constexpr const char* kAddKept =
    "INSERT INTO cairn_partitions.kept (conversion, before, after, validations) VALUES ($1, $2, $3, $4)";

// The way back, while it is known what there was.
void Converter::add_to_kept(Steps& steps, const Rows& comments) const {
  const TableFacts& facts = plan_.facts;
  const std::string alter = "ALTER TABLE " + facts.full_name();
  Kept kept;
  for (const IncomingKey& key : facts.incoming)
    kept.before.push_back("ALTER TABLE " + key.table + " DROP CONSTRAINT " + db::quote_identifier(key.name));
  for (const Statistics& statistics : facts.statistics) {
    const std::string name = db::quote_identifier(statistics.name);
    kept.before.push_back("ALTER STATISTICS " + qualified(statistics.schema, statistics.name) + " SET SCHEMA " +
                          conversion_.gone_schema());
    kept.after.push_back("ALTER STATISTICS " + conversion_.kept_schema() + "." + name + " SET SCHEMA " +
                         db::quote_identifier(statistics.schema));
  }
  for (const std::string& statement : trigger_statements()) kept.after.push_back(statement);
  for (int i = 0; i < comments.size(); ++i)
    if (comments.text(i, 0).starts_with("COMMENT ON TRIGGER ")) kept.after.push_back(comments.text(i, 0));
  for (const OutgoingKey& key : facts.outgoing) {
    const std::string name = db::quote_identifier(key.name);
    kept.after.push_back(alter + " ADD CONSTRAINT " + name + " " + key.definition + " NOT VALID");
    kept.validations.push_back(alter + " VALIDATE CONSTRAINT " + name);
  }
  for (const IncomingKey& key : facts.incoming) {
    const std::string name = db::quote_identifier(key.name);
    kept.after.push_back(fmt::format("ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){} NOT VALID",
                                     key.table, name, column_list(key.columns), facts.full_name(),
                                     column_list(key.references), key.actions));
    if (key.valid) kept.validations.push_back("ALTER TABLE " + key.table + " VALIDATE CONSTRAINT " + name);
  }
  steps.push_back({kAddKept, Params::of(conversion_.id, kept.before, kept.after, kept.validations)});
}

constexpr Statement kAfterDone{"partitions_after_done",
                               "UPDATE cairn_partitions.conversions SET after_done = $2 WHERE id = $1"};

constexpr Statement kSign{"partitions_sign", "UPDATE cairn_partitions.kept SET signature = $2 WHERE conversion = $1"};

task<> run_one_by_one(Session& session, const std::vector<std::string>& statements, Statement record, int64_t id,
                      int64_t& done) {
  while (done < static_cast<int64_t>(statements.size())) {
    const std::string statement = statements[static_cast<size_t>(done)];
    const Session::Body body = [&]() -> task<> {
      co_await session.run(statement);
      Params params = Params::of(id, done + 1);
      co_await session.query(record, std::move(params));
    };
    co_await session.patient(statement, body);
    ++done;
  }
}

task<> Converter::validate() {
  co_await run_one_by_one(session_, conversion_.after_swap, kAfterDone, conversion_.id, conversion_.after_done);
  const std::optional<Kept> kept = co_await kept_of(session_, conversion_);
  if (!kept) {  // of a version that dropped the old table in the exchange
    co_await set_state(session_, conversion_, "done");
    co_return;
  }
  if (!kept->signature.empty()) co_return;
  const std::string signature = co_await signature_of(session_, conversion_);
  Params params = Params::of(conversion_.id, signature);
  co_await session_.query(kSign, std::move(params));
}

constexpr Statement kForget{"partitions_forget_kept", "DELETE FROM cairn_partitions.kept WHERE conversion = $1"};

// In one transaction, under a lock: after it nothing is written for a table that is gone.
task<> Converter::finish() {
  const std::string table = conversion_.full_name();
  const Session::Body body = [&]() -> task<> {
    co_await session_.hold_off_others(table);  // with its partitions
    Steps steps;
    drop_capture(steps, table);
    add(steps, "DROP FUNCTION " + conversion_.capture() + "()");
    add(steps, "DROP TABLE " + conversion_.log());
    add(steps, "DROP TABLE " + conversion_.kept());
    add(steps, "DROP SCHEMA " + conversion_.kept_schema());
    co_await session_.at_once(steps);
    Params params = Params::of(conversion_.id);
    co_await session_.query(kForget, std::move(params));
    co_await set_state(session_, conversion_, "done");
  };
  co_await session_.brief("dropping the old table of " + conversion_.shown_name(), body);
  conversion_.state = "done";
}

}  // namespace cairn::partitions
