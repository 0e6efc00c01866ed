// #/database/advice: what `cairn tune` proposes, what a copy has shown of it, what was made, and how to take it back.
import {get, keepLooking} from "./api.js";
import {
  bytes,
  copyable,
  date,
  duration,
  empty,
  figure,
  figures,
  h,
  number,
  percent,
  replace,
  section,
  table,
  tag,
  time,
} from "./dom.js";

const EVERY_S = 20;
const KINDS = {
  index: "index",
  drop_index: "drop an index",
  statistics: "statistics",
  setting: "setting",
  materialized_view: "materialized view",
};

function queue({advice, proof}, journal, options) {
  const verdicts = new Map((proof?.changes ?? []).map((verdict) => [verdict.number, verdict]));
  const made = new Map(journal.filter((entry) => entry.advice === advice.id).map((entry) => [entry.number, entry]));
  const kept = [...verdicts.values()].filter((verdict) => verdict.verdict === "kept");
  const next = !proof
    ? ["Prove it on a copy", `cairn tune prove ${advice.id} ${options}`]
    : !made.size && kept.length
      ? ["Make what was kept", `cairn tune apply ${advice.id} ${options}`]
      : null;
  return section(
    `Advice of ${date(advice.made_at)}`,
    figures(
      figure("Changes", number(advice.changes.length), `${number(advice.rejected.length)} weighed and left`),
      figure("Statements", duration(advice.ms_before), `→ ${duration(advice.ms_after)} by the planner`),
      proof && figure("On a copy", duration(proof.before_ms), `→ ${duration(proof.after_ms)} measured`),
      proof && figure("Kept", `${kept.length} of ${proof.changes.length}`),
    ),
    next && h("p", {class: "next"}, next[0] + ":", copyable(next[1])),
    table(
      "Changes",
      [
        {name: "#", numeric: true, value: (change) => number(change.number)},
        {
          name: "State",
          value: (change) => tag(made.get(change.number)?.state ?? verdicts.get(change.number)?.verdict ?? "proposed"),
        },
        {
          name: "Change",
          class: "text",
          value: (change) => [
            h("b", null, KINDS[change.kind] ?? change.kind),
            " ",
            change.name,
            h(
              "details",
              null,
              h("summary", null, "statement"),
              change.statements.map((sql) => h("pre", {class: "whole", tabindex: 0}, sql)),
            ),
          ],
        },
        {name: "On", value: (change) => change.table || "the database"},
        {
          name: "Why",
          class: "long text",
          value: (change) => [
            change.reason,
            verdicts.get(change.number)?.reason &&
              h("div", {class: "faint"}, "Shown: " + verdicts.get(change.number).reason),
          ],
        },
        {
          name: "Saves",
          numeric: true,
          value: (change) => {
            const verdict = verdicts.get(change.number);
            if (!verdict) return "≈ " + duration(change.gain_ms);
            return verdict.verdict === "kept" && verdict.saved_ms ? duration(verdict.saved_ms) : "–";
          },
        },
        {name: "Size", numeric: true, value: (change) => bytes(verdicts.get(change.number)?.bytes ?? change.bytes)},
      ],
      advice.changes,
    ),
    proof &&
      h(
        "details",
        {open: true},
        h("summary", null, "Before and after, statement by statement"),
        table(
          "Statements before and after",
          [
            {
              name: "Statement",
              class: "text",
              value: (one) => h("span", {class: "statement", title: one.text}, one.text),
            },
            {name: "Calls", numeric: true, value: (one) => number(one.calls)},
            {name: "Before", numeric: true, value: (one) => (one.not_run ? "–" : duration(one.before_ms))},
            {name: "After", numeric: true, value: (one) => (one.not_run ? "–" : duration(one.after_ms))},
            {
              name: "Of the time",
              numeric: true,
              value: (one) =>
                one.not_run
                  ? "–"
                  : h("span", {title: `${percent(one.ratio_low)} to ${percent(one.ratio_high)}`}, percent(one.ratio)),
            },
            {
              name: "Rows",
              value: (one) =>
                one.same_rows === true
                  ? "the same"
                  : one.same_rows === false
                    ? tag("failed", "differ")
                    : one.rows_note || "not compared",
            },
            {
              name: "Verdict",
              value: (one) =>
                one.not_run
                  ? h("span", {class: "faint"}, one.not_run)
                  : tag(one.outcome === "faster" ? "ok" : one.outcome === "slower" ? "failed" : "same", one.outcome),
            },
          ],
          proof.statements,
        ),
      ),
    advice.rewrites.length > 0 &&
      h(
        "details",
        null,
        h("summary", null, `${number(advice.rewrites.length)} statements could be written otherwise`),
        advice.rewrites.map((rewrite, index) => {
          const tried = proof?.rewrites?.find((one) => one.number === index + 1);
          return h(
            "div",
            {class: "card"},
            h(
              "h3",
              null,
              rewrite.rule.replaceAll("-", " "),
              " ",
              tried && tag(tried.confirmed ? "ok" : "rejected", tried.confirmed ? "confirmed" : "not confirmed"),
            ),
            h("p", null, rewrite.reason),
            tried && h("p", {class: "faint"}, tried.reason),
            h("pre", {class: "whole", tabindex: 0}, rewrite.text),
            rewrite.caveat && h("p", {class: "faint"}, "But: " + rewrite.caveat),
          );
        }),
      ),
    advice.rejected.length > 0 &&
      h(
        "details",
        null,
        h("summary", null, `${number(advice.rejected.length)} weighed and left`),
        table(
          "Weighed and left",
          [
            {name: "Statement", class: "text", value: (one) => h("span", {class: "statement"}, one.statement)},
            {name: "Why not", class: "long", value: (one) => one.reason},
          ],
          advice.rejected,
        ),
      ),
  );
}

