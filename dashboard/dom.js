// Elements, and how values are written. No markup is ever made from text: what a user has named cannot become part of the page.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "indeterminate" || name === "disabled")
      element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

export function announce(text) {
  document.getElementById("status").textContent = text;
}

export const link = (href, ...children) => h("a", {href}, ...children);
export const path = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");

// -- values ---------------------------------------------------------------------------------------------------------

// By hand: a first use of Intl takes longer than all else that a first view does in the page.
const grouped = (n) => n.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
const twoDigits = (n) => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// Five digits are enough to tell runs apart; the title of the cell has all of them.
export function number(value) {
  if (value === null || value === undefined || value === "") return "–";
  const n = Number(value);
  if (!Number.isFinite(n)) return String(value);
  const size = Math.abs(n);
  if (Number.isInteger(n) && size < 1e15) return grouped(n);
  if (size >= 1e6 || size < 1e-4) return n.toExponential(3);
  return size >= 1000 ? grouped(n) : String(Number(n.toPrecision(5)));
}

export const percent = (ratio, digits = 1) =>
  ratio === null || ratio === undefined ? "–" : (100 * ratio).toFixed(digits) + " %";

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let n = Number(value),
    unit = 0;
  while (Math.abs(n) >= 1024 && unit < 4) ((n /= 1024), ++unit);
  return (unit && Math.abs(n) < 10 ? n.toFixed(1) : Math.round(n)) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
}

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(Number(ms))) return "–";
  const n = Number(ms);
  if (n < 1) return n.toFixed(3) + " ms";
  if (n < 100) return n.toFixed(n < 10 ? 2 : 1) + " ms";
  if (n < 1000) return Math.round(n) + " ms";
  if (n < 60e3) return (n / 1000).toFixed(1) + " s";
  if (n < 3600e3) return Math.floor(n / 60e3) + " min " + Math.round((n % 60e3) / 1000) + " s";
  if (n < 86400e3) return Math.floor(n / 3600e3) + " h " + Math.round((n % 3600e3) / 60e3) + " min";
  return Math.floor(n / 86400e3) + " d " + Math.round((n % 86400e3) / 3600e3) + " h";
}

export const milliseconds = (value) =>
  typeof value === "string" && !/^\d+$/.test(value) ? Date.parse(value) : Number(value);
