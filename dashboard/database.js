// #/database/TAB?database=NAME: what the PostgreSQL behind all of it does. This module has the frame and the load; each other
// tab is a module of its own, with show(database, query, context).
import {get, keepLooking} from "./api.js";
import {ago, bar, bytes, clock, duration, empty, figure, figures, h, link, number, percent, replace, section, statement, table, tabs, time} from "./dom.js";
import {legend, lineChart, timeTicks} from "./chart.js";

const TABS = [
  {id: "load", name: "Load"},
  {id: "plan", name: "Plans", module: "./plan.js"},
  {id: "advice", name: "Advice", module: "./advice.js"},
  {id: "relations", name: "Tables and indexes", module: "./relations.js"},
  {id: "activity", name: "Activity and locks", module: "./activity.js"},
  {id: "operations", name: "Operations", module: "./operations.js"},
];
const EVERY_S = 15,
  SHOWN_SERIES = 6,
  BUCKETS = 120;

export async function show(parts, query, context) {
  const server = await get("api/v1/database", {}, context.signal);
  const wanted = query.get("database"),
    database = server.databases.find((one) => one.name === wanted) ?? server.databases[0];
  const name = database.name === server.database ? undefined : database.name;
  const tab = TABS.find((one) => one.id === parts[1]) ?? TABS[0];
  const address = (id) => `#/database/${id}` + (name ? "?database=" + encodeURIComponent(name) : "");
  let content;
  try {
    content = tab.module
      ? await (await import(tab.module)).show(name, query, context)
      : await load(name, database, context);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    content = h("p", {class: "wrong", role: "alert"}, error.message);
  }
  return [
    h(
      "div",
      {class: "bar-of-tools"},
      h("h1", null, "Database"),
      h(
        "select",
        {
          "aria-label": "Database",
          onchange: (event) =>
            (location.hash =
              `#/database/${tab.id}` +
              (event.target.value === server.database ? "" : "?database=" + encodeURIComponent(event.target.value))),
        },
        server.databases
          .filter((one) => one.may_connect)
          .map((one) => h("option", {value: one.name, selected: one === database}, one.name)),
      ),
    ),
    figures(
      figure("Size", bytes(database.bytes)),
      figure("Cache hits", percent(database.cache_hit_ratio)),
      figure("Connections", number(server.connections), `of ${server.max_connections}`),
      figure(
        "Commits",
        number(database.commits),
        database.rollbacks ? `${number(database.rollbacks)} rolled back` : "",
      ),
      figure("Deadlocks", number(database.deadlocks)),
      figure("PostgreSQL", server.version.split(" ")[0], "up " + duration(Date.now() - Date.parse(server.started_at))),
    ),
    tabs("Parts of the database page", TABS, tab.id, address),
    content,
  ];
}

// -- top statements over time ----------------------------------------------------------------------------------------

// Milliseconds of work a second, in at most so many buckets, of the statements that took most and of the rest.
function seriesOf(samples, interval, names) {
  if (!samples.length) return [];
  const step = Math.max(interval * 1000, Math.ceil((samples.at(-1).at - samples[0].at) / BUCKETS)),
    totals = new Map();
  for (const sample of samples)
    for (const one of sample.statements)
      totals.set(names(one.queryid), (totals.get(names(one.queryid)) ?? 0) + one.total_ms);
  const shown = [...totals]
    .filter(([id]) => id)
    .sort((a, b) => b[1] - a[1])
    .slice(0, SHOWN_SERIES)
    .map(([id]) => id);
  const buckets = new Map();
  for (const sample of samples) {
    const at = Math.floor(sample.at / step) * step,
      bucket = buckets.get(at) ?? {total: 0, of: new Map(), seconds: 0};
    bucket.total += sample.total_ms;
    bucket.seconds += interval;
    for (const one of sample.statements) {
      const id = names(one.queryid);
      bucket.of.set(id, (bucket.of.get(id) ?? 0) + one.total_ms);
    }
    buckets.set(at, bucket);
  }
  const line = (value) => [...buckets].map(([at, bucket]) => [at, value(bucket) / bucket.seconds]);
  return [
    {name: "all", id: null, points: line((bucket) => bucket.total)},
    ...shown.map((id) => ({name: id.slice(0, 8), id, points: line((bucket) => bucket.of.get(id) ?? 0)})),
  ];
}

