// #/database/plan: a statement's plan as a tree, with what is wrong at the node where it is wrong.
import {get, post} from "./api.js";
import {bar, copyable, duration, empty, figure, figures, h, link, number, replace} from "./dom.js";

const HEADLINES = {
  sequential_scan: "Sequential scan for few rows",
  function_on_column: "A function hides the column from its index",
  filter_after_index: "The index finds too much",
  heap_fetches: "Index-only scan that reads the table",
  lossy_bitmap: "Bitmap too large for work_mem",
  cte_materialized: "CTE worked out in full",
  sort_on_disk: "Sort on disk",
  hash_in_batches: "Hash table on disk",
  rows_on_disk: "Rows kept on disk",
  wrong_estimate: "Wrong estimate",
  nested_loop: "Nested loop that goes round too often",
  whole_table_join: "Whole table read for a small join",
  multiplied_rows: "Joins that multiply rows",
  subplan_per_row: "Subquery for each row",
  large_offset: "Large OFFSET",
  cold_cache: "Cold cache",
  jit: "JIT costs more than it gives",
  missing_workers: "Parallel workers missing",
  parallel_off: "Parallel query is off",
};

const findingPart = (finding, whole) =>
  h(
    "div",
    {class: "finding" + (whole ? " whole-plan" : ""), role: "note"},
    h(
      "h3",
      null,
      HEADLINES[finding.kind] ?? finding.kind.replaceAll("_", " "),
      finding.share_percent !== undefined &&
        h("span", {class: "faint"}, `  ${Math.round(finding.share_percent)} % of it`),
    ),
    h("p", null, finding.what),
    finding.why && h("p", {class: "faint"}, finding.why),
    finding.mend?.text && h("p", null, finding.mend.text),
    (finding.mend?.statements ?? []).map(copyable),
  );

const DETAILS = [
  ["Hash Cond", ""],
  ["Merge Cond", ""],
  ["Index Cond", "index: "],
  ["Recheck Cond", "recheck: "],
  ["Filter", "filter: "],
  ["Join Filter", "join filter: "],
  ["Sort Key", "by: "],
  ["Group Key", "group by: "],
];

function details(raw, analyzed) {
  const lines = DETAILS.filter(([key]) => raw[key]).map(([key, lead]) => lead + [raw[key]].flat().join(", "));
  if (raw["Rows Removed by Filter"])
    lines.push(number(raw["Rows Removed by Filter"] * (raw["Actual Loops"] ?? 1)) + " rows removed by the filter");
  if (raw["Sort Space Type"] === "Disk")
    lines.push(`${raw["Sort Method"]}, ${number(raw["Sort Space Used"])} kB on disk`);
  if (raw["Hash Batches"] > 1) lines.push(number(raw["Hash Batches"]) + " batches");
  const blocks = (raw["Shared Hit Blocks"] ?? 0) + (raw["Shared Read Blocks"] ?? 0);
  const reads = raw["Shared Read Blocks"] ?? 0;
  if (analyzed && blocks && (reads || !raw.Plans))
    lines.push(number(blocks) + " blocks" + (reads ? `, ${number(reads)} of them not in the cache` : ""));
  return lines;
}

function nodePart(raw, path, explained) {
  const node = explained.byPath.get(path) ?? {title: raw["Node Type"], share_percent: 0};
  const findings = explained.findings.filter((finding) => finding.path === path),
    share = node.share_percent ?? 0;
  const rows = explained.analyzed
    ? node.loops === 0
      ? "never run"
      : number(node.rows) + " rows"
    : number(node.rows_planned) + " rows";
  const estimate =
    explained.analyzed &&
    node.loops !== 0 &&
    node.rows_planned !== undefined &&
    Math.round(node.rows) !== Math.round(node.rows_planned)
      ? `estimated ${number(node.rows_planned)}`
      : "";
  const loops = node.loops > (node.processes || 1) ? `, × ${number(node.loops / (node.processes || 1))}` : "";
  return h(
    "li",
    null,
    h(
      "div",
      {class: "node"},
      h(
        "span",
        {class: "what"},
        raw["Subplan Name"] && raw["Subplan Name"] + ": ",
        node.title,
        h("span", {class: "faint plain"}, `  ${rows}${loops}`, estimate && `, ${estimate}`),
      ),
      h("span", {class: "share"}, bar(share / 100, share > 30 ? "warn" : "")),
      h("span", {class: "num"}, explained.analyzed ? duration(node.own_ms) : Math.round(share) + " %"),
      details(raw, explained.analyzed).map((line) => h("span", {class: "more"}, line)),
      findings.map((finding) => findingPart(finding)),
    ),
    raw.Plans?.length > 0 &&
      h(
        "ul",
        null,
        raw.Plans.map((child, index) => nodePart(child, path + "." + index, explained)),
      ),
  );
}

