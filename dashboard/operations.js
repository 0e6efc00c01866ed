// #/database/operations: alerts, figures over time, partitions, maintenance, replicas, backups: what this server has routes for. Routes
// are found in its own description of them, so that nothing is offered that it cannot do.
import {follow, get} from "./api.js";
import {lineChart, timeTicks} from "./chart.js";
import {bytes, copyable, date, duration, empty, figure, figures, h, hourAndMinute, number, percent, replace, section, table, tag, time} from "./dom.js";

const AREAS = [
  ["What needs a look", /^\/api\/v1\/database\/triage$/, triagePart],
  ["Alerts", /^\/api\/v1\/monitor\/alerts$/, alertsPart],
  ["The last day", /^\/api\/v1\/monitor\/figures$/, figuresPart],
  ["Maintenance: what is due", /^\/api\/v1\/database\/maintenance\/plan$/],
  ["Maintenance: the schedule", /^\/api\/v1\/database\/maintenance\/jobs$/],
  ["Maintenance: what was done", /^\/api\/v1\/database\/maintenance\/runs$/],
  ["Partitions", /^\/api\/v1\/database\/partitions$/, partitionsPart],
  ["Replicas", /^\/api\/v1\/database\/replicas$/, replicasPart],
  ["Backups", /^\/api\/v1\/database\/backups$/, backupsPart],
  ["Connection pool", /^\/api\/v1\/database\/pool$/, poolPart],
  ["Jobs", /^\/api\/v1\/jobs$/],
];
const FIGURES = 12;
const title = (text) =>
  text
    .replace(/_(s|ms|bytes|at)$/, "")
    .replaceAll("_", " ")
    .replace(/^./, (first) => first.toUpperCase());
const isRow = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// By the unit that its name ends with, as all of this server's fields have it.
export function shown(name, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (/(^|_)(state|status|severity|level|verdict)$/.test(name) && typeof value === "string") return tag(value);
  if (
    /(_at|_since|^at|^since|^time)$/.test(name) &&
    (typeof value === "string" ? !Number.isNaN(Date.parse(value)) : value > 1e11)
  )
    return h("span", {title: date(value)}, time(value));
  if (typeof value === "number") {
    if (/_ms$|^ms$/.test(name)) return duration(value);
    if (/_s$|seconds$/.test(name)) return duration(value * 1000);
    if (/bytes$/.test(name)) return bytes(value);
    if (/ratio$|_rate$|share$/.test(name) && value >= 0 && value <= 1) return percent(value);
    return number(value);
  }
  if (Array.isArray(value))
    return value.every((one) => typeof one !== "object") ? value.join(", ") : h("code", null, JSON.stringify(value));
  return typeof value === "object" ? h("code", null, JSON.stringify(value)) : String(value);
}

function rowsPart(label, rows) {
  const names = [...new Set(rows.flatMap(Object.keys))].filter((name) =>
    rows.some((row) => row[name] !== null && row[name] !== ""),
  );
  const numeric = (name) => rows.some((row) => typeof row[name] === "number") && !/_at$|^at$/.test(name);
  return table(
    label,
    names.map((name) => ({
      name: title(name),
      numeric: numeric(name),
      class: "long",
      value: (row) => shown(name, row[name]),
    })),
    rows,
  );
}

// Any answer: lists of objects are tables, the rest are pairs.
export function answerPart(label, answer) {
  if (Array.isArray(answer))
    return answer.length
      ? answer.every(isRow)
        ? rowsPart(label, answer)
        : h("p", null, answer.join(", "))
      : empty("None.");
  const simple = Object.entries(answer).filter(
    ([, value]) =>
      !isRow(value) && !(Array.isArray(value) && value.some(isRow)) && !(Array.isArray(value) && !value.length),
  );
  const lists = Object.entries(answer).filter(
      ([name, value]) => Array.isArray(value) && (value.some(isRow) || (!value.length && name !== "notes")),
    ),
    objects = Object.entries(answer).filter(([, value]) => isRow(value));
  return [
    simple.length > 0 &&
      h(
        "dl",
        {class: "pairs"},
        simple.map(([name, value]) => [h("dt", null, title(name)), h("dd", null, shown(name, value))]),
      ),
    lists.map(([name, rows]) =>
      lists.length > 1 || simple.length
        ? [h("h3", null, title(name)), rows.length ? rowsPart(title(name), rows) : empty("None.")]
        : rows.length
          ? rowsPart(label, rows)
          : empty("None."),
    ),
    objects.map(([name, value]) => [h("h3", null, title(name)), answerPart(title(name), value)]),
  ];
}

