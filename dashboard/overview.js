// #/: what is there and what happened last, from each section a little, each with the way in.
import {get, mlflow} from "./api.js";
import {bar, bytes, duration, empty, figure, figures, h, link, number, path, percent, replace, statement, table, tag, time} from "./dom.js";
import {keysOf, runHref, runOf, runTime, searchExperiments} from "./run_data.js";

const RUNS = 8;

// Parts are asked for at once; one that fails says so and leaves the others alone.
const part = (title, href, promise, draw) => {
  const place = h("div", null, h("p", {class: "faint"}, "…"));
  promise.then(
    (answer) => replace(place, draw(answer)),
    (error) => error.name !== "AbortError" && replace(place, h("p", {class: "wrong"}, error.message)),
  );
  return h("section", {class: "part", "aria-label": title}, h("h2", null, href ? link(href, title) : title), place);
};

function runsPart([experiments, found]) {
  const runs = (found.runs ?? []).map(runOf),
    names = new Map(experiments.map((one) => [one.experiment_id, one.name]));
  if (!runs.length)
    return empty(
      "No runs yet. ",
      h("code", null, `mlflow.set_tracking_uri("${location.origin}")`),
      " and a training script put some here.",
    );
  const metrics = keysOf(runs, "metrics").slice(0, 3);
  return table(
    "Last runs",
    [
      {name: "Run", class: "nowrap", value: (run) => link(runHref(run), run.name)},
      {
        name: "Experiment",
        value: (run) => link(path("experiments", run.experiment), names.get(run.experiment) ?? run.experiment),
      },
      {name: "Status", value: (run) => tag(run.status, run.status.toLowerCase())},
      {name: "Started", class: "nowrap", value: (run) => time(run.start)},
      {name: "Took", numeric: true, value: (run) => duration(runTime(run))},
      ...metrics.map((key) => ({name: key, numeric: true, value: (run) => number(run.metrics.get(key))})),
    ],
    runs,
  );
}

const modelsPart = ([found, {deployments}, {approvals}]) => {
  const models = found.registered_models ?? [];
  if (!models.length) return empty("None is registered.");
  return [
    approvals.length > 0 &&
      h(
        "p",
        null,
        link("#/models", `${number(approvals.length)} ${approvals.length === 1 ? "approval waits" : "approvals wait"}`),
      ),
    table(
      "Models",
      [
        {name: "Model", value: (model) => link(path("models", model.name), model.name)},
        {
          name: "Stages",
          value: (model) =>
            h(
              "span",
              {class: "tags"},
              (model.latest_versions ?? [])
                .filter((one) => one.current_stage !== "None")
                .map((one) => tag(one.current_stage, `${one.current_stage} ${one.version}`)),
            ),
        },
        {
          name: "Deployed",
          value: (model) =>
            deployments
              .filter((one) => one.model === model.name)
              .map((one) => one.environment)
              .join(", "),
        },
        {name: "Changed", class: "nowrap", value: (model) => time(model.last_updated_timestamp)},
      ],
      models,
    ),
  ];
};

const featuresPart = ({feature_views: views}) =>
  views.length
    ? table(
        "Feature views",
        [
          {name: "View", value: (view) => link("#/features", view.name)},
          {name: "Entities", numeric: true, value: (view) => number(view.entities)},
          {name: "Features", numeric: true, value: (view) => number(view.features.length)},
          {
            name: "Newest",
            numeric: true,
            value: (view) => duration(view.freshness_s === undefined ? null : view.freshness_s * 1000),
          },
          {
            name: "Missing at most",
            numeric: true,
            value: (view) => percent(Math.max(0, ...view.features.map((one) => one.null_rate))),
          },
          {
            name: "Drift",
            value: (view) =>
              view.features.some((one) => one.psi > 0.25)
                ? tag("drifted")
                : view.features.some((one) => one.psi !== undefined)
                  ? tag("ok", "steady")
                  : h("span", {class: "faint"}, "no baseline"),
          },
        ],
        views,
      )
    : empty("None is declared.");

const searchPart = ({collections}) =>
  collections.length
    ? table(
        "Collections",
        [
          {name: "Collection", value: (one) => link(path("search", one.name), one.name)},
          {name: "Documents", numeric: true, value: (one) => number(one.documents)},
          {name: "Chunks", numeric: true, value: (one) => number(one.chunks)},
          {name: "Embedder", value: (one) => one.embedder.kind},
        ],
        collections,
      )
    : empty("None was made.");

const databasePart = ([server, profile]) => [
  figures(
    figure("Size", bytes(server.databases[0].bytes)),
    figure("Cache hits", percent(server.databases[0].cache_hit_ratio)),
    figure("Connections", number(server.connections), `of ${server.max_connections}`),
    figure("Statements", number(profile.calls), `${duration(profile.total_ms)} in all`),
    figure("PostgreSQL", server.version.split(" ")[0]),
  ),
  table(
    "Statements with the most time",
    [
      {
        name: "Statement",
        class: "text",
        value: (one) => statement(one),
      },
      {name: "Share", numeric: true, value: (one) => percent(one.share)},
      {name: h("span", {class: "hidden"}, "Share, drawn"), class: "meter", value: (one) => bar(one.share)},
      {name: "Calls", numeric: true, value: (one) => number(one.calls)},
      {name: "Mean", numeric: true, value: (one) => duration(one.mean_ms)},
    ],
    profile.statements,
  ),
];

export async function show(parts, query, {signal}) {
  const runs = searchExperiments(signal).then(async (experiments) => [
    experiments,
    experiments.length
      ? await mlflow.post(
          "runs/search",
          {
            experiment_ids: experiments.slice(0, 100).map((one) => one.experiment_id),
            max_results: RUNS,
            order_by: ["attributes.start_time DESC"],
          },
          signal,
          "last runs",
        )
      : {},
  ]);
  const models = Promise.all([
    mlflow.get("registered-models/search", {max_results: 8}, signal),
    get("api/v1/deployments", {status: "active", limit: 200}, signal),
    get("api/v1/approvals", {status: "pending"}, signal),
  ]);
  const database = Promise.all([
    get("api/v1/database", {}, signal),
    get("api/v1/database/statements", {top: 5}, signal),
  ]);
  return [
    h("h1", null, "Overview"),
    part("Last runs", "#/experiments", runs, runsPart),
    h(
      "div",
      {class: "grid-2"},
      part("Models", "#/models", models, modelsPart),
      part("Features", "#/features", get("api/v1/features/health", {}, signal), featuresPart),
    ),
    h("div", {class: "grid-2"}, part("Search", "#/search", get("api/v1/collections", {}, signal), searchPart)),
    part("Database", "#/database", database, databasePart),
  ];
}
