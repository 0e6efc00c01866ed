// Line charts, sparklines and histograms as SVG. A chart says in words what it shows, for who does not see it.
import {h, s, number} from "./dom.js";

// Okabe and Ito's colours, which differ for every kind of sight, darkened or lightened to be seen on both grounds (style.css).
export const COLOURS = 8;
export const colour = (index) => `var(--series-${index % COLOURS})`;

// "Nice" steps: 1, 2 or 5 times a power of ten.
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough);
  const out = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; ++i) out.push(i * step);
  return out;
}

// Whole seconds, minutes and hours.
export function timeTicks(low, high, count) {
  const sizes = [1, 5, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 21600, 86400].map((seconds) => seconds * 1000);
  const step = sizes.find((size) => (high - low) / size <= count) ?? sizes.at(-1);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) out.push(at);
  return out;
}

// Exponential moving average, corrected for its beginning, so that the first points are not drawn to zero.
export function smoothed(points, weight) {
  if (weight <= 0) return points;
  let last = 0,
    scale = 1;
  return points.map(([x, y]) => {
    if (!Number.isFinite(y)) return [x, y];
    last = last * weight + (1 - weight) * y;
    scale *= weight;
    return [x, last / (1 - scale)];
  });
}

const finite = (points) => points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));

function extent(series, axis, bounds) {
  let low = Infinity,
    high = -Infinity;
  for (const one of series)
    for (const point of one.points) {
      if (bounds && (point[0] < bounds[0] || point[0] > bounds[1])) continue;
      ((low = Math.min(low, point[axis])), (high = Math.max(high, point[axis])));
    }
  if (low > high) return [0, 1];
  if (low === high) return [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  return [low, high];
}

function inWords(title, series) {
  const said = series.slice(0, 8).map((one) => {
    const values = one.points.map((point) => point[1]);
    return values.length
      ? `${one.name}: last ${number(values.at(-1))}, lowest ${number(Math.min(...values))}, highest ${number(Math.max(...values))}`
      : `${one.name}: no values`;
  });
  return `${title}. ${said.join("; ")}${series.length > 8 ? `; and ${series.length - 8} more` : ""}.`;
}

// series: [{name, points: [[x, y]…], colour?}]. Options: title, xName, formatX, formatY, smoothing (0 to 1), height, area, zero.
// Drag to zoom, double-click or Escape to see all again; arrow keys move the reading line.
export function lineChart(series, options = {}) {
  const format = {x: options.formatX ?? number, y: options.formatY ?? number};
  const raw = series.map((one, index) => ({...one, points: finite(one.points), colour: one.colour ?? colour(index)}));
  const lines = raw.map((one) => ({...one, points: smoothed(one.points, options.smoothing ?? 0)}));
  const width = options.width ?? 480,
    height = options.height ?? 220,
    margin = {left: 52, right: 10, top: 8, bottom: 24};
  const plot = {width: width - margin.left - margin.right, height: height - margin.top - margin.bottom};
  let bounds = null;

  const svg = s("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: "chart",
    role: "img",
    tabindex: 0,
    "aria-label": inWords(options.title ?? "Chart", raw),
  });
  const reading = h("p", {class: series.length > 1 ? "reading many" : "reading", "aria-live": "polite"}, "\u00a0");
  let scale;

  function draw() {
    const x = bounds ?? extent(raw, 0),
      y = extent(options.smoothing ? lines : raw, 1, bounds ?? undefined);
    if (options.zero && y[0] > 0) y[0] = 0;
    const pad = (y[1] - y[0]) * 0.04;
    scale = {
      x: (value) => margin.left + ((value - x[0]) / (x[1] - x[0] || 1)) * plot.width,
      y: (value) =>
        margin.top +
        plot.height -
        ((value - y[0] + (options.zero ? 0 : pad)) / (y[1] - y[0] + 2 * pad || 1)) * plot.height,
      back: (place) => x[0] + ((place - margin.left) / plot.width) * (x[1] - x[0]),
    };
    const grid = s(
      "g",
      {class: "grid"},
      ticks(y[0], y[1], 4).map((value) => [
        s("line", {x1: margin.left, x2: width - margin.right, y1: scale.y(value), y2: scale.y(value)}),
        s("text", {x: margin.left - 6, y: scale.y(value) + 3.5, "text-anchor": "end"}, format.y(value)),
      ]),
      (options.ticksX ?? ticks)(x[0], x[1], Math.round(width / 90)).map((value) =>
        s(
          "text",
          {x: scale.x(value), y: height - 7, "text-anchor": scale.x(value) > width - 30 ? "end" : "middle"},
          format.x(value),
        ),
      ),
    );
    const inside = s("g", {"clip-path": "inset(0)"});
    const path = (points) =>
      "M" + points.map(([a, b]) => scale.x(a).toFixed(1) + " " + scale.y(b).toFixed(1)).join("L");
    const within = (points) => {
      if (!bounds) return points;
      const first = points.findIndex((point) => point[0] >= bounds[0]),
        last = points.findLastIndex((point) => point[0] <= bounds[1]);
      return first < 0 || last < 0 ? [] : points.slice(Math.max(0, first - 1), last + 2);
    };
    raw.forEach((one, index) => {
      const points = within(lines[index].points);
      if (!points.length) return;
      if (options.area)
        inside.append(
          s("path", {
            d: `${path(points)}L${scale.x(points.at(-1)[0])} ${scale.y(y[0])}L${scale.x(points[0][0])} ${scale.y(y[0])}Z`,
            class: "area",
            fill: one.colour,
          }),
        );
      if (options.smoothing)
        inside.append(s("path", {d: path(within(one.points)), class: "line raw", stroke: one.colour}));
      inside.append(
        points.length === 1
          ? s("circle", {cx: scale.x(points[0][0]), cy: scale.y(points[0][1]), r: 3, fill: one.colour})
          : s("path", {d: path(points), class: index < COLOURS ? "line" : "line again", stroke: one.colour}),
      );
    });
    svg.replaceChildren(
      s("title", null, options.title ?? ""),
      grid,
      s(
        "svg",
        {
          x: margin.left,
          y: 0,
          width: plot.width,
          height: height - margin.bottom + 1,
          viewBox: `${margin.left} 0 ${plot.width} ${height - margin.bottom + 1}`,
        },
        inside,
      ),
      cursor,
      band,
    );
  }

  const cursor = s("g", {class: "cursor"}),
    band = s("rect", {class: "band", y: margin.top, height: plot.height, width: 0});
  let from = null,
    at = null;

  function read(value) {
    at = value;
    const rows = raw
      .map((one) => {
        let best = null;
        for (const point of one.points)
          if (best === null || Math.abs(point[0] - value) < Math.abs(best[0] - value)) best = point;
        return {one, best};
      })
      .filter((row) => row.best);
    if (!rows.length) return;
    const place = scale.x(rows[0].best[0]);
    cursor.replaceChildren(
      s("line", {x1: place, x2: place, y1: margin.top, y2: margin.top + plot.height}),
      ...rows.map((row) =>
        s("circle", {cx: scale.x(row.best[0]), cy: scale.y(row.best[1]), r: 2.5, fill: row.one.colour}),
      ),
    );
    reading.replaceChildren(
      h("b", null, (options.xName ? options.xName + " " : "") + format.x(rows[0].best[0])),
      " ",
      ...rows
        .slice(0, 6)
        .flatMap((row) => [
          h("i", {class: "dot " + swatch(row.one)}),
          (raw.length > 1 ? row.one.name + " " : "") + format.y(row.best[1]) + "  ",
        ]),
      rows.length > 6 ? `and ${rows.length - 6} more` : "",
    );
  }
  const swatch = (one) => "c" + (raw.indexOf(one) % COLOURS);
  const placeOf = (event) => {
    const box = svg.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * width;
  };
  const quiet = () => (cursor.replaceChildren(), (reading.textContent = "\u00a0"), (at = null));
  const zoomOut = () => ((bounds = null), quiet(), draw());

  svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return;
    from = placeOf(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    read(scale.back(place));
    if (from === null) return;
    band.setAttribute("x", Math.min(from, place));
    band.setAttribute("width", Math.abs(place - from));
  });
  svg.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const place = placeOf(event),
      begin = from;
    from = null;
    band.setAttribute("width", 0);
    if (Math.abs(place - begin) < 6) return;
    bounds = [scale.back(Math.min(begin, place)), scale.back(Math.max(begin, place))];
    quiet();
    draw();
  });
  svg.addEventListener("pointerleave", () => from === null && quiet());
  svg.addEventListener("dblclick", zoomOut);
  svg.addEventListener("keydown", (event) => {
    const all = raw.find((one) => one.points.length)?.points ?? [];
    if (event.key === "Escape") return zoomOut();
    if (event.key === "+" || event.key === "-") {
      const [low, high] = bounds ?? extent(raw, 0),
        middle = at ?? (low + high) / 2,
        size = (high - low) * (event.key === "+" ? 0.25 : 1);
      const whole = extent(raw, 0);
      bounds =
        size * 2 >= whole[1] - whole[0] ? null : [Math.max(whole[0], middle - size), Math.min(whole[1], middle + size)];
      return draw();
    }
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const index = at === null ? -1 : all.findIndex((point) => point[0] >= at);
    const next = all[Math.min(all.length - 1, Math.max(0, index + (event.key === "ArrowRight" ? 1 : -1)))];
    if (next) read(next[0]);
  });
  draw();
  return h("figure", {class: "plot"}, options.title && h("figcaption", null, options.title), svg, reading);
}