// Sessions and locks have a tab of their own; here is what is wrong, and how far replicas and the disk are.
function triagePart(answer) {
  return [
    answer.findings?.length
      ? table(
          "Findings",
          [
            {name: "Severity", value: (one) => tag(one.severity)},
            {name: "About", value: (one) => one.subject},
            {name: "What", class: "long", value: (one) => one.what},
            {name: "What to do", class: "long", value: (one) => one.to_do},
          ],
          answer.findings,
        )
      : empty("Nothing is wrong at the moment."),
    figures(
      answer.disk_free_bytes !== undefined &&
        figure("Disk", bytes(answer.disk_free_bytes), `free of ${bytes(answer.disk_bytes)}`),
      answer.wal_bytes !== undefined && figure("Log of changes (WAL)", bytes(answer.wal_bytes)),
      answer.temporary_bytes !== undefined && figure("Temporary files", bytes(answer.temporary_bytes)),
      answer.oldest_transaction_age !== undefined &&
        figure("Oldest transaction's age", number(answer.oldest_transaction_age)),
    ),
    answer.replicas?.length > 0 && [h("h3", null, "Replicas"), rowsPart("Replicas", answer.replicas)],
    answer.replication_slots?.length > 0 && [
      h("h3", null, "Replication slots"),
      rowsPart("Replication slots", answer.replication_slots),
    ],
  ];
}

const ALERT_EVERY_S = 5;

// Told by the server as they come and go.
function alertsPart(answer, {signal}) {
  const place = h("div");
  const draw = ({alerts}) =>
    replace(
      place,
      alerts.length
        ? table(
            "Alerts",
            [
              {name: "Alert", value: (one) => one.alert},
              {name: "Severity", value: (one) => tag(one.severity)},
              {name: "Since", class: "nowrap", value: (one) => time(one.started_at)},
              {name: "What", class: "long", value: (one) => one.summary},
              {
                name: "About",
                class: "long",
                value: (one) =>
                  Object.entries(one.labels ?? {})
                    .map(([name, value]) => `${name} ${value}`)
                    .join(", "),
              },
            ],
            alerts,
          )
        : empty("None fires."),
    );
  follow("alerts", ALERT_EVERY_S, signal, async () => answer ?? get("api/v1/monitor/alerts", {}, signal), (value) => {
    answer = null;
    draw(value);
  });
  return place;
}

// -- partitions, replicas, backups, pooler: each with the command that sees to it --------------------------------------

const hint = (text, command) => h("p", {class: "empty"}, text, " ", h("code", null, command));

function partitionsPart({status, due, due_unknown: unknown}) {
  if (!status.tables.length && !status.conversions.length)
    return hint("No table is in parts.", "cairn partitions plan SCHEMA.TABLE --column COLUMN");
  return [
    status.conversions.map((one) =>
      h("p", null, tag("running", one.state), ` ${one.table} is being converted: ${number(one.copied)} rows copied.`),
    ),
    unknown && h("p", {class: "faint"}, "What is due is not known: " + unknown),
    status.tables.map((one) => {
      const wanted = due?.tables.find((other) => other.table === one.table),
        bytesOf = one.partitions.reduce((sum, part) => sum + part.bytes, 0),
        rowsOf = one.partitions.reduce((sum, part) => sum + Math.max(0, part.rows), 0),
        todo = [
          ...(wanted?.made ?? []).map((name) => "make " + name),
          ...(wanted?.detached ?? []).map((name) => "detach " + name),
          ...(wanted?.moved ? [`move ${number(wanted.moved)} rows out of the default partition`] : []),
        ];
      return [
        h("h3", null, one.table),
        figures(
          figure("Partitions", number(one.partitions.length), `by ${one.by} of ${one.column}`),
          figure("Size", bytes(bytesOf), `about ${number(rowsOf)} rows`),
          figure("Made ahead", number(one.ahead)),
          one.keep_months > 0 && figure("Kept", `${one.keep_months} months`),
          wanted &&
            figure(
              "In the default partition",
              h("span", {class: wanted.in_default ? "wrong" : undefined}, number(wanted.in_default)),
              "rows",
            ),
        ),
        todo.length > 0 &&
          h("p", {class: "next"}, "Due: " + todo.join(", ") + ".", copyable("cairn partitions maintain " + one.table)),
        wanted?.problems.map((problem) => h("p", {class: "wrong"}, problem)),
        table(
          "Partitions of " + one.table,
          [
            {name: "Partition", value: (part) => part.name},
            {name: "Bounds", class: "long", value: (part) => (part.default ? "all else" : part.bounds)},
            {name: "Rows, about", numeric: true, value: (part) => (part.rows < 0 ? "–" : number(part.rows))},
            {name: "Size", numeric: true, value: (part) => bytes(part.bytes)},
          ],
          one.partitions,
        ),
        one.detached.length > 0 &&
          h(
            "details",
            null,
            h("summary", null, `${number(one.detached.length)} detached`),
            rowsPart("Detached from " + one.table, one.detached),
          ),
      ];
    }),
  ];
}

