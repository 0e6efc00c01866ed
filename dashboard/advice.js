// #/database/advice: what `cairn tune` proposes, what a copy has shown of it, what was made, and how to take it back; each step by a button
// or by its command.
import {follow, get, keepLooking} from "./api.js";
import {
  announce,
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
import {actionButton, actionPart} from "./tune_action.js";

const EVERY_S = 20,
  ACTION_EVERY_S = 2;
const KINDS = {
  index: "index",
  drop_index: "drop an index",
  statistics: "statistics",
  setting: "setting",
  materialized_view: "materialized view",
};

const inForce = (entry) => entry.state === "applied" || entry.state === "verified";

function queue({advice, proof}, journal, options, context) {
  const verdicts = new Map((proof?.changes ?? []).map((verdict) => [verdict.number, verdict]));
  const made = new Map(journal.filter((entry) => entry.advice === advice.id).map((entry) => [entry.number, entry]));
  const kept = [...verdicts.values()].filter((verdict) => verdict.verdict === "kept");
  const made_now = journal.filter((entry) => entry.advice === advice.id && inForce(entry)),
    last = journal[0]?.advice === advice.id,
    about = {...context, advice: advice.id},
    next = !proof ? "prove" : !made.size && kept.length ? "apply" : last && made_now.length ? "verify" : null;
  const command = {prove: `prove ${advice.id} ${options}`, apply: `apply ${advice.id} ${options}`}[next];
  return section(
    `Advice of ${date(advice.made_at)}`,
    figures(
      figure("Changes", number(advice.changes.length), `${number(advice.rejected.length)} weighed and left`),
      figure("Statements", duration(advice.ms_before), `→ ${duration(advice.ms_after)} by the planner`),
      proof && figure("On a copy", duration(proof.before_ms), `→ ${duration(proof.after_ms)} measured`),
      proof && figure("Kept", `${kept.length} of ${proof.changes.length}`),
    ),
    h(
      "div",
      {class: "bar-of-tools"},
      actionButton({...about, kind: "prove", main: next === "prove", text: proof ? "Prove again" : undefined}),
      actionButton({
        ...about,
        kind: "apply",
        main: next === "apply",
        list: advice.changes
          .filter((change) => !proof || verdicts.get(change.number)?.verdict === "kept")
          .flatMap((change) => change.statements),
      }),
      last && made_now.length > 0 && actionButton({...about, kind: "verify", main: next === "verify"}),
      made_now.length > 0 &&
        actionButton({...about, kind: "undo", text: "Undo all of it", list: made_now.flatMap((entry) => entry.inverse)}),
    ),
    command &&
      h("details", null, h("summary", null, "By a command"), copyable("cairn tune " + command)),
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

const journalPart = (journal, options, context) =>
  section(
    "Made in this database",
    h(
      "details",
      null,
      h("summary", null, "By a command"),
      copyable(`cairn tune undo ${journal.find(inForce)?.id ?? "ID"} ${options.replace(/ --state-dir.*/, "")}`),
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
        {
          name: "",
          class: "nowrap",
          value: (entry) =>
            inForce(entry)
              ? actionButton({
                  ...context,
                  kind: "undo",
                  advice: entry.advice,
                  changes: [entry.id],
                  list: entry.inverse,
                  text: `Undo ${entry.id}`,
                })
              : entry.error && h("span", {class: "wrong"}, entry.error),
        },
      ],
      journal,
    ),
  );

export async function show(database, query, {signal}) {
  const place = h("div", {tabindex: -1}),
    under = h("div", {tabindex: -1}),
    log = h("pre", {class: "whole", role: "log", "aria-label": "What it says", tabindex: 0});
  let last = "",
    answer = null,
    action = null,
    wanted = false; // the advice is to be read again

  function draw() {
    const context = {database, running: action?.state === "running", began},
      [newest, ...earlier] = answer.advice;
    replace(
      place,
      !newest &&
        empty(
          "No advice was asked for yet. It names indexes, settings, statistics, views and other texts of statements, each with what it gains and costs:",
        ),
      !newest && copyable(`cairn tune advise ${answer.options}`),
      newest && queue(newest, answer.journal, answer.options, context),
      answer.journal.length > 0 && journalPart(answer.journal, answer.options, context),
      earlier.length > 0 &&
        h(
          "details",
          null,
          h("summary", null, "Earlier advice"),
          earlier.map((one) => queue(one, answer.journal, answer.options, context)),
        ),
    );
  }
  const busy = () => document.querySelector("dialog[open]") || place.contains(document.activeElement);

  async function look() {
    const found = await get("api/v1/database/advice", {database}, signal),
      text = JSON.stringify(found);
    if (text === last || (busy() && last)) return;
    last = text;
    answer = found;
    draw();
  }

  // What runs is drawn as it goes on; the advice when it begins and when it has ended.
  async function took(value) {
    const before = action;
    // What has ended is not begun again by an answer that comes late.
    if (before && before.id === value.action?.id && before.state !== "running") value = {action: before};
    action = value.action;
    const changed = before?.id !== action?.id || before?.state !== action?.state;
    if (changed || before?.progress !== action?.progress) replace(under, actionPart(action, log));
    if (changed && before) announce(action.state === "running" ? "It has begun." : `It has ended: ${action.state}.`);
    wanted ||= changed;
    if (!wanted || !answer) return;
    place.querySelector(":focus")?.blur();
    last = "";
    await look();
    wanted = false;
  }

  async function began(value) {
    await took(value);
    under.focus({preventScroll: true});
    under.scrollIntoView({block: "nearest"});
  }

  await keepLooking(EVERY_S, signal, look);
  if (!answer) throw new Error("The advice cannot be read at the moment.");
  await follow("action", ACTION_EVERY_S, signal, () => get("api/v1/database/action", {}, signal), took);
  return [under, place];
}