export const legend = (series) =>
  h(
    "ul",
    {class: "legend"},
    series.map((one, index) =>
      h(
        "li",
        null,
        h("i", {class: "dot c" + (index % COLOURS)}),
        one.href ? h("a", {href: one.href}, one.name) : one.name,
      ),
    ),
  );

export function sparkline(values, options = {}) {
  const points = values.filter(Number.isFinite);
  if (points.length < 2) return "";
  const low = Math.min(...points),
    high = Math.max(...points),
    width = options.width ?? 90,
    height = options.height ?? 20;
  const d = points.map(
    (value, index) =>
      `${((index / (points.length - 1)) * (width - 2) + 1).toFixed(1)} ${(height - 2 - ((value - low) / (high - low || 1)) * (height - 4)).toFixed(1)}`,
  );
  return s(
    "svg",
    {viewBox: `0 0 ${width} ${height}`, width, height, class: "spark", "aria-hidden": "true"},
    s("path", {d: "M" + d.join("L"), class: "line", stroke: colour(0)}),
  );
}

// counts: [{from, to, count}], or ten deciles' borders.
export function histogram(bins, options = {}) {
  const width = options.width ?? 220,
    height = options.height ?? 64,
    most = Math.max(1, ...bins.map((bin) => bin.height));
  const low = bins[0]?.from ?? 0,
    high = bins.at(-1)?.to ?? 1,
    x = (value) => ((value - low) / (high - low || 1)) * width;
  return s(
    "svg",
    {viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img", "aria-label": options.label ?? "Distribution"},
    bins.map((bin) => {
      const size = (bin.height / most) * (height - 2);
      return s(
        "rect",
        {
          x: x(bin.from).toFixed(1),
          y: (height - size).toFixed(1),
          width: Math.max(0.8, x(bin.to) - x(bin.from) - 1).toFixed(1),
          height: size.toFixed(1),
        },
        s("title", null, `${number(bin.from)} to ${number(bin.to)}: ${percent(bin)}`),
      );
    }),
  );
}
const percent = (bin) => (100 * (bin.share ?? 0)).toFixed(1) + " %";
