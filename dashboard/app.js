// The shell: sections, addresses, theme, credentials. A page is a module that is loaded when it is first opened; its show(parts, query,
// context) gives the element to show. `context.signal` ends when another page is opened.
import {announce, empty, h, replace} from "./dom.js";
import * as api from "./api.js";

const SECTIONS = [
  {id: "", name: "Overview", module: "./overview.js"},
  {id: "experiments", name: "Experiments", module: "./runs.js"},
  {id: "models", name: "Models", module: "./models.js"},
  {id: "features", name: "Features", module: "./features.js"},
  {id: "search", name: "Search", module: "./search.js"},
  {id: "database", name: "Database", module: "./database.js"},
];
const OTHERS = {
  runs: {section: "experiments", module: "./run.js"},
  compare: {section: "experiments", module: "./compare.js"},
};

const main = document.getElementById("main");
let leaving = new AbortController();
let shownPath = null;

function address() {
  const text = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const [path, query] = text.split("?");
  return {parts: path.split("/").map(decodeURIComponent), query: new URLSearchParams(query ?? "")};
}

// Changes what is behind the `?` of the address without opening the page anew.
function setQuery(changes) {
  const {query} = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", location.hash.split("?")[0] + (text ? "?" + text : ""));
}

async function open() {
  if (location.hash && !location.hash.startsWith("#/")) return; // the skip link
  const {parts, query} = address();
  const asked = location.hash;
  const page = SECTIONS.find((one) => one.id === parts[0]) ?? OTHERS[parts[0]];
  leaving.abort();
  leaving = new AbortController();
  const {signal} = leaving;
  markSection(page?.section ?? parts[0]);
  const path = location.hash.split("?")[0];
  const sameFamily = shownPath !== null && shownPath.split("/")[1] === path.split("/")[1];
  main.setAttribute("aria-busy", "true");
  if (!sameFamily) main.classList.add("waiting");
  try {
    if (!page) throw new Error("There is no such page. The sections at the side lead to all that there are.");
    const module = await import(page.module);
    const content = await module.show(parts, query, {signal, setQuery, reload: open});
    if (signal.aborted) return;
    replace(main, content);
    const heading = main.querySelector("h1");
    document.title = (heading ? heading.textContent + " – " : "") + "Cairn";
    if (path !== shownPath) scrollTo(0, 0);
    // After a click on a section or a row, a screen reader goes on with the new page.
    if (shownPath !== null && path !== shownPath) main.focus({preventScroll: true});
    shownPath = path;
  } catch (error) {
    if (signal.aborted) return;
    replace(
      main,
      h("h1", null, "Not to be shown"),
      empty(error.message),
      h("p", null, h("button", {type: "button", onclick: open}, "Try again")),
    );
    announce(error.message);
  } finally {
    if (!signal.aborted) {
      main.classList.remove("waiting");
      main.removeAttribute("aria-busy");
      main.dataset.shows = asked;
      // On a phone both rows of links are wider than it is. With the next frame, for it asks for the layout.
      requestAnimationFrame(() => {
        for (const one of document.querySelectorAll("nav [aria-current]"))
          one.scrollIntoView({block: "nearest", inline: "nearest"});
      });
    }
  }
}

function markSection(id) {
  replace(
    document.getElementById("sections"),
    SECTIONS.map((one) =>
      h("li", null, h("a", {href: "#/" + one.id, "aria-current": one.id === id ? "page" : undefined}, one.name)),
    ),
  );
}

// -- theme -----------------------------------------------------------------------------------------------------------

const THEMES = {auto: "light dark", light: "light", dark: "dark"};

function setTheme(theme) {
  document.documentElement.style.colorScheme = THEMES[theme];
  const button = document.getElementById("theme");
  button.textContent = "Theme: " + theme;
  button.onclick = () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(theme) + 1) % names.length];
    localStorage.setItem("cairn.theme", next);
    setTheme(next);
  };
}

// -- credentials -----------------------------------------------------------------------------------------------------

let asking = null;

function askForCredentials() {
  asking ??= new Promise((resolve) => {
    const field = (name, label, type) =>
      h(
        "label",
        null,
        label,
        h("input", {name, type, autocomplete: type === "password" ? "current-password" : "username"}),
      );
    const dialog = h(
      "dialog",
      {class: "sign-in", "aria-labelledby": "sign-in-title"},
      h(
        "form",
        {
          method: "dialog",
          onsubmit: (event) => {
            const data = Object.fromEntries(new FormData(event.target));
            api.signIn(data);
            dialog.close();
          },
        },
        h("h2", {id: "sign-in-title"}, "Sign in"),
        api.signedIn() && h("p", {class: "wrong", role: "alert"}, "These credentials were not taken."),
        field("user", "User", "text"),
        field("password", "Password", "password"),
        h("p", {class: "faint"}, "or"),
        field("token", "Token", "password"),
        h("button", {type: "submit", class: "main"}, "Sign in"),
      ),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      document.getElementById("sign-out").hidden = false;
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

api.onUnauthenticated(askForCredentials);
const signOutButton = document.getElementById("sign-out");
signOutButton.hidden = !api.signedIn();
signOutButton.onclick = () => {
  api.signOut();
  signOutButton.hidden = true;
  open();
};

setTheme(localStorage.getItem("cairn.theme") ?? "auto");
addEventListener("hashchange", open);
open();