function explainedPart(explained) {
  explained.byPath = new Map(explained.nodes.map((node) => [node.path, node]));
  const root = explained.plan?.[0]?.Plan;
  const elsewhere = explained.findings.filter((finding) => !explained.byPath.has(finding.path));
  return [
    figures(
      explained.analyzed && figure("Time", duration(explained.execution_ms)),
      figure("Planning", duration(explained.planning_ms)),
      figure("Cost", number(explained.total_cost)),
      figure("Findings", number(explained.findings.length)),
    ),
    elsewhere.map((finding) => findingPart(finding, true)),
    root
      ? h("ul", {class: "plan", "aria-label": "Plan"}, nodePart(root, "0", explained))
      : h("pre", {class: "whole"}, explained.plan_text),
    explained.notes.map((note) =>
      h(
        "p",
        {class: "faint"},
        note
          .replaceAll("--parameters gives values", "with “Run it” and values it is told exactly")
          .replaceAll("--analyze runs it", "“Run it” runs it"),
      ),
    ),
  ];
}

export async function show(database, query, {signal, setQuery}) {
  const id = query.get("id");
  let text = query.get("statement") ?? "";
  if (id && !text) {
    const profile = await get("api/v1/database/statements", {database, top: 200}, signal);
    text = profile.statements.find((one) => one.id === id)?.text ?? "";
  }
  const statement = h("textarea", {
    "aria-label": "Statement",
    spellcheck: "false",
    placeholder: "SELECT …",
    value: text,
  });
  const parameters = h("input", {
    type: "text",
    "aria-label": "Values for $1, $2, … with commas between them",
    placeholder: "Values for $1, $2, …",
  });
  const result = h("div", {role: "region", "aria-label": "Plan", "aria-live": "polite"});

  async function run(analyze) {
    if (!statement.value.trim()) return;
    replace(result, h("p", {class: "faint"}, analyze ? "Running …" : "Planning …"));
    const values = parameters.value.trim() ? parameters.value.split(",").map((value) => value.trim()) : undefined;
    try {
      replace(
        result,
        explainedPart(
          await post(
            "api/v1/database/explain",
            {statement: statement.value, analyze, parameters: values, database},
            signal,
          ),
        ),
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      const message = error.message.replace(
        /: give --parameters; without --analyze it is planned but not run/,
        ": give them above, or let it only be planned",
      );
      replace(result, h("p", {class: "wrong", role: "alert"}, message));
    }
  }
  if (text) run(false);
  return [
    h(
      "form",
      {class: "form", onsubmit: (event) => (event.preventDefault(), run(false))},
      statement,
      h(
        "div",
        {class: "bar-of-tools"},
        h("span", {class: "grow"}, parameters),
        h("button", {type: "submit", class: "main"}, "Plan it"),
        h(
          "button",
          {type: "button", onclick: () => run(true), title: "Read-only, at most 10 s, rolled back"},
          "Run it and measure",
        ),
      ),
    ),
    text
      ? result
      : replace(
          result,
          empty(
            "Paste a statement, or choose one under ",
            link("#/database/load" + (database ? "?database=" + database : ""), "Load"),
            ". It is only planned; “Run it and measure” runs it in a read-only transaction of at most 10 s.",
          ),
        ),
  ];
}