async function load(name, database, {signal}) {
  const chart = h("div"),
    rows = h("div");
  let samples = [],
    profile = null,
    interval = 15;
  // A statement's queryids belong to one fingerprint, by which the profile lists it.
  const names = (queryid) => profile?.byQueryid.get(queryid) ?? null;

  function draw() {
    const series = seriesOf(samples, interval, names);
    replace(
      chart,
      series.length && samples.length > 1
        ? [
            lineChart(series, {
              title: "Milliseconds of statements in a second",
              formatX: (value) => clock(value).replace(/:00$/, ""),
              ticksX: timeTicks,
              height: 190,
              width: 900,
              zero: true,
            }),
            legend(series),
          ]
        : empty(`The server looks every ${interval} s; after two looks there is a line here.`),
    );
    const colours = new Map(series.map((one, index) => [one.id, index]));
    replace(
      rows,
      notes(profile),
      profile.statements.length
        ? table(
            "Statements by total time",
            [
              {
                name: "Id",
                class: "nowrap",
                value: (one) =>
                  h(
                    "span",
                    null,
                    h("i", {class: "dot " + (colours.has(one.id) ? "c" + colours.get(one.id) : "none")}),
                    h("code", {title: one.id}, one.id.slice(0, 8)),
                  ),
              },
              {
                name: "Statement",
                class: "text",
                value: (one) => statement(one, name),
              },
              {name: "Share", numeric: true, value: (one) => percent(one.share)},
              {name: h("span", {class: "hidden"}, "Share, drawn"), class: "meter", value: (one) => bar(one.share)},
              {name: "Calls", numeric: true, value: (one) => number(one.calls)},
              {name: "Mean", numeric: true, value: (one) => duration(one.mean_ms)},
              {name: "Longest", numeric: true, value: (one) => (one.max_is_bound ? "≤ " : "") + duration(one.max_ms)},
              {name: "Total", numeric: true, value: (one) => duration(one.total_ms)},
              {name: "Rows", numeric: true, value: (one) => number(one.rows)},
              {name: "Hits", numeric: true, value: (one) => percent(one.cache_hit_ratio, 0)},
              {name: "Temp", numeric: true, value: (one) => (one.temp_blocks ? bytes(one.temp_blocks * 8192) : "")},
            ],
            profile.statements,
          )
        : empty("No statement was counted in this database yet."),
    );
  }

  await keepLooking(EVERY_S, signal, async () => {
    const answer = await get(
      "api/v1/database/statements/history",
      {database: name ?? database.name, after: samples.at(-1)?.at},
      signal,
    );
    const fresh = answer.samples.length > 0 || !profile;
    samples = [...samples, ...answer.samples].slice(-1440);
    interval = answer.interval_s;
    if (
      (fresh && samples.some((sample, index) => index >= samples.length - answer.samples.length && sample.calls > 0)) ||
      !profile
    ) {
      profile = await get("api/v1/database/statements", {database: name, top: 50}, signal);
      profile.byQueryid = new Map(profile.statements.flatMap((one) => one.queryids.map((id) => [id, one.id])));
    }
    // Not under somebody's eyes or fingers.
    if (!rows.contains(document.activeElement) && !chart.contains(document.activeElement)) draw();
  });
  if (!profile) throw new Error("What this database does cannot be read at the moment.");
  return [
    section("Top statements over time", chart),
    section(
      "Since " + (profile.since ? ago(profile.since) : "the counting began"),
      h(
        "p",
        {class: "faint"},
        `${number(profile.statement_count)} statements, ${number(profile.calls)} calls, ${duration(profile.total_ms)} in all. A click shows a statement's plan.`,
      ),
      rows,
    ),
  ];
}

export const notes = (profile) =>
  (profile.notes ?? []).map((note) =>
    h("p", {class: "empty"}, note.what, note.remedy && [": ", h("code", null, note.remedy)]),
  );
