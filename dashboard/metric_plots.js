// Charts of runs' metrics, along steps or time.
import {mlflow} from "./api.js";
import {legend, lineChart} from "./chart.js";
import {date, duration, empty, h, replace} from "./dom.js";
import {keysOf, runHref} from "./run_data.js";

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
