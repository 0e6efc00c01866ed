// #/experiments and #/experiments/ID: the runs of an experiment as a table of any length, as plots, as parallel coordinates.
import {
  announce,
  bytes,
  date,
  duration,
  empty,
  h,
  link,
  number,
  path,
  replace,
  table,
  tabs,
  tag,
  time,
  ago,
} from "./dom.js";
import {mlflow} from "./api.js";
import {VirtualTable} from "./virtual_table.js";
import {keysOf, runHref, runOf, runTime, searchExperiments, varyingParams} from "./run_data.js";

const PAGE = 100,
  COMPARED_AT_MOST = 100;

export async function show(parts, query, context) {
  const id = parts[1],
    runs = id && new Runs(id, query, context),
    experiments = await searchExperiments(context.signal);
  if (!id) return listOf(experiments);
  const experiment =
    experiments.find((one) => one.experiment_id === id) ??
    (await mlflow.get("experiments/get", {experiment_id: id}, context.signal)).experiment;
  return runs.element(experiment, experiments);
}

function listOf(experiments) {
  return [
    h("h1", null, "Experiments"),
    h("p", {class: "lead"}, `${number(experiments.length)} experiments, the last changed first.`),
    table(
      "Experiments",
      [
        {name: "Name", value: (one) => link(path("experiments", one.experiment_id), one.name)},
        {name: "Changed", value: (one) => time(one.last_update_time)},
        {name: "Made", value: (one) => time(one.creation_time)},
        {name: "Artifacts", class: "mono", value: (one) => one.artifact_location},
        {name: "Id", numeric: true, value: (one) => one.experiment_id},
      ],
      experiments,
    ),
  ];
}

const ATTRIBUTES = [
  {
    id: "attributes.run_name",
    name: "Run",
    width: 200,
    text: (run) => run.name,
    element(run, old) {
      const element = old ?? h("a", {tabindex: -1});
      element.href = runHref(run);
      element.textContent = run.name;
      return element;
    },
  },
  {
    id: "attributes.status",
    name: "Status",
    width: 96,
    text: (run) => run.status,
    element(run, old) {
      const status = run.status.toLowerCase();
      return old?.textContent === status ? old : tag(status);
    },
  },
  {
    id: "attributes.start_time",
    name: "Started",
    width: 104,
    text: (run) => ago(run.start),
    title: (run) => date(run.start),
  },
  {id: "duration", name: "Duration", width: 90, numeric: true, unsorted: true, text: (run) => duration(runTime(run))},
  {id: "attributes.user_id", name: "User", width: 110, text: (run) => run.user},
  {id: "attributes.run_id", name: "Run ID", width: 270, text: (run) => run.id},
];
const quoted = (kind, key) => kind + "." + (/^[A-Za-z_][\w.]*$/.test(key) ? key : "`" + key + "`");
const metricColumn = (key) => ({
  id: quoted("metrics", key),
  name: key,
  width: 112,
  numeric: true,
  text: (run) => (run.metrics.has(key) ? number(run.metrics.get(key)) : ""),
  title: (run) => String(run.metrics.get(key) ?? ""),
});
const paramColumn = (key) => ({
  id: quoted("params", key),
  name: key,
  width: 112,
  text: (run) => run.params.get(key) ?? "",
  title: (run) => run.params.get(key) ?? "",
});
const tagColumn = (key) => ({
  id: quoted("tags", key),
  name: key,
  width: 140,
  text: (run) => run.tags.get(key) ?? "",
  title: (run) => run.tags.get(key) ?? "",
});

class Runs {
  // Asks for the first runs, which element() waits for.
  constructor(id, query, context) {
    Object.assign(this, {id, context, rows: [], token: null, selected: new Map(), generation: 0});
    this.view = query.get("view") ?? "table";
    this.filter = query.get("filter") ?? "";
    this.stage = query.get("stage") ?? "ACTIVE_ONLY";
    const order = query.get("order") ?? "attributes.start_time DESC";
    this.sorted = {id: order.replace(/ (ASC|DESC)$/, ""), descending: order.endsWith(" DESC")};
    this.kept = "cairn.columns." + id;
    this.first = this.ask();
    this.first.catch(() => {}); // fetchPage() tells of it
  }

