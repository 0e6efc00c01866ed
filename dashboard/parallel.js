// Parallel coordinates: a line a run through its values. A drag along an axis keeps the lines that pass there.
import {h, s, number} from "./dom.js";
import {ticks} from "./chart.js";

// A scale from a column's values to 0 (bottom) … 1 (top): numbers linear, or by powers of ten where they span hundreds; else by name.
function scaleOf(values) {
  const present = values.filter((value) => value !== undefined && value !== "");
  const numbers = present.map(Number);
  if (!present.length || numbers.some((value) => !Number.isFinite(value))) {
    const names = [...new Set(present)].sort();
    const place = (value) => (names.length < 2 ? 0.5 : names.indexOf(value) / (names.length - 1));
    return {place, marks: names.slice(0, 12).map((name) => [place(name), name])};
  }
  const low = Math.min(...numbers),
    high = Math.max(...numbers);
  if (low === high) return {place: () => 0.5, marks: [[0.5, number(low)]]};
  if (low > 0 && high / low >= 100) {
    const [a, b] = [Math.log10(low), Math.log10(high)],
      place = (value) => (Math.log10(value) - a) / (b - a);
    const powers = [];
    for (let power = Math.ceil(a); power <= b; ++power) powers.push(10 ** power);
    return {place: (value) => place(Number(value)), marks: powers.map((value) => [place(value), number(value)])};
  }
  const place = (value) => (Number(value) - low) / (high - low);
  return {place, marks: ticks(low, high, 5).map((value) => [place(value), number(value)])};
}

// axes: [{name, value(run)}]; the last one gives the colour. onKept(runs): which lines pass all brushes.
export function parallelCoordinates(runs, axes, onKept) {
  const width = Math.max(640, document.getElementById("main").clientWidth - 56),
    height = 400,
    top = 34,
    bottom = 22,
    side = 60;
  const size = height - top - bottom;
  const x = (index) => side + (axes.length < 2 ? 0 : (index / (axes.length - 1)) * (width - 2 * side));
  const scales = axes.map((axis) => scaleOf(runs.map(axis.value)));
  const y = (index, run) => {
    const value = axes[index].value(run);
    return value === undefined || value === "" ? null : top + size * (1 - scales[index].place(value));
  };
  const brushes = axes.map(() => null);
  const last = axes.length - 1;
  const lines = runs.map((run) => {
    const places = axes.map((axis, index) => y(index, run));
    const points = places
      .map((place, index) => (place === null ? null : x(index).toFixed(1) + " " + place.toFixed(1)))
      .filter(Boolean);
    const share = places[last] === null ? 0 : 1 - (places[last] - top) / size;
    const path = s(
      "path",
      {d: "M" + points.join("L")},
      s("title", null, run.name + ": " + axes.map((axis) => axis.name + " " + (axis.value(run) ?? "–")).join(", ")),
    );
    path.style.stroke = `color-mix(in oklab, var(--series-0) ${Math.round(100 * share)}%, var(--series-1))`;
    return {run, places, path};
  });
  const rects = axes.map((axis, index) => s("rect", {class: "brush", x: x(index) - 9, width: 18, y: 0, height: 0}));

  function apply() {
    const kept = [];
    for (const line of lines) {
      const passes = brushes.every(
        (brush, index) =>
          !brush || (line.places[index] !== null && line.places[index] >= brush[0] && line.places[index] <= brush[1]),
      );
      line.path.classList.toggle("out", !passes);
      if (passes) kept.push(line.run);
    }
    rects.forEach((rect, index) => {
      rect.setAttribute("y", brushes[index]?.[0] ?? 0);
      rect.setAttribute("height", brushes[index] ? brushes[index][1] - brushes[index][0] : 0);
    });
    onKept?.(kept);
  }

  const svg = s("svg", {
    class: "parallel",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `Parallel coordinates of ${runs.length} runs over ${axes.map((axis) => axis.name).join(", ")}. The table of the runs says the same.`,
  });
  const columns = axes.map((axis, index) => {
    let from = null;
    const placeOf = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.max(top, Math.min(height - bottom, ((event.clientY - box.top) / box.height) * height));
    };
    const area = s("rect", {
      class: "catch",
      x: x(index) - 14,
      width: 28,
      y: top,
      height: size,
      onpointerdown: (event) => ((from = placeOf(event)), area.setPointerCapture(event.pointerId)),
      onpointermove: (event) => {
        if (from === null) return;
        const to = placeOf(event);
        brushes[index] = [Math.min(from, to), Math.max(from, to)];
        apply();
      },
      onpointerup: () => {
        if (brushes[index] && brushes[index][1] - brushes[index][0] < 4) ((brushes[index] = null), apply());
        from = null;
      },
    });
    return s(
      "g",
      {class: "axis"},
      s("line", {x1: x(index), x2: x(index), y1: top, y2: height - bottom}),
      s(
        "text",
        {
          class: "name",
          x: x(index),
          y: 16,
          "text-anchor": index === 0 ? "start" : index === last ? "end" : "middle",
          dx: index === 0 ? -20 : index === last ? 20 : 0,
        },
        axis.name,
      ),
      scales[index].marks.map(([place, name]) =>
        s("text", {x: x(index) - 6, y: top + size * (1 - place) + 4, "text-anchor": "end"}, name),
      ),
      rects[index],
      area,
    );
  });
  svg.append(
    s(
      "g",
      null,
      lines.map((line) => line.path),
    ),
    ...columns,
  );
  return h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Parallel coordinates"}, svg);
}
