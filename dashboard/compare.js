// #/compare?runs=ID,ID: runs side by side, what differs first, and their metrics over time.
import {get, mlflow} from "./api.js";
import {date, duration, empty, h, link, number, section, table} from "./dom.js";
import {parallelCoordinates} from "./parallel.js";
import {metricPlots} from "./metric_plots.js";
import {keysOf, runHref, runOf, runTime, varyingParams} from "./run_data.js";

export async function show(parts, query, {signal}) {
  const ids = (query.get("runs") ?? "").split(",").filter(Boolean);
  if (ids.length < 2)
    return [
      h("h1", null, "Compare runs"),
      empty("Choose two runs or more in the table of an ", link("#/experiments", "experiment"), ", then Compare."),
    ];
  const compared = await get("api/v1/runs/compare", {run_id: ids}, signal);
  const runs = await Promise.all(
    ids.map(async (id) => runOf((await mlflow.get("runs/get", {run_id: id}, signal)).run)),
  );
  const order = compared.runs.map((info) => runs.find((run) => run.id === info.run_id));
  const rows = (list) => [...list].sort((a, b) => b.differs - a.differs || (a.key < b.key ? -1 : 1));
  const best = (row) => Math.max(...row.values.filter((value) => value !== null).map(Number));
  const side = (label, list, numeric) =>
    table(
      label,
      [
        {name: label, value: (row) => row.key},
        ...order.map((run, index) => ({
          name: h("a", {href: runHref(run)}, run.name),
          numeric,
          value: (row) => {
            const value = row.values[index];
            if (value === null || value === undefined) return "–";
            return numeric
              ? h(row.differs && Number(value) === best(row) ? "b" : "span", {title: value}, number(value))
              : value;
          },
        })),
      ],
      rows(list),
      {row: (row) => ({class: row.differs ? "differs" : undefined})},
    );
  const about = [
    {key: "started", differs: false, values: order.map((run) => date(run.start))},
    {key: "duration", differs: false, values: order.map((run) => duration(runTime(run)))},
    {key: "status", differs: false, values: order.map((run) => run.status.toLowerCase())},
  ];
  const metric = keysOf(order, "metrics").find((key) => /acc|auc|f1|score/i.test(key)) ?? keysOf(order, "metrics")[0];
  const params = varyingParams(order, 8);
  return [
    h(
      "p",
      {class: "crumbs"},
      link("#/experiments", "Experiments"),
      " / ",
      link("#/experiments/" + order[0].experiment, "runs"),
    ),
    h("h1", null, `${order.length} runs compared`),
    h(
      "p",
      {class: "lead"},
      "Read on one snapshot. What differs is marked and comes first; the greatest value of a metric is bold.",
    ),
    section("Parameters", side("Parameter", compared.params, false)),
    section("Metrics", side("Metric", compared.metrics, true)),
    section("Over time", metricPlots(order, signal)),
    metric &&
      params.length > 0 &&
      order.length > 2 &&
      section(
        "Parallel coordinates",
        parallelCoordinates(order, [
          ...params.map((key) => ({name: key, value: (run) => run.params.get(key)})),
          {name: metric, value: (run) => run.metrics.get(metric)},
        ]),
      ),
    section("Runs", side("Run", about, false)),
  ];
}