function replicasPart({replicas}) {
  return replicas.length
    ? table(
        "Replicas",
        [
          {name: "Replica", value: (one) => one.name},
          {name: "State", value: (one) => tag(one.state === "streaming" ? "ok" : "warning", one.state)},
          {name: "Commits wait for it", value: (one) => (one.synchronous ? one.sync_state || "yes" : "no")},
          {name: "Behind", numeric: true, value: (one) => bytes(one.lag_bytes)},
          {
            name: "For",
            numeric: true,
            value: (one) => duration(one.lag_seconds === undefined ? null : one.lag_seconds * 1000),
          },
          {name: "Port", numeric: true, value: (one) => one.port},
        ],
        replicas,
      )
    : hint("There is none: reads and a failover have nowhere to go.", "cairn replica add near --synchronous");
}

function backupsPart({list, archive}) {
  const backups = [...list.backups].reverse(),
    oldest = list.backups[0];
  if (!oldest) return hint("None was made yet.", "cairn backup create");
  return [
    figures(
      figure("Restored to any time from", date(oldest.stopped_at)),
      figure(
        "Archived until",
        archive.archived_at ? time(archive.archived_at) : "–",
        archive.fails ? h("span", {class: "wrong"}, "the last attempt failed") : "",
      ),
      figure("In", h("code", {class: "plain"}, list.directory)),
    ),
    table(
      "Backups",
      [
        {name: "Backup", value: (one) => h("code", null, one.id)},
        {name: "Made", class: "nowrap", value: (one) => time(one.stopped_at)},
        {name: "Took", numeric: true, value: (one) => duration(one.stopped_at - one.started_at)},
        {name: "Size", numeric: true, value: (one) => bytes(one.base_bytes)},
        {name: "Rows", numeric: true, value: (one) => number(one.rows)},
        {name: "Artifacts", numeric: true, value: (one) => number(one.artifacts)},
        {
          name: "Verified",
          class: "nowrap",
          value: (one) =>
            one.verified_at
              ? [tag(one.good ? "ok" : "failed", one.good ? "good" : "not good"), " ", time(one.verified_at)]
              : tag("warning", "never"),
        },
      ],
      backups,
    ),
  ];
}

function poolPart(answer) {
  if (!answer.running) return hint("PgBouncer does not run.", "cairn pool start");
  const settings = answer.settings;
  return [
    figures(
      figure("PgBouncer", answer.version.replace(/^\D*/, ""), `on ${settings.listen_addr}:${settings.listen_port}`),
      figure("Mode", settings.pool_mode),
      figure("Clients at most", number(settings.max_client_conn)),
      figure("Connections", settings.default_pool_size, `a role and database, ${settings.max_db_connections} in all`),
    ),
    answer.pools.length
      ? table(
          "Pools",
          [
            {name: "Database", value: (one) => one.database},
            {name: "Role", value: (one) => one.user},
            {name: "Clients", numeric: true, value: (one) => number(one.cl_active)},
            {
              name: "Waiting",
              numeric: true,
              value: (one) => h("span", {class: one.cl_waiting ? "wrong" : undefined}, number(one.cl_waiting)),
            },
            {name: "Connections in use", numeric: true, value: (one) => number(one.sv_active)},
            {name: "Idle", numeric: true, value: (one) => number(one.sv_idle + one.sv_used)},
            {name: "Longest wait", numeric: true, value: (one) => duration(one.maxwait * 1000)},
          ],
          answer.pools,
        )
      : empty("Nobody has come through it yet."),
  ];
}

function figuresPart(answer) {
  const rows = answer.figures,
    names = [...new Set(rows.flatMap(Object.keys))].filter((name) => name !== "observed_at").slice(0, FIGURES);
  if (rows.length < 2) return empty("The first two looks are not yet done: one is taken every minute.");
  return h(
    "div",
    {class: "charts"},
    names.map((name) =>
      lineChart([{name, points: rows.map((row) => [row.observed_at, Number(row[name])])}], {
        title: title(name),
        formatX: (value) => hourAndMinute(value),
        formatY: (value) => text(name, value),
        ticksX: timeTicks,
        height: 150,
        zero: true,
      }),
    ),
  );
}

const text = (name, value) => {
  const made = shown(name, value);
  return typeof made === "string" ? made : number(value);
};

export async function show(database, query, context) {
  const {signal} = context;
  const described = await get("api/v1/openapi.json", {}, signal);
  const askable = Object.entries(described.paths)
    .filter(
      ([route, methods]) =>
        methods.get && !route.includes("{") && !(methods.get.parameters ?? []).some((one) => one.required),
    )
    .map(([route]) => route);
  const parts = await Promise.all(
    AREAS.flatMap(([name, pattern, draw = (answer) => answerPart(name, answer)]) =>
      askable
        .filter((route) => pattern.test(route))
        .map(async (route) => {
          try {
            return section(name, draw(await get(route.slice(1), {database}, signal), context));
          } catch (error) {
            if (error.name === "AbortError") throw error;
            // What is not there, or not here, is no failure.
            if (error.status === 404 || error.status === 409) return section(name, empty(error.message));
            return section(name, h("p", {class: "wrong"}, error.message));
          }
        }),
    ),
  );
  return parts.length ? parts : empty("This server looks after nothing of the database by itself.");
}
