// Runs as MLflow's API gives them, and the charts that several pages draw of them.
import {mlflow} from "./api.js";
import {duration, empty, h, date, number, path, replace} from "./dom.js";
import {legend, lineChart} from "./chart.js";

const keyed = (list) => new Map((list ?? []).map((item) => [item.key, item.value]));

export function runOf(raw) {
  const info = raw.info;
  return {
    id: info.run_id,
    name: info.run_name || info.run_id.slice(0, 8),
    status: info.status,
    stage: info.lifecycle_stage,
    experiment: info.experiment_id,
    start: info.start_time,
    end: info.end_time,
    user: info.user_id,
    artifacts: info.artifact_uri,
    metrics: keyed(raw.data?.metrics),
    params: keyed(raw.data?.params),
    tags: keyed(raw.data?.tags),
    lastMetrics: raw.data?.metrics ?? [],
    raw,
  };
}

export const runHref = (run) => path("runs", run.id);
export const runTime = (run) =>
  run.start && run.end
    ? Number(run.end) - Number(run.start)
    : run.start && run.status === "RUNNING"
      ? Date.now() - Number(run.start)
      : null;

export async function searchExperiments(signal) {
  const found = [];
  let token;
  do {
    const page = await mlflow.post(
      "experiments/search",
      {max_results: 1000, page_token: token, order_by: ["last_update_time DESC"]},
      signal,
    );
    found.push(...(page.experiments ?? []));
    token = page.next_page_token;
  } while (token);
  return found;
}

// Keys of params whose value is not the same in all of these runs, most telling first; at most so many.
export function varyingParams(runs, most) {
  const values = new Map();
  for (const run of runs)
    for (const [key, value] of run.params) {
      if (!values.has(key)) values.set(key, new Set());
      values.get(key).add(value);
    }
  return [...values]
    .filter(([key, set]) => set.size > 1 || runs.some((run) => !run.params.has(key)))
    .map(([key]) => key)
    .slice(0, most);
}

export function keysOf(runs, kind) {
  const counts = new Map();
  for (const run of runs) for (const key of run[kind].keys()) counts.set(key, (counts.get(key) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([key]) => key);
}

// -- metric plots ----------------------------------------------------------------------------------------------------

const POINTS = 600,
  AT_FIRST = 8,
  RUNS_AT_MOST = 24;

async function history(runs, key, signal) {
  const answer = await mlflow.get(
    "metrics/get-history-bulk-interval",
    {run_ids: runs.map((run) => run.id), metric_key: key, max_results: POINTS},
    signal,
  );
  const byRun = new Map(runs.map((run) => [run.id, []]));
  for (const point of answer.metrics ?? []) byRun.get(point.run_id)?.push(point);
  return byRun;
}

const X = {
  step: {name: "Step", of: (point) => Number(point.step ?? 0)},
  relative: {
    name: "Time since start",
    of: (point, run) => Number(point.timestamp) - Number(run.start),
    format: duration,
  },
  time: {name: "Time", of: (point) => Number(point.timestamp), format: (value) => date(value).split(", ").at(-1)},
};

// Charts of all metrics of the runs. kept: {smoothing, x}, which the controls change.
export function metricPlots(runs, signal, kept = {}) {
  const shown = runs.slice(0, RUNS_AT_MOST),
    keys = keysOf(shown, "metrics");
  if (!keys.length)
    return empty("These runs have no metrics yet. mlflow.log_metric() adds them; the plots follow by themselves.");
  const state = {smoothing: kept.smoothing ?? 0, x: kept.x ?? "step", most: AT_FIRST};
  const cache = new Map(),
    place = h("div", {class: "charts"}),
    more = h("p");
  const colours = shown.map((run) => ({name: run.name, href: shown.length > 1 ? runHref(run) : undefined}));

  function drawOne(slot, key) {
    const x = X[state.x],
      byRun = cache.get(key);
    const series = shown.map((run) => ({
      name: run.name,
      points: byRun
        .get(run.id)
        .map((point) => [x.of(point, run), Number(point.value)])
        .sort((a, b) => a[0] - b[0]),
    }));
    replace(slot, lineChart(series, {title: key, smoothing: state.smoothing, xName: x.name, formatX: x.format}));
  }
  async function draw() {
    const slots = keys.slice(0, state.most).map((key) => [key, h("div", null, h("p", {class: "faint"}, key + " …"))]);
    replace(
      place,
      slots.map(([, slot]) => slot),
    );
    replace(
      more,
      keys.length > state.most &&
        h(
          "button",
          {type: "button", onclick: () => ((state.most += 16), draw())},
          `Show ${Math.min(16, keys.length - state.most)} more of ${keys.length} metrics`,
        ),
    );
    for (const [key, slot] of slots) {
      try {
        if (!cache.has(key)) cache.set(key, await history(shown, key, signal));
        drawOne(slot, key);
      } catch (error) {
        if (error.name === "AbortError") return;
        replace(slot, empty(key + ": " + error.message));
      }
    }
  }
  const redraw = () =>
    [...place.children].forEach((slot, index) => cache.has(keys[index]) && drawOne(slot, keys[index]));
  const smoothing = h("output", null, state.smoothing ? state.smoothing.toFixed(2) : "none");
  const tools = h(
    "div",
    {class: "bar-of-tools"},
    h(
      "label",
      null,
      "Smoothing",
      h("input", {
        type: "range",
        min: 0,
        max: 0.98,
        step: 0.02,
        value: state.smoothing,
        oninput: (event) => {
          state.smoothing = Number(event.target.value);
          smoothing.textContent = state.smoothing ? state.smoothing.toFixed(2) : "none";
          redraw();
        },
      }),
      smoothing,
    ),
    h(
      "label",
      null,
      "Along",
      h(
        "select",
        {onchange: (event) => ((state.x = event.target.value), redraw())},
        Object.entries(X).map(([id, x]) => h("option", {value: id, selected: id === state.x}, x.name)),
      ),
    ),
    h("span", {class: "faint"}, "Drag in a plot to zoom, double-click to see all."),
    runs.length > shown.length && h("span", {class: "faint"}, `The first ${shown.length} of ${runs.length} runs.`),
  );
  draw();
  return h("div", null, tools, shown.length > 1 && legend(colours), place, more);
}

export const metricText = (run, key) => (run.metrics.has(key) ? number(run.metrics.get(key)) : "");
