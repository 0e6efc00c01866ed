// #/database/relations: tables by size, with what is dead in them and how they are read; indexes by size, with their use.
import {get} from "./api.js";
import {ago, bar, bytes, empty, figure, figures, h, number, percent, replace, section, table, tag, time} from "./dom.js";

const AT_FIRST = 40,
  MUCH_DEAD = 0.2;
const full = (one) => (one.schema === "public" ? "" : one.schema + ".") + one.name;

function limited(rows, draw) {
  const place = h("div");
  const show = (most) =>
    replace(
      place,
      draw(rows.slice(0, most)),
      rows.length > most &&
        h(
          "p",
          null,
          h("button", {type: "button", onclick: () => show(rows.length)}, `Show all ${number(rows.length)}`),
        ),
    );
  show(AT_FIRST);
  return place;
}

export async function show(database, query, {signal}) {
  const {tables, indexes, stats_reset: since} = await get("api/v1/database/relations", {database}, signal);
  if (!tables.length) return empty("No tables in this database.");
  const sum = (list, field) => list.reduce((total, one) => total + (one[field] ?? 0), 0),
    most = Math.max(...tables.map((one) => one.bytes + one.index_bytes));
  const unused = indexes.filter((one) => !one.scans && !one.is_unique && !one.has_constraint),
    largest = indexes[0]?.bytes ?? 1;
  const state = (one) =>
    !one.is_valid
      ? tag("invalid")
      : one.is_primary
        ? tag("primary key")
        : one.has_constraint || one.is_unique
          ? tag("unique")
          : !one.scans
            ? tag("unused")
            : "";
  return [
    figures(
      figure("Tables", number(tables.length), bytes(sum(tables, "bytes"))),
      figure("Indexes", number(indexes.length), bytes(sum(indexes, "bytes"))),
      figure("Never used", number(unused.length), bytes(sum(unused, "bytes"))),
      figure("Counted since", since ? ago(since) : "the beginning"),
    ),
    section(
      "Tables",
      limited(tables, (rows) =>
        table(
          "Tables by size",
          [
            {
              name: "Table",
              class: "nowrap",
              value: (one) => [
                full(one),
                one.kind !== "r" && [" ", tag(one.kind === "m" ? "view" : "partitioned")],
                one.is_partition && [" ", tag("partition")],
              ],
            },
            {name: "Rows", numeric: true, value: (one) => number(Math.max(0, one.live_rows ?? one.rows))},
            {name: "Table", numeric: true, value: (one) => bytes(one.bytes)},
            {name: "Indexes", numeric: true, value: (one) => bytes(one.index_bytes)},
            {
              name: h("span", {class: "hidden"}, "Size, drawn"),
              class: "meter",
              value: (one) => bar((one.bytes + one.index_bytes) / most),
            },
            {
              name: "Dead",
              numeric: true,
              value: (one) => {
                const share = (one.dead_rows ?? 0) / Math.max(1, (one.dead_rows ?? 0) + (one.live_rows ?? 0));
                return h(
                  "span",
                  {class: share > MUCH_DEAD && one.dead_rows > 1000 ? "wrong" : undefined},
                  percent(share, 0),
                );
              },
            },
            {name: "Read whole", numeric: true, value: (one) => number(one.sequential_scans)},
            {name: "By index", numeric: true, value: (one) => number(one.index_scans ?? 0)},
            {name: "Writes", numeric: true, value: (one) => number(one.writes ?? 0)},
            {name: "Vacuum", class: "nowrap", value: (one) => time(one.last_vacuum)},
            {name: "Analyze", class: "nowrap", value: (one) => time(one.last_analyze)},
          ],
          rows,
        ),
      ),
    ),
    section(
      "Indexes",
      limited(indexes, (rows) =>
        table(
          "Indexes by size",
          [
            {name: "Index", value: (one) => h("span", {title: one.definition}, one.name)},
            {name: "Table", value: (one) => (one.schema === "public" ? "" : one.schema + ".") + one.table},
            {name: "Method", value: (one) => one.method},
            {name: "Size", numeric: true, value: (one) => bytes(one.bytes)},
            {
              name: h("span", {class: "hidden"}, "Size, drawn"),
              class: "meter",
              value: (one) => bar(one.bytes / largest),
            },
            {name: "Scans", numeric: true, value: (one) => number(one.scans ?? 0)},
            {name: "Rows read", numeric: true, value: (one) => number(one.rows_read ?? 0)},
            {name: "", value: state},
          ],
          rows,
        ),
      ),
    ),
  ];
}
