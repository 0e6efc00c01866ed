// What the server does about an advice: `cairn tune prove`, `apply`, `verify` and `undo`, begun by a button, asked for first, followed while
// it runs, with what came of it.
import {post} from "./api.js";
import {announce, confirmed, duration, empty, figure, figures, h, number, percent, section, table, tag, time} from "./dom.js";

const check = (name, label) => h("label", {class: "check"}, h("input", {type: "checkbox", name}), label);

const KINDS = {
  prove: {
    title: "Prove this advice?",
    verb: "Prove it",
    what: "The database is copied, and the statements are run on the copy, before and after the changes. The database itself is only read; the copy needs its room on the disk for the time, and is removed at the end. It takes some minutes.",
    fields: () => check("sample", "On a sample of the rows, where a whole copy is too large or may not be made"),
  },
  apply: {
    title: "Make these changes in the database?",
    verb: "Apply it",
    danger: true,
    what: "Indexes are built beside those who write, who are not blocked. Each change is written into the journal of the database before it is begun, and can be undone from there. One that fails leaves nothing.",
    fields: () => check("unproven", "Also what no proof kept"),
  },
  verify: {
    title: "Measure what was applied?",
    verb: "Verify it",
    danger: true,
    what: "The times of statements before the changes and since are compared, as PostgreSQL counted them. A change that made statements slower is taken back.",
    fields: () => check("keep", "Take nothing back, only measure"),
  },
  undo: {
    title: "Take these changes back?",
    verb: "Undo",
    danger: true,
    what: "Indexes are dropped, or built again, beside those who write; for all else the inverse statements are run. What somebody else changed since stays.",
  },
};
const DOING = {prove: "Proving", apply: "Applying", verify: "Verifying", undo: "Undoing"};
const DONE = {prove: "Proved", apply: "Applied", verify: "Verified", undo: "Undone"};

// `changes`: of apply the numbers, of undo the journal's ids; absent: all. `began` is given what the server does now.
export function actionButton({kind, advice, database, changes, text, list, running, began, main}) {
  const {title, verb, what, danger, fields} = KINDS[kind];
  return h(
    "button",
    {
      type: "button",
      class: main ? "main" : undefined,
      disabled: running,
      title: running ? "One at a time: something is under way" : undefined,
      onclick: async () => {
        let answer = null;
        await confirmed({
          title,
          what: [
            h("p", null, what),
            list?.length > 0 &&
              h(
                "ul",
                {class: "what-changes"},
                list.map((one) => h("li", null, h("code", null, one))),
              ),
          ],
          fields: fields?.(),
          verb,
          danger,
          act: async (form) => {
            answer = await post(`api/v1/database/advice/${encodeURIComponent(advice)}/${kind}`, {
              database,
              changes,
              ...Object.fromEntries([...new FormData(form).keys()].map((name) => [name, true])),
            });
          },
        });
        if (!answer) return;
        began(answer);
      },
    },
    text ?? verb,
  );
}

// -- what came of it -------------------------------------------------------------------------------------------------

const OUTCOMES = {applied: "ok", undone: "ok", failed: "failed", faster: "ok", slower: "failed"};
const outcome = (text) => tag(OUTCOMES[text] ?? "same", text);

const REPORTS = {
  apply: ({changes}) =>
    changes.length
      ? table(
          "What was made",
          [
            {name: "#", numeric: true, value: (one) => number(one.number)},
            {name: "Outcome", value: (one) => outcome(one.outcome)},
            {name: "Change", class: "text", value: (one) => one.name},
            {name: "Took", numeric: true, value: (one) => duration(one.seconds * 1000)},
            {name: "", class: "long", value: (one) => one.detail ?? ""},
          ],
          changes,
        )
      : empty("There was nothing to make."),
  undo: ({changes}) =>
    table(
      "What was taken back",
      [
        {name: "Id", numeric: true, value: (one) => one.id},
        {name: "Outcome", value: (one) => outcome(one.outcome)},
        {name: "Change", class: "text", value: (one) => one.name},
        {name: "", class: "long", value: (one) => one.detail ?? ""},
      ],
      changes,
    ),
  verify: ({changes, statements, notes}) => [
    table(
      "Changes, by their statements",
      [
        {name: "Id", numeric: true, value: (one) => one.id},
        {name: "State", value: (one) => tag(one.state)},
        {name: "Change", class: "text", value: (one) => one.name},
        {name: "Verdict", value: (one) => one.verdict},
        {name: "Why", class: "long", value: (one) => one.reason},
      ],
      changes,
    ),
    statements.length > 0 &&
      table(
        "Statements before and since",
        [
          {name: "Statement", class: "text", value: (one) => h("span", {class: "statement", title: one.text}, one.text)},
          {name: "Calls before", numeric: true, value: (one) => number(one.calls_before)},
          {name: "since", numeric: true, value: (one) => number(one.calls_after)},
          {name: "Mean before", numeric: true, value: (one) => duration(one.before_ms)},
          {name: "since", numeric: true, value: (one) => duration(one.after_ms)},
          {
            name: "Of the time",
            numeric: true,
            value: (one) =>
              one.ratio === undefined
                ? "–"
                : h("span", {title: `${percent(one.ratio_low)} to ${percent(one.ratio_high)}`}, percent(one.ratio)),
          },
          {name: "Verdict", value: (one) => outcome(one.effect)},
        ],
        statements,
      ),
    notes.map((note) => h("p", {class: "faint"}, note)),
  ],
};

const lastLines = (text) => text.trimEnd().split("\n").slice(-12).join("\n");

// The one that runs, or the last one. `log` keeps its place in the document, so that what is added to it is read out.
export function actionPart(action, log, ended) {
  if (!action) return null;
  const running = action.state === "running";
  log.textContent = lastLines(action.progress);
  log.hidden = !log.textContent;
  return section(
    (running ? DOING : DONE)[action.kind] + " advice " + action.advice,
    figures(
      figure("State", tag(action.state === "done" ? "ok" : action.state, action.state)),
      figure(
        "In",
        action.database,
        action.actor && "for " + action.actor,
      ),
      running
        ? figure("Since", time(action.started_at))
        : figure("Took", duration(action.ended_at - action.started_at), time(action.ended_at)),
      running &&
        h(
          "button",
          {
            type: "button",
            class: "danger",
            onclick: async (event) => {
              event.currentTarget.disabled = true;
              try {
                await post("api/v1/database/action/end");
              } catch (error) {
                announce(error.message);
              }
            },
          },
          "End it",
        ),
    ),
    action.state === "failed" && h("p", {class: "wrong", role: "alert"}, "It failed; what it said is below."),
    action.state === "done" && action.kind === "prove" && h("p", {class: "faint"}, "What it showed is with the advice."),
    action.report && REPORTS[action.kind]?.(action.report),
    log,
  );
}
