// #/database/activity: sessions that work or hold others up, and who waits for whom. Looked at every two seconds.
import {get, keepLooking} from "./api.js";
import {duration, empty, figure, figures, h, number, replace, section, table, tag} from "./dom.js";

const EVERY_S = 2;

// Who waits below the one that is waited for; a session that waits for two stands under both.
function tree(sessions) {
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

export async function show(database, query, {signal}) {
  const place = h("div", {"aria-busy": "false"});
  await keepLooking(EVERY_S, signal, async () => {
    const {states, sessions} = await get("api/v1/database/activity", {}, signal),
      waiting = sessions.filter((one) => one.blocked_by.length);
    if (place.contains(document.activeElement) && document.activeElement !== place) return;
    replace(
      place,
      figures(
        Object.entries(states ?? {})
          .sort()
          .map(([state, count]) => figure(state, number(count))),
        figure("Waiting for a lock", h("span", {class: waiting.length ? "wrong" : undefined}, number(waiting.length))),
      ),
      section("Who waits for whom", tree(sessions) ?? empty("Nobody waits for a lock.")),
      section(
        "Sessions at work",
        sessions.length
          ? table(
              "Sessions",
              [
                {name: "Process", numeric: true, value: (one) => one.pid},
                {name: "Database", value: (one) => one.database},
                {name: "Role", value: (one) => one.role},
                {name: "Program", value: (one) => one.application},
                {name: "State", value: (one) => tag(one.state)},
                {
                  name: "Waits for",
                  value: (one) => (one.wait_event_type ? `${one.wait_event_type}: ${one.wait_event}` : ""),
                },
                {name: "Statement since", numeric: true, value: (one) => duration(one.query_ms)},
                {
                  name: "Transaction",
                  numeric: true,
                  value: (one) => (one.transaction_ms === null ? "" : duration(one.transaction_ms)),
                },
                {
                  name: "Statement",
                  class: "text",
                  value: (one) => h("span", {class: "statement", title: one.query}, one.query),
                },
              ],
              sessions,
            )
          : empty("No session does anything at the moment."),
      ),
    );
  });
  if (!place.firstChild) throw new Error("The sessions cannot be read at the moment.");
  return place;
}
