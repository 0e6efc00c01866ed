// #/runs/ID: one run with its params, metrics over time, artifacts, tags, data sets, and what was registered from it.
import {get, mlflow, optional} from "./api.js";
import {
  bytes,
  date,
  duration,
  empty,
  figure,
  figures,
  h,
  link,
  number,
  path,
  replace,
  section,
  table,
  tag,
  time,
} from "./dom.js";
import {metricPlots} from "./metric_plots.js";
import {runOf, runTime} from "./run_data.js";

const SHOWN_TEXT = 200_000;
const HIDDEN_TAGS = /^mlflow\.(runName|user|source\.|log-model|note)/;

export async function show(parts, query, {signal}) {
  const run = runOf((await mlflow.get("runs/get", {run_id: parts[1]}, signal)).run);
  const [experiment, versions] = await Promise.all([
    mlflow.get("experiments/get", {experiment_id: run.experiment}, signal).then((answer) => answer.experiment),
    mlflow
      .get("model-versions/search", {filter: `run_id = '${run.id}'`}, signal)
      .then((answer) => answer.model_versions ?? []),
  ]);
  const inputs = run.raw.inputs?.dataset_inputs ?? [];
  const tags = [...run.tags].filter(([key]) => !HIDDEN_TAGS.test(key));
  return [
    h(
      "p",
      {class: "crumbs"},
      link("#/experiments", "Experiments"),
      " / ",
      link(path("experiments", run.experiment), experiment.name),
    ),
    h("h1", null, run.name),
    figures(
      figure("Status", tag(run.status, run.status.toLowerCase())),
      figure("Started", date(run.start)),
      figure("Duration", duration(runTime(run))),
      run.user && figure("User", run.user),
      run.tags.get("mlflow.source.name") && figure("Source", run.tags.get("mlflow.source.name")),
    ),
    run.tags.get("mlflow.note.content") && h("p", {class: "lead"}, run.tags.get("mlflow.note.content")),
    h(
      "div",
      {class: "grid-2"},
      section(
        "Metrics",
        run.metrics.size
          ? table(
              "Metrics",
              [
                {name: "Metric", value: (one) => one.key},
                {name: "Last", numeric: true, value: (one) => h("span", {title: one.value}, number(one.value))},
                {name: "Step", numeric: true, value: (one) => number(one.step ?? 0)},
              ],
              run.lastMetrics,
            )
          : empty("None logged."),
      ),
      section(
        "Parameters",
        run.params.size
          ? table(
              "Parameters",
              [
                {name: "Parameter", value: ([key]) => key},
                {name: "Value", class: "mono long", value: ([, value]) => value},
              ],
              [...run.params].sort(),
            )
          : empty("None logged."),
      ),
    ),
    run.metrics.size > 0 && section("Over time", metricPlots([run], signal)),
    h(
      "div",
      {class: "grid-2"},
      section("Artifacts", await artifacts(run, "", signal)),
      h(
        "div",
        null,
        versions.length > 0 &&
          section(
            "Registered as",
            table(
              "Versions",
              [
                {name: "Model", value: (one) => link(path("models", one.name), one.name)},
                {name: "Version", value: (one) => one.version},
                {name: "Stage", value: (one) => tag(one.current_stage)},
              ],
              versions,
            ),
          ),
        inputs.length > 0 &&
          section(
            "Data sets",
            table(
              "Data sets",
              [
                {name: "Name", value: (one) => one.dataset?.name},
                {name: "Source", value: (one) => one.dataset?.source_type},
                {name: "Digest", class: "mono", value: (one) => one.dataset?.digest},
              ],
              inputs,
            ),
          ),
        section(
          "Tags",
          tags.length
            ? h(
                "dl",
                {class: "pairs"},
                tags.map(([key, value]) => [h("dt", null, key), h("dd", null, value)]),
              )
            : empty("None."),
        ),
        section(
          "Identity",
          h(
            "dl",
            {class: "pairs"},
            h("dt", null, "Run"),
            h("dd", {class: "mono"}, run.id),
            h("dt", null, "Artifacts"),
            h("dd", {class: "mono"}, run.artifacts),
          ),
        ),
      ),
    ),
  ];
}

const fileHref = (run, file) => "get-artifact?" + new URLSearchParams({run_uuid: run.id, path: file.path});

async function artifacts(run, folder, signal) {
  const found = await optional(mlflow.get("artifacts/list", {run_id: run.id, path: folder || undefined}, signal));
  const files = found?.files ?? [];
  if (!files.length) return empty("None.");
  return h(
    "ul",
    {class: "files"},
    files.map((file) => {
      const name = file.path.split("/").at(-1),
        inside = h("div");
      if (!file.is_dir)
        return h(
          "li",
          null,
          h(
            "details",
            {ontoggle: (event) => event.target.open && preview(run, file, inside)},
            h("summary", null, name, " ", h("span", {class: "faint"}, bytes(file.file_size))),
            inside,
          ),
        );
      return h(
        "li",
        null,
        h(
          "details",
          {
            ontoggle: async (event) => {
              if (event.target.open && !inside.firstChild) replace(inside, await artifacts(run, file.path, signal));
            },
          },
          h("summary", null, name + "/"),
          inside,
        ),
      );
    }),
  );
}

// Text is shown, the rest is offered. As text only: an artifact is anybody's bytes.
async function preview(run, file, place) {
  if (place.firstChild) return;
  const download = h("p", null, h("button", {type: "button", onclick: () => save(run, file)}, "Download"));
  replace(place, download);
  if (
    Number(file.file_size) > SHOWN_TEXT ||
    !/\.(txt|md|json|ya?ml|csv|tsv|py|log|toml|ini|sql|html|xml)$|MLmodel$|requirements/i.test(file.path)
  )
    return;
  const content = await get("get-artifact", {run_uuid: run.id, path: file.path});
  replace(
    place,
    h("pre", {class: "whole", tabindex: 0}, typeof content === "string" ? content : JSON.stringify(content, null, 1)),
    download,
  );
}

async function save(run, file) {
  const headers = {},
    authorization = sessionStorage.getItem("cairn.authorization");
  if (authorization) headers.Authorization = authorization;
  const response = await fetch(fileHref(run, file), {headers, credentials: "omit"});
  const address = URL.createObjectURL(await response.blob());
  h("a", {href: address, download: file.path.split("/").at(-1)}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
