// #/database/activity: sessions that work or hold others up, and who waits for whom, as the server tells it; a statement can be cancelled
// and a session ended.
import {follow, get, post} from "./api.js";
import {announce, confirmed, duration, empty, figure, figures, h, number, replace, section, table, tag} from "./dom.js";

const EVERY_S = 2;

const ENDINGS = {
  cancel: {
    verb: "Cancel the statement",
    what: "PostgreSQL ends the statement that it runs, with an error for its program. The session stays; a transaction that is open fails and has to be rolled back.",
  },
  terminate: {
    verb: "End the session",
    danger: true,
    what: "PostgreSQL closes the session. An open transaction is rolled back, and its program has to connect again.",
  },
};

// Who waits below the one that is waited for; a session that waits for two stands under both.
function tree(sessions, buttons) {
  const of = new Map(sessions.map((one) => [one.pid, one])),
    below = new Map();
  for (const one of sessions) for (const pid of one.blocked_by) below.set(pid, [...(below.get(pid) ?? []), one]);
  const roots = [...below.keys()].filter((pid) => !of.get(pid)?.blocked_by.length);
  const node = (pid, seen) => {
    const one = of.get(pid);
    return h(
      "li",
      null,
      h(
        "div",
        {class: "node"},
        h(
          "span",
          {class: "what"},
          `${pid}  ${one?.role ?? ""}`,
          " ",
          one ? tag(one.state === "active" && one.blocked_by.length ? "waiting" : one.state) : "",
          one?.waits_for && h("span", {class: "faint plain"}, "  waits for " + one.waits_for.join(", ")),
          one && !seen.size && buttons(one),
        ),
        h("span", {class: "num"}, duration(one?.transaction_ms)),
        h("span", null),
        h("span", {class: "more"}, one?.query ?? ""),
      ),
      !seen.has(pid) &&
        below.has(pid) &&
        h(
          "ul",
          null,
          below.get(pid).map((child) => node(child.pid, new Set([...seen, pid]))),
        ),
    );
  };
  return roots.length
    ? h(
        "ul",
        {class: "plan", "aria-label": "Who waits for whom"},
        roots.map((pid) => node(pid, new Set())),
      )
    : null;
}

const sessionsTable = (sessions, buttons) =>
  table(
    "Sessions",
    [
      {name: "Process", numeric: true, value: (one) => one.pid},
      {name: h("span", {class: "hidden"}, "End it"), class: "nowrap", value: buttons},
      {name: "Database", value: (one) => one.database},
      {name: "Role", value: (one) => one.role},
      {name: "Program", value: (one) => one.application},
      {name: "State", value: (one) => tag(one.state)},
      {name: "Waits for", value: (one) => (one.wait_event_type ? `${one.wait_event_type}: ${one.wait_event}` : "")},
      {name: "Statement since", numeric: true, value: (one) => duration(one.query_ms)},
      {
        name: "Transaction",
        numeric: true,
        value: (one) => (one.transaction_ms === null ? "" : duration(one.transaction_ms)),
      },
      {name: "Statement", class: "text", value: (one) => h("span", {class: "statement", title: one.query}, one.query)},
    ],
    sessions,
  );

export async function show(database, query, {signal}) {
  const place = h("div", {tabindex: -1}),
    look = () => get("api/v1/database/activity", {}, signal);
  let shown = false;

  async function end(one, ending, button) {
    const {verb, what, danger} = ENDINGS[ending];
    const done = await confirmed({
      title: `${verb} of process ${one.pid}?`,
      what: [
        h("p", null, what),
        h("p", {class: "faint"}, `${one.role ?? ""}, ${one.application || "no program's name"}: ${one.state}`),
        one.query && h("pre", {class: "whole", tabindex: 0}, one.query),
        h("p", {class: "faint"}, "Who did it, and to whom, is written to the audit log."),
      ],
      verb,
      danger,
      act: async () => {
        const answer = await post(`api/v1/database/sessions/${one.pid}/${ending}`, {began_at: one.began_at}, signal),
          [{error, ended}] = answer.processes;
        if (error) throw new Error("PostgreSQL refuses it: " + error);
        announce(
          ended
            ? `Process ${one.pid}: done.`
            : `Process ${one.pid} was told, and ends at the next point where it can.`,
        );
      },
    });
    if (!done) return void button.blur();
    place.focus({preventScroll: true});
    draw(await look());
  }
  const button = (one, ending, text, name) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet danger",
        "aria-label": `${name} of process ${one.pid}`,
        onclick: (event) => end(one, ending, event.currentTarget),
      },
      text,
    );
  const buttons = (one) => [
    one.state === "active" && button(one, "cancel", "Cancel", "Cancel the statement"),
    button(one, "terminate", "End", "End the session"),
  ];

  function draw({states, sessions}) {
    const waiting = sessions.filter((one) => one.blocked_by.length);
    shown = true;
    replace(
      place,
      figures(
        Object.entries(states ?? {})
          .sort()
          .map(([state, count]) => figure(state, number(count))),
        figure("Waiting for a lock", h("span", {class: waiting.length ? "wrong" : undefined}, number(waiting.length))),
      ),
      section("Who waits for whom", tree(sessions, buttons) ?? empty("Nobody waits for a lock.")),
      section(
        "Sessions at work",
        sessions.length ? sessionsTable(sessions, buttons) : empty("No session does anything at the moment."),
      ),
    );
  }

  await follow("sessions", EVERY_S, signal, look, (value) => {
    // Not under somebody's fingers, nor while they are asked.
    if (document.querySelector("dialog[open]") || (place.contains(document.activeElement) && document.activeElement !== place))
      return;
    draw(value);
  });
  if (!shown) throw new Error("The sessions cannot be read at the moment.");
  return place;
}
