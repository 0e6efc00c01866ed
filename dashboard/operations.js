// #/database/operations: alerts, figures over time, partitions, maintenance, replicas, backups: what this server has routes for. Routes
// are found in its own description of them, so that nothing is offered that it cannot do.
import {get} from "./api.js";
import {lineChart, timeTicks} from "./chart.js";
import {bytes, date, duration, empty, figure, figures, h, number, percent, section, table, tag, time} from "./dom.js";

const AREAS = [
  ["What needs a look", /^\/api\/v1\/database\/triage$/, triagePart],
  ["Alerts", /^\/api\/v1\/monitor\/alerts$/],
  ["The last day", /^\/api\/v1\/monitor\/figures$/, figuresPart],
  ["Maintenance: what is due", /^\/api\/v1\/database\/maintenance\/plan$/],
  ["Maintenance: the schedule", /^\/api\/v1\/database\/maintenance\/jobs$/],
  ["Maintenance: what was done", /^\/api\/v1\/database\/maintenance\/runs$/],
  ["Partitions", /^\/api\/v1\/(database\/)?partitions$/],
  ["Replicas", /^\/api\/v1\/(database\/)?replicas$/],
  ["Backups", /^\/api\/v1\/(database\/)?backups$/],
  ["Connection pool", /^\/api\/v1\/(database\/)?pool$/],
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

const hours = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});

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
        formatX: (value) => hours.format(value),
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

export async function show(database, query, {signal}) {
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
            return section(name, draw(await get(route.slice(1), {database}, signal)));
          } catch (error) {
            if (error.name === "AbortError") throw error;
            return section(name, h("p", {class: "wrong"}, error.message));
          }
        }),
    ),
  );
  return parts.length ? parts : empty("This server looks after nothing of the database by itself.");
}