export const hourAndMinute = (value) => {
  const at = new Date(milliseconds(value));
  return `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
};
export const clock = (value) => `${hourAndMinute(value)}:${twoDigits(new Date(milliseconds(value)).getSeconds())}`;
export function date(value) {
  if (!value && value !== 0) return "–";
  const at = new Date(milliseconds(value));
  return `${at.getDate()} ${MONTHS[at.getMonth()]} ${at.getFullYear()}, ${clock(value)}`;
}

export function ago(value) {
  if (!value) return "–";
  const passed = (Date.now() - milliseconds(value)) / 1000;
  const seconds = Math.abs(passed);
  if (seconds < 10) return passed < 0 ? "now" : "just now";
  for (const [size, name] of [
    [86400 * 365, "y"],
    [86400 * 30, "mo"],
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ])
    if (seconds >= size) {
      const much = Math.floor(seconds / size) + " " + name;
      return passed < 0 ? "in " + much : much + " ago";
    }
}

export const time = (value) =>
  value ? h("time", {datetime: new Date(milliseconds(value)).toISOString(), title: date(value)}, ago(value)) : "–";

// -- parts that every page has ---------------------------------------------------------------------------------------

export const empty = (...children) => h("p", {class: "empty"}, ...children);
export const tag = (kind, text) =>
  h("span", {class: "tag " + String(kind).toLowerCase().replace(/\W/g, "-")}, text ?? kind);
export const figure = (name, value, more) =>
  h("div", {class: "figure"}, h("dt", null, name), h("dd", null, value, more && h("small", null, more)));
export const figures = (...items) => h("dl", {class: "figures"}, ...items);

export const section = (title, ...children) =>
  h("section", {class: "part", "aria-label": title}, h("h2", null, title), ...children);

// columns: [{name, value(row), numeric, wide}]
export function table(label, columns, rows, more = {}) {
  return h(
    "div",
    {class: "scroll", tabindex: 0, role: "region", "aria-label": label},
    h(
      "table",
      {class: "plain " + (more.class ?? "")},
      h("caption", {class: "hidden"}, label),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map((c) => h("th", {scope: "col", class: c.numeric && "num"}, c.name)),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row, index) =>
          h(
            "tr",
            more.row?.(row, index),
            columns.map((c, at) => {
              const value = c.value(row, index);
              return h(
                at === 0 && !more.noHead ? "th" : "td",
                {
                  scope: at === 0 && !more.noHead ? "row" : undefined,
                  class: [c.numeric && "num", c.class].filter(Boolean).join(" ") || undefined,
                },
                value ?? "–",
              );
            }),
          ),
        ),
      ),
    ),
  );
}

// tabs: [{id, name, show()}]; the chosen one is in the address.
export function tabs(label, items, chosen, addressOf) {
  return h(
    "nav",
    {class: "tabs", "aria-label": label},
    h(
      "ul",
      null,
      items.map((item) =>
        h(
          "li",
          null,
          h("a", {href: addressOf(item.id), "aria-current": item.id === chosen ? "page" : undefined}, item.name),
        ),
      ),
    ),
  );
}

export function copyable(text) {
  const button = h(
    "button",
    {
      type: "button",
      class: "quiet copy",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          announce("Copied");
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code); // no clipboard here: it is selected instead
        }
      },
    },
    "Copy",
  );
  const code = h("code", null, text);
  return h("div", {class: "command"}, code, button);
}

// Asks before something is done, and does it: `act(form)` while the dialog waits. What goes wrong is said in it. True when it was done.
// A modal dialog: the focus stays in it, Escape leaves things as they are, and the focus goes back to where it was.
export function confirmed({title, what, fields, verb, danger, act}) {
  const problem = h("p", {class: "wrong", role: "alert", hidden: true}),
    doIt = h("button", {type: "submit", class: danger ? "main danger" : "main"}, verb),
    leave = h("button", {type: "button", onclick: () => dialog.close()}, "Leave it");
  let done = false;
  const form = h(
    "form",
    {
      class: "form",
      onsubmit: async (event) => {
        event.preventDefault();
        doIt.disabled = true;
        problem.hidden = true;
        form.setAttribute("aria-busy", "true");
        try {
          await act(form);
          done = true;
          dialog.close();
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
          if (error.status !== 403) doIt.disabled = false;
          if (document.activeElement === document.body || document.activeElement === dialog) leave.focus();
        }
        form.removeAttribute("aria-busy");
      },
    },
    h("h2", {id: "confirm-title"}, title),
    h("div", {id: "confirm-what"}, what),
    fields,
    problem,
    h("div", {class: "dialog-end"}, leave, doIt),
  );
  const dialog = h(
    "dialog",
    {role: "alertdialog", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-what"},
    form,
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    }),
  );
}

// A statement as the profile has it, leading to its plan. What only functions run has none of its own: its variables are theirs.
export function statement(one, database) {
  if (one.nested) return h("span", {class: "statement"}, h("span", {class: "faint"}, "in a function: "), one.text);
  const address = new URLSearchParams({...(database && {database}), id: one.id});
  return h(
    "a",
    {class: "statement", href: "#/database/plan?" + address},
    one.text || "(its text may not be read by this role)",
  );
}

// A share of a whole, as a bar behind nothing but itself; the number stands beside it.
export const bar = (ratio, kind = "") =>
  s(
    "svg",
    {class: "bar " + kind, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true"},
    s("rect", {width: 100, height: 6, class: "ground"}),
    s("rect", {width: Math.max(0, Math.min(1, ratio || 0)) * 100, height: 6}),
  );