  async element(experiment, experiments) {
    if (this.view === "charts") this.plots = await import("./metric_plots.js");
    if (this.view === "parallel") this.axes = await import("./parallel.js");
    this.grid = new VirtualTable("Runs of " + experiment.name, {
      sort: (column) => this.sort(column),
      open: (run) => run && (location.hash = runHref(run)),
      select: (run) => this.select(run),
      isSelected: (run) => this.selected.has(run.id),
      more: () => this.load(),
    });
    this.count = h("span", {class: "faint", role: "status"});
    this.problem = h("p", {class: "wrong", role: "alert", hidden: true, id: "filter-problem"});
    this.input = h("input", {
      type: "search",
      value: this.filter,
      spellcheck: "false",
      autocomplete: "off",
      "aria-label": "Filter runs, in MLflow's search grammar",
      "aria-describedby": "filter-problem",
      placeholder: "metrics.accuracy > 0.9 and params.model = 'mlp'",
    });
    this.compare = h(
      "button",
      {
        type: "button",
        disabled: true,
        onclick: () => (location.hash = "#/compare?runs=" + [...this.selected.keys()].join(",")),
      },
      "Compare",
    );
    this.content = h("div");
    const bar = h(
      "form",
      {class: "bar-of-tools", role: "search", onsubmit: (event) => (event.preventDefault(), this.apply())},
      h("span", {class: "grow"}, this.input),
      h("button", {type: "submit"}, "Filter"),
      h("button", {type: "button", onclick: () => this.chooseColumns()}, "Columns"),
      this.compare,
      h(
        "select",
        {
          "aria-label": "Active or deleted runs",
          onchange: (event) => (
            (this.stage = event.target.value),
            this.context.setQuery({stage: this.stage}),
            this.apply()
          ),
        },
        [
          ["ACTIVE_ONLY", "Active"],
          ["DELETED_ONLY", "Deleted"],
          ["ALL", "All"],
        ].map(([value, name]) => h("option", {value, selected: value === this.stage}, name)),
      ),
      this.count,
    );
    this.input.addEventListener("search", () => this.input.value === "" && this.filter !== "" && this.apply());
    await this.apply(true);
    const here = path("experiments", this.id);
    const address = (view) => {
      const more = new URLSearchParams({
        ...(this.filter && {filter: this.filter}),
        ...(view !== "table" && {view}),
      }).toString();
      return here + (more ? "?" + more : "");
    };
    return [
      h("p", {class: "crumbs"}, link("#/experiments", "Experiments")),
      h(
        "div",
        {class: "bar-of-tools"},
        h("h1", null, experiment.name),
        experiments.length > 1 &&
          h(
            "select",
            {
              "aria-label": "Another experiment",
              onchange: (event) => (location.hash = path("experiments", event.target.value)),
            },
            experiments.map((one) =>
              h("option", {value: one.experiment_id, selected: one === experiment}, one.name),
            ),
          ),
      ),
      tabs(
        "Views of the runs",
        [
          {id: "table", name: "Table"},
          {id: "charts", name: "Charts"},
          {id: "parallel", name: "Parallel coordinates"},
        ],
        this.view,
        address,
      ),
      bar,
      this.problem,
      this.content,
    ];
  }

  // Reads the first page anew.
  async apply(first = false) {
    this.filter = this.input.value.trim();
    if (!first) this.context.setQuery({filter: this.filter});
    ++this.generation;
    this.rows = [];
    this.token = null;
    this.complete = false;
    this.loading = null;
    this.grid.toTop();
    await this.load();
    if (this.problem.hidden) this.draw();
  }

  // The next page. Pages are asked for one after the other.
  load() {
    if (this.complete) return null;
    this.loading ??= this.fetchPage(this.generation).finally(() => (this.loading = null));
    return this.loading;
  }

  ask() {
    return mlflow.post(
      "runs/search",
      {
        experiment_ids: [this.id],
        filter: this.filter,
        run_view_type: this.stage,
        max_results: PAGE,
        order_by: [this.sorted.id + (this.sorted.descending ? " DESC" : " ASC")],
        page_token: this.token ?? undefined,
      },
      this.context.signal,
    );
  }

  async fetchPage(generation) {
    try {
      const asked = this.first ?? this.ask();
      this.first = null;
      const page = await asked;
      if (generation !== this.generation) return;
      for (const raw of page.runs ?? []) this.rows.push(runOf(raw));
      this.token = page.next_page_token;
      this.complete = !this.token;
      this.say("");
    } catch (error) {
      if (error.name === "AbortError" || generation !== this.generation) return;
      this.complete = true;
      this.say(error.message);
    }
    this.grid.setRows(this.rows, this.complete);
    this.count.textContent = this.rows.length ? `${number(this.rows.length)}${this.complete ? "" : "+"} runs` : "";
  }

  say(problem) {
    this.problem.hidden = !problem;
    this.problem.textContent = problem;
    this.input.setAttribute("aria-invalid", Boolean(problem));
  }

  draw() {
    if (!this.rows.length) {
      replace(
        this.content,
        empty(
          this.filter
            ? "No run passes this filter."
            : [
                "No runs yet. ",
                h("code", null, `mlflow.set_tracking_uri("${location.origin}")`),
                " and a training script put some here.",
              ],
        ),
      );
      return;
    }
    const chosen = this.selected.size ? [...this.selected.values()] : this.rows;
    if (this.view === "charts")
      replace(this.content, this.plots.metricPlots(chosen.slice(0, this.selected.size ? undefined : 10), this.context.signal));
    else if (this.view === "parallel") replace(this.content, this.parallel());
    else {
      this.grid.setColumns(this.columns(), this.sorted);
      replace(this.content, this.grid.element);
    }
  }

