// Runs and experiments as MLflow's API gives them.
import {mlflow} from "./api.js";
import {path} from "./dom.js";

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
    const page = await mlflow.get(
      "experiments/search",
      {max_results: 1000, page_token: token, order_by: "last_update_time DESC"},
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