const journalPart = (journal, options) =>
  section(
    "Made in this database",
    h("p", {class: "faint"}, "Taken back, without blocking who writes, by:"),
    copyable(
      `cairn tune undo ${journal.find((entry) => entry.state === "applied" || entry.state === "verified")?.id ?? "ID"} ${options.replace(/ --state-dir.*/, "")}`,
    ),
    table(
      "Journal",
      [
        {name: "Id", numeric: true, value: (entry) => entry.id},
        {name: "State", value: (entry) => tag(entry.state)},
        {
          name: "Change",
          class: "text",
          value: (entry) => [h("b", null, KINDS[entry.kind] ?? entry.kind), " ", entry.name],
        },
        {name: "On", value: (entry) => entry.table || "the database"},
        {name: "Saves", numeric: true, value: (entry) => duration(entry.gain_ms)},
        {name: "Size", numeric: true, value: (entry) => bytes(entry.bytes)},
        {
          name: "When",
          class: "nowrap",
          value: (entry) => time(entry.undone_at ?? entry.finished_at ?? entry.started_at),
        },
        {name: "By", value: (entry) => entry.role},
        {name: "Undone by", class: "text", value: (entry) => h("span", {class: "statement"}, entry.inverse.join("; "))},
        {name: "", value: (entry) => entry.error && h("span", {class: "wrong"}, entry.error)},
      ],
      journal,
    ),
  );

export async function show(database, query, {signal}) {
  const place = h("div");
  let last = "";
  await keepLooking(EVERY_S, signal, async () => {
    const answer = await get("api/v1/database/advice", {database}, signal),
      text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    replace(
      place,
      !answer.advice.length &&
        empty(
          "No advice was asked for yet. It names indexes, settings, statistics, views and other texts of statements, each with what it gains and costs:",
        ),
      !answer.advice.length && copyable(`cairn tune advise ${answer.options}`),
      answer.advice.slice(0, 1).map((one) => queue(one, answer.journal, answer.options)),
      answer.journal.length > 0 && journalPart(answer.journal, answer.options),
      answer.advice.length > 1 &&
        h(
          "details",
          null,
          h("summary", null, "Earlier advice"),
          answer.advice.slice(1).map((one) => queue(one, answer.journal, answer.options)),
        ),
    );
  });
  if (!place.firstChild) throw new Error("The advice cannot be read at the moment.");
  return place;
}