  parallel() {
    const metrics = keysOf(this.rows, "metrics"),
      params = varyingParams(this.rows, 8);
    if (!metrics.length) return empty("Parallel coordinates end at a metric, and these runs have none.");
    const place = h("div"),
      state = {metric: metrics.find((key) => /acc|auc|f1|score/i.test(key)) ?? metrics[0]},
      kept = h("span", {class: "faint", role: "status"});
    const draw = () =>
      replace(
        place,
        this.axes.parallelCoordinates(
          this.rows,
          [
            ...params.map((key) => ({name: key, value: (run) => run.params.get(key)})),
            {name: state.metric, value: (run) => run.metrics.get(state.metric)},
          ],
          (runs) => {
            kept.textContent = `${runs.length} of ${this.rows.length} runs`;
            this.selected = new Map(runs.length === this.rows.length ? [] : runs.map((run) => [run.id, run]));
            this.showCompare();
          },
        ),
      );
    draw();
    return h(
      "div",
      null,
      h(
        "div",
        {class: "bar-of-tools"},
        h(
          "label",
          null,
          "By metric",
          h(
            "select",
            {onchange: (event) => ((state.metric = event.target.value), draw())},
            metrics.map((key) => h("option", {value: key, selected: key === state.metric}, key)),
          ),
        ),
        h("span", {class: "faint"}, "Drag along an axis to keep the runs that pass there."),
        kept,
      ),
      place,
    );
  }

  // -- columns ---------------------------------------------------------------------------------------------------------

  available() {
    return {
      Attributes: ATTRIBUTES.slice(1),
      Metrics: keysOf(this.rows, "metrics").map(metricColumn),
      Parameters: keysOf(this.rows, "params").map(paramColumn),
      Tags: keysOf(this.rows, "tags")
        .filter((key) => !key.startsWith("mlflow."))
        .map(tagColumn),
    };
  }

  columns() {
    const groups = this.available(),
      all = Object.values(groups).flat();
    let ids = null;
    try {
      ids = JSON.parse(localStorage.getItem(this.kept));
    } catch {
      ids = null;
    }
    if (!ids) {
      const varying = varyingParams(this.rows.slice(0, 500), 5).map((key) => paramColumn(key).id);
      ids = [
        ...ATTRIBUTES.slice(1, 4).map((one) => one.id),
        ...groups.Metrics.slice(0, 5).map((one) => one.id),
        ...varying,
      ];
    }
    return [ATTRIBUTES[0], ...all.filter((one) => ids.includes(one.id))];
  }

  chooseColumns() {
    const groups = this.available(),
      chosen = new Set(this.columns().map((one) => one.id));
    const dialog = h(
      "dialog",
      {"aria-labelledby": "columns-title"},
      h(
        "form",
        {method: "dialog"},
        h("h2", {id: "columns-title"}, "Columns"),
        h("input", {
          type: "search",
          "aria-label": "Find a column",
          placeholder: "Find a column",
          oninput: (event) => {
            for (const item of dialog.querySelectorAll(".choices li"))
              item.hidden = !item.textContent.toLowerCase().includes(event.target.value.toLowerCase());
          },
        }),
        Object.entries(groups)
          .filter(([, columns]) => columns.length)
          .map(([name, columns]) =>
            h(
              "fieldset",
              {class: "plain-set"},
              h("legend", null, name),
              h(
                "ul",
                {class: "choices"},
                columns.map((one) =>
                  h(
                    "li",
                    null,
                    h(
                      "label",
                      null,
                      h("input", {type: "checkbox", name: "column", value: one.id, checked: chosen.has(one.id)}),
                      one.name,
                    ),
                  ),
                ),
              ),
            ),
          ),
        h(
          "div",
          {class: "dialog-end"},
          h("button", {value: "default"}, "As at first"),
          h("button", {value: "cancel"}, "Cancel"),
          h("button", {value: "apply", class: "main"}, "Show these"),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "apply")
        localStorage.setItem(
          this.kept,
          JSON.stringify([...dialog.querySelectorAll("[name=column]:checked")].map((box) => box.value)),
        );
      if (dialog.returnValue === "default") localStorage.removeItem(this.kept);
      dialog.remove();
      this.draw();
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  // -- choosing --------------------------------------------------------------------------------------------------------

  sort(column) {
    this.sorted = {id: column.id, descending: this.sorted.id === column.id ? !this.sorted.descending : true};
    this.context.setQuery({order: this.sorted.id + (this.sorted.descending ? " DESC" : " ASC")});
    announce(`Sorted by ${column.name}, ${this.sorted.descending ? "descending" : "ascending"}`);
    this.apply();
  }

  select(run) {
    if (this.selected.has(run.id)) this.selected.delete(run.id);
    else if (this.selected.size < COMPARED_AT_MOST) this.selected.set(run.id, run);
    this.showCompare();
  }

  showCompare() {
    this.compare.disabled = this.selected.size < 2 || this.selected.size > COMPARED_AT_MOST;
    this.compare.textContent = this.selected.size ? `Compare ${this.selected.size}` : "Compare";
  }
}
