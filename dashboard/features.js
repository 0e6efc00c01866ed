// #/features: feature views with their health: how fresh, how often missing, how they are distributed, how far from the baseline.
import {get, keepLooking, optional, post} from "./api.js";
import {announce, bar, duration, empty, figure, figures, h, number, percent, replace, section, table, tag, time} from "./dom.js";
import {histogram} from "./chart.js";

const DRIFTED = 0.25,
  DRIFTS = 0.1,
  EVERY_S = 30;

// Twenty parts with as many values each: the narrower, the higher. Equal borders belong to one value.
function bins(quantiles) {
  const out = [],
    parts = quantiles.length - 1,
    range = quantiles.at(-1) - quantiles[0] || 1;
  for (let i = 0; i < parts; ++i) {
    const from = quantiles[i];
    let to = quantiles[i + 1],
      share = 1 / parts;
    while (to === from && i + 1 < parts) (++i, (share += 1 / parts), (to = quantiles[i + 1]));
    if (to === from) to = from + range / 60;
    out.push({from, to, share, height: share / Math.max(to - from, range / 60)});
  }
  return out;
}

const distribution = (feature) => {
  const quantiles = (feature.quantiles ?? []).map(Number).filter(Number.isFinite);
  if (quantiles.length < 3) return "";
  return histogram(bins(quantiles), {
    height: 34,
    width: 200,
    label: `Distribution of ${feature.name}: from ${number(quantiles[0])} to ${number(quantiles.at(-1))}, half below ${number(quantiles[quantiles.length >> 1])}`,
  });
};

const drift = (feature) =>
  feature.psi === undefined
    ? h("span", {class: "faint"}, "no baseline")
    : h(
        "span",
        null,
        number(feature.psi),
        " ",
        tag(
          feature.psi > DRIFTED ? "drifted" : feature.psi > DRIFTS ? "warning" : "ok",
          feature.psi > DRIFTED ? "drifted" : feature.psi > DRIFTS ? "some drift" : "steady",
        ),
      );

function viewPart(view, health) {
  const of = new Map((health?.features ?? []).map((feature) => [feature.name, feature]));
  const stale = health?.stale_rate > 0;
  return section(
    view.name,
    h(
      "p",
      {class: "faint"},
      "By ",
      view.entities.join(", "),
      view.ttl_s ? `, valid for ${duration(view.ttl_s * 1000)}` : ", always valid",
      view.push_source && `, pushed as ${view.push_source}`,
      view.description && ". " + view.description,
    ),
    figures(
      figure("Entities", number(health?.entities ?? 0)),
      figure("Newest event", health?.freshness_s === undefined ? "–" : duration(health.freshness_s * 1000), "ago"),
      figure("Too old", percent(health?.stale_rate ?? 0), stale ? tag("stale") : tag("fresh")),
    ),
    table(
      "Features of " + view.name,
      [
        {name: "Feature", value: (feature) => feature.name},
        {name: "Type", value: (feature) => h("code", null, feature.value_type)},
        {name: "Missing", numeric: true, value: (feature) => percent(of.get(feature.name)?.null_rate)},
        {
          name: h("span", {class: "hidden"}, "Missing, drawn"),
          class: "meter",
          value: (feature) => bar(of.get(feature.name)?.null_rate, "warn"),
        },
        {name: "Least", numeric: true, value: (feature) => number(of.get(feature.name)?.min)},
        {name: "Mean", numeric: true, value: (feature) => number(of.get(feature.name)?.mean)},
        {name: "Greatest", numeric: true, value: (feature) => number(of.get(feature.name)?.max)},
        {name: "Distribution", class: "meter", value: (feature) => distribution(of.get(feature.name) ?? {})},
        {
          name: "Drift (PSI)",
          class: "nowrap",
          value: (feature) => (of.has(feature.name) ? drift(of.get(feature.name)) : "–"),
        },
      ],
      view.features,
    ),
  );
}

export async function show(parts, query, {signal}) {
  const definitions = await get("api/v1/features", {}, signal),
    views = definitions.feature_views ?? [];
  if (!views.length)
    return [
      h("h1", null, "Features"),
      empty(
        "No feature view is declared yet. ",
        h("code", null, "cairn features apply features.toml"),
        " declares some; docs/reference/features.md shows how.",
      ),
    ];
  const place = h("div"),
    baseline = h(
      "button",
      {
        type: "button",
        onclick: async () => {
          await post("api/v1/features/health/baseline");
          announce("Drift is measured from now on.");
          look();
        },
      },
      "Measure drift from now",
    );
  const look = async () => {
    const health = await get("api/v1/features/health", {}, signal),
      of = new Map(health.feature_views.map((view) => [view.name, view]));
    replace(
      place,
      views.map((view) => viewPart(view, of.get(view.name))),
    );
  };
  await keepLooking(EVERY_S, signal, look);
  const sets = (await optional(get("api/v1/features/training-sets", {}, signal)))?.training_sets ?? [];
  return [
    h("p", {class: "bar-of-tools"}, h("span", {class: "grow"}, h("h1", null, "Features")), baseline),
    h(
      "p",
      {class: "lead"},
      `${number(views.length)} feature ${views.length === 1 ? "view" : "views"} over ${number(definitions.entities.length)} ${definitions.entities.length === 1 ? "entity" : "entities"}. Figures are of the latest values, of at most 20,000 entities a view.`,
    ),
    place,
    definitions.feature_services.length > 0 &&
      section(
        "Services",
        table(
          "Feature services",
          [
            {name: "Service", value: (service) => service.name},
            {name: "Features", class: "long", value: (service) => service.features.join(", ")},
          ],
          definitions.feature_services,
        ),
      ),
    sets.length > 0 &&
      section(
        "Training sets",
        table(
          "Training sets",
          [
            {name: "Set", value: (set) => set.name},
            {name: "Rows", numeric: true, value: (set) => number(set.rows)},
            {name: "Features", class: "long", value: (set) => (set.features ?? []).join(", ")},
            {name: "Made", class: "nowrap", value: (set) => time(set.created_at)},
          ],
          sets,
        ),
      ),
  ];
}
