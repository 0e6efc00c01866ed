// Drives Cairn's page in a real Chromium. Argument: JSON {url, browser, shots, experiment, run, model, view, collection, total}. Prints one JSON
// object: for each check its error, or null where it held.
import {mkdirSync} from "node:fs";
import {chromium} from "playwright-core";

const given = JSON.parse(process.argv[2]);
const outcomes = {};
const PAGES = {
  overview: "/",
  experiments: "/experiments",
  runs: `/experiments/${given.experiment}`,
  charts: `/experiments/${given.few}?view=charts`,
  parallel: `/experiments/${given.few}?view=parallel`,
  run: `/runs/${given.run}`,
  compare: `/compare?runs=${given.pair.join(",")}`,
  models: "/models",
  model: `/models/${given.model}`,
  features: "/features",
  search: `/search/${given.collection}?q=cairn+stones`,
  load: "/database/load",
  plan: "/database/plan?statement=" + encodeURIComponent("SELECT * FROM tracking.training_runs"),
  advice: "/database/advice",
  relations: "/database/relations",
  activity: "/database/activity",
  operations: "/database/operations",
};

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

// -- what has to hold on every page ----------------------------------------------------------------------------------

const NAMED = new Set([
  "button",
  "link",
  "textbox",
  "searchbox",
  "combobox",
  "checkbox",
  "slider",
  "img",
  "grid",
  "table",
  "region",
  "dialog",
]);

// From the browser's own tree for screen readers: every control and every picture has a name.
async function unnamed(page) {
  const session = await page.context().newCDPSession(page);
  const {nodes} = await session.send("Accessibility.getFullAXTree");
  await session.detach();
  return nodes
    .filter((node) => !node.ignored && NAMED.has(node.role?.value) && !node.name?.value?.trim())
    .map((node) => node.role.value);
}

// Text against the first ground behind it that is not transparent: 4.5, as WCAG AA wants it; 3 for large text.
const faintTexts = () => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {
    willReadFrequently: true,
  });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) =>
    [r, g, b]
      .map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    if (
      ![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) ||
      element.closest("svg, .hidden, .skip, #status, [disabled], noscript, option") ||
      !element.checkVisibility()
    )
      continue;
    const style = getComputedStyle(element);
    let ground = element;
    while (ground && rgba(getComputedStyle(ground).backgroundColor)[3] < 250) ground = ground.parentElement;
    const [a, b] = [
      luminance(rgba(style.color)),
      luminance(rgba(getComputedStyle(ground ?? document.documentElement).backgroundColor)),
    ];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5))
      found.push(`${element.textContent.trim().slice(0, 30)} (${contrast.toFixed(1)})`);
  }
  return found;
};

const underWay = new WeakMap();

async function newPage(context, options) {
  const page = await context.newPage(options),
    requests = new Set();
  underWay.set(page, requests);
  // A stream of events is open for as long as the page is shown.
  page.on("request", (request) => !request.url().includes("/api/v1/events") && requests.add(request));
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => requests.delete(request));
  return page;
}

// The page is there, and what it asked for has been drawn.
async function open(page, address) {
  await page.goto(given.url + "/#" + address);
  await page.waitForFunction((shown) => document.getElementById("main").dataset.shows === shown, "#" + address);
  do {
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
  } while (underWay.get(page).size > 0);
}

async function everyPage(browser) {
  mkdirSync(given.shots, {recursive: true});
  for (const scheme of ["light", "dark"]) {
    const context = await browser.newContext({
      viewport: {width: 1280, height: 800},
      colorScheme: scheme,
      serviceWorkers: "block",
    });
    const page = await newPage(context),
      problems = [];
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(error.message));
    page.on(
      "request",
      (request) =>
        !request.url().startsWith(given.url + "/") &&
        !request.url().startsWith("data:") &&
        problems.push("asks elsewhere: " + request.url()),
    );
    for (const [name, address] of Object.entries(PAGES)) {
      if (scheme === "dark" && !given.dark.includes(name)) continue;
      await check(`${name} ${scheme}`, async () => {
        problems.length = 0;
        await open(page, address);
        const wrong = await page.$$eval("main .wrong, main [role=alert]", (list) =>
          list.map((one) => one.textContent.trim()).filter((text) => /[a-z]/i.test(text) && !/^\d/.test(text)),
        );
        expect(!wrong.length, "says: " + wrong.join("; "));
        expect((await page.$$("h1")).length === 1, "has not one heading of the first level");
        expect(!problems.length, "the console has: " + problems.join("; "));
        const nameless = await unnamed(page),
          faint = await page.evaluate(faintTexts);
        expect(!nameless.length, "without a name: " + nameless.join(", "));
        expect(!faint.length, "hardly to be read: " + faint.join(", "));
        await page.screenshot({path: `${given.shots}/${name}-${scheme}.png`});
        if (scheme === "dark") return;
        await page.setViewportSize({width: 390, height: 780});
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        await page.screenshot({path: `${given.shots}/${name}-phone.png`});
        await page.setViewportSize({width: 1280, height: 800});
        expect(wide <= 0, `is ${wide} pixels wider than a phone`);
      });
    }
    await context.close();
  }
}

// -- what each page does ---------------------------------------------------------------------------------------------

const rowCount = (page) => page.locator(".virtual tbody tr").count();

const CHECKS = {
  async "first view: what is asked for ahead is what the page needs, once"(page) {
    for (const address of ["/", PAGES.runs, PAGES.load]) {
      await page.goto("about:blank");
      await open(page, address);
      const [untaken, names] = await page.evaluate(() => [
        [...asked.keys()],
        performance.getEntriesByType("resource").map((one) => one.name),
      ]);
      expect(!untaken.length, `${address}: nobody wanted ${untaken.join(", ")}`);
      const calls = names.filter((name) => name.includes("/api/"));
      expect(calls.length > 0 && new Set(calls).size === calls.length, `${address}: asked twice: ${calls.join(", ")}`);
    }
  },
  async "runs: any number of rows, few of them in the document"(page) {
    await open(page, PAGES.runs);
    await page.locator(".virtual table").focus();
    const count = page.locator(".bar-of-tools [role=status]");
    for (let said = await count.textContent(); said.endsWith("+ runs"); said = await count.textContent()) {
      await page.keyboard.press("End"); // to the last row that is there; as it comes near, more are asked for
      await page.waitForFunction(
        (before) => document.querySelector(".bar-of-tools [role=status]").textContent !== before,
        said,
      );
      expect((await rowCount(page)) < 120, "more rows are in the document than are seen");
    }
    await page.keyboard.press("End");
    expect(
      (await page.locator(".virtual tr.active th").textContent()) === given.first,
      "the last row is not the oldest run",
    );
    expect(
      (await page.locator(".virtual table").getAttribute("aria-rowcount")) === String(given.total + 1),
      "aria-rowcount is not all rows and the head",
    );
  },
  async "runs: by keyboard"(page) {
    await open(page, PAGES.runs);
    await page.locator(".virtual table").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    const active = page.locator(".virtual tr.active");
    expect(
      (await page.locator(".virtual table").getAttribute("aria-activedescendant")) ===
        (await active.getAttribute("id")),
      "the active row is not told",
    );
    await page.keyboard.press("Space");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Space");
    await page.getByRole("button", {name: "Compare 2"}).waitFor();
    const name = await active.locator("th").textContent();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", {level: 1, name, exact: true}).waitFor();
    expect((await page.evaluate(() => document.activeElement.id)) === "main", "the focus is not on the new page");
  },
  async "runs: filter in MLflow's grammar"(page) {
    await open(page, PAGES.runs);
    const field = page.getByRole("searchbox", {name: /Filter runs/});
    await field.fill("metrics.loss < 3 and params.kind = 'odd'");
    await field.press("Enter");
    await page.getByText("1 runs", {exact: true}).waitFor();
    await field.fill("metrics.loss <");
    await field.press("Enter");
    await page.locator("#filter-problem").getByText(/./).waitFor();
    expect((await field.getAttribute("aria-invalid")) === "true", "the field is not marked as wrong");
  },
  async "runs: order and columns"(page) {
    await open(page, PAGES.runs);
    await page.getByRole("button", {name: "loss", exact: true}).click();
    await page.locator("th[aria-sort=descending] button", {hasText: "loss"}).waitFor();
    await page.getByRole("button", {name: "loss ↓"}).click();
    await page.locator("th[aria-sort=ascending]").waitFor();
    await page.waitForFunction(
      (name) => document.querySelector(".virtual tbody tr th")?.textContent === name,
      given.first,
    );
    await page.getByRole("button", {name: "Columns"}).click();
    await page.getByRole("checkbox", {name: "kind", exact: true}).uncheck();
    await page.getByRole("checkbox", {name: "Run ID"}).check();
    await page.getByRole("button", {name: "Show these"}).click();
    await page.locator("th button", {hasText: "Run ID"}).waitFor();
    expect((await page.locator("th button", {hasText: "kind"}).count()) === 0, "the column is still there");
  },
  async "compare: what differs is marked"(page) {
    await open(page, PAGES.compare);
    expect(
      (await page.locator("tr.differs", {hasText: "kind"}).count()) === 1,
      "a parameter that differs is not marked",
    );
    expect((await page.locator("tr.differs", {hasText: "same"}).count()) === 0, "one that does not is");
    await page.locator("svg.chart").first().waitFor();
  },
  async "charts: smoothing and zoom"(page) {
    await open(page, PAGES.charts);
    const chart = page.locator("svg.chart").first(),
      line = () => page.locator("svg.chart").first().locator("path.line").last().getAttribute("d");
    await chart.waitFor();
    const whole = await line();
    await page.getByRole("slider").fill("0.8");
    expect((await line()) !== whole, "smoothing changes nothing");
    await page.getByRole("slider").fill("0");
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 80);
    await page.mouse.up();
    expect((await line()) !== whole, "a drag does not zoom");
    await chart.focus();
    await page.keyboard.press("Escape");
    expect((await line()) === whole, "Escape does not show all again");
    await page.keyboard.press("ArrowRight");
    expect(/Step/.test(await page.locator(".reading").first().textContent()), "the arrow keys read no values");
  },
  async "parallel coordinates: a drag keeps what passes"(page) {
    await open(page, PAGES.parallel);
    const area = page.locator("svg.parallel rect.catch").last(),
      box = await area.boundingBox();
    await page.mouse.move(box.x + 10, box.y + box.height * 0.9);
    await page.mouse.down();
    await page.mouse.move(box.x + 10, box.y - 20);
    await page.mouse.up();
    const lines = await page.locator("svg.parallel path").count(),
      out = await page.locator("svg.parallel path.out").count();
    expect(out > 0 && out < lines, `${out} of ${lines} lines are out`);
  },
  async "run: what others have named is text"(page) {
    await open(page, PAGES.run);
    await page.getByRole("heading", {level: 1, name: given.name, exact: true}).waitFor();
    await page.locator("summary", {hasText: "notes.txt"}).click();
    await page.getByText("from the artifact").waitFor();
    expect((await page.locator("main img").count()) === 0, "a name became an element");
  },
  async "models: an approval by a button"(page) {
    await open(page, PAGES.model);
    await page.getByRole("textbox", {name: "Comment"}).fill("looks right");
    await page.getByRole("button", {name: "Approve"}).click();
    await page.getByRole("region", {name: "Approvals", exact: true}).getByText("approved").waitFor();
    await page.getByRole("combobox", {name: "Stage of version 1"}).selectOption("Production");
    await page.waitForFunction(() =>
      [...document.querySelectorAll(".figure")].some((one) => /In production\s*1/.test(one.textContent)),
    );
  },
  async "features: distribution and drift"(page) {
    await open(page, PAGES.features);
    const part = page.getByRole("region", {name: given.view, exact: true});
    await part.locator("svg.histogram").first().waitFor();
    await page.getByRole("button", {name: "Measure drift from now"}).click();
    await part.getByText("steady").first().waitFor();
  },
  async "search: each part's score and rank"(page) {
    await open(page, PAGES.search);
    const hit = page.locator(".hit").first();
    await hit.getByText("rank 1").waitFor();
    expect(
      /score/.test(await hit.textContent()) && (await hit.locator("mark").count()) > 0,
      "the hit has no score or no mark",
    );
  },
  async "database: statements, and the plan of one with its findings"(page) {
    await open(page, PAGES.load);
    await page.locator("a.statement", {hasText: "FROM public.page_rows"}).first().click();
    await page.locator(".plan .node").first().waitFor();
    await page.getByRole("textbox", {name: "Statement"}).fill("SELECT * FROM page_rows WHERE upper(name) = 'NAME 7'");
    await page.getByRole("button", {name: "Run it and measure"}).click();
    await page.locator(".finding").first().waitFor();
    await page.getByRole("textbox", {name: "Statement"}).fill("DELETE FROM page_rows");
    await page.getByRole("button", {name: "Run it and measure"}).click();
    await page
      .getByRole("alert")
      .getByText(/SELECT/)
      .waitFor();
  },
  async "database: who waits for whom"(page) {
    await open(page, PAGES.activity);
    await page.locator(".plan ul .node", {hasText: "LOCK TABLE page_rows"}).first().waitFor();
  },
  async "database: advice and relations"(page) {
    await open(page, PAGES.advice);
    await page.locator("main table").first().waitFor();
    await open(page, PAGES.relations);
    await page.getByRole("rowheader", {name: "page_rows", exact: true}).waitFor();
    await page.getByText("idx_page_rows_name").waitFor();
  },
  async "theme: chosen by hand, and kept"(page) {
    await open(page, PAGES.overview);
    await page.getByRole("button", {name: "Theme: auto"}).click();
    await page.getByRole("button", {name: "Theme: light"}).click();
    await page.reload();
    await page.getByRole("button", {name: "Theme: dark"}).waitFor();
    expect(
      (await page.evaluate(() => getComputedStyle(document.body.parentElement).colorScheme)) === "dark",
      "the dark theme is not kept",
    );
  },
  async "database: a session is ended, by who was asked"(page) {
    await open(page, PAGES.activity);
    const row = page.locator("tr", {hasText: "page victim"}),
      dialog = page.getByRole("alertdialog", {name: /End the session of process/});
    await row.getByRole("button", {name: /End the session/}).click();
    await dialog.getByText("rolled back").waitFor();
    await page.screenshot({path: `${given.shots}/ending-light.png`});
    for (let i = 0; i < 6; ++i) {
      await page.keyboard.press("Tab");
      const where = await page.evaluate(() => [document.hasFocus(), !!document.activeElement.closest("dialog, body")]);
      const outside = await page.evaluate(
        () => document.activeElement !== document.body && !document.activeElement.closest("dialog"),
      );
      expect(!outside, "the focus leaves the dialog: " + where);
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({state: "detached"});
    expect((await row.count()) === 1, "Escape has ended the session");
    // What PostgreSQL refuses is said, and nothing is lost.
    await page
      .locator("tr", {hasText: "page holder"})
      .getByRole("button", {name: /End the session/})
      .click();
    await dialog.getByRole("button", {name: "End the session"}).click();
    await dialog.getByRole("alert").getByText("PostgreSQL refuses it").waitFor();
    await dialog.getByRole("button", {name: "Leave it"}).click();
    await row.getByRole("button", {name: /End the session/}).click();
    await dialog.getByRole("button", {name: "End the session"}).click();
    await dialog.waitFor({state: "detached"});
    await row.waitFor({state: "detached"});
  },
  async "live: what the server tells is shown without being asked for"(page) {
    await open(page, PAGES.activity);
    let asked = 0;
    page.on("request", (request) => request.url().includes("/activity") && ++asked);
    const before = await page.locator("td.num").allTextContents();
    await page.waitForFunction(
      (shown) => JSON.stringify([...document.querySelectorAll("td.num")].map((one) => one.textContent)) !== shown,
      JSON.stringify(before),
    );
    expect(asked === 0, "it asks although it is told");
  },
  async "live: it asks where it cannot be told"(page) {
    await page.route("**/api/v1/events?*", (route) => route.abort());
    await open(page, PAGES.activity);
    await page.waitForRequest((request) => request.url().includes("/activity"));
    await page.waitForRequest((request) => request.url().includes("/activity"));
  },
  async "nothing is asked, and no stream is open, while the tab is hidden"(page) {
    await page.clock.install();
    await open(page, PAGES.activity);
    const asked = [];
    const show = (hidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => value});
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    const closed = page.waitForEvent("requestfailed", (request) => request.url().includes("/api/v1/events"));
    await show(true);
    await closed;
    page.on("request", (request) => asked.push(request.url()));
    await page.clock.runFor(60_000);
    expect(asked.length === 0, "it asks on while nobody looks: " + asked);
    const again = page.waitForRequest((request) => request.url().includes("/api/v1/events"));
    await show(false);
    await again;
  },
  async "an address that leads nowhere says so"(page) {
    await open(page, "/nothing");
    await page.locator("main").getByText("There is no such page").waitFor();
    await open(page, "/runs/" + "0".repeat(32));
    await page
      .locator("main")
      .getByText(/not found/)
      .waitFor();
  },
};

// While nobody has a transaction open, for which an index that is built would wait.
const QUIET = {
  async "database: advice is applied, measured and undone by buttons"(page) {
    await open(page, PAGES.advice);
    const doing = async (button, verb, name) => {
      await page.getByRole("button", {name: button, exact: true}).first().click();
      const dialog = page.getByRole("alertdialog");
      if (button === "Apply it") {
        await dialog.getByRole("checkbox", {name: "Also what no proof kept"}).check();
        await page.screenshot({path: `${given.shots}/apply-light.png`});
      }
      await dialog.getByRole("button", {name: verb, exact: true}).click();
      await page.getByRole("region", {name}).getByText("done", {exact: true}).waitFor({timeout: 60_000});
    };
    await doing("Apply it", "Apply it", /^Applied advice/);
    const journal = page.getByRole("region", {name: "Made in this database"});
    await journal.getByText("applied", {exact: true}).waitFor();
    await doing("Verify it", "Verify it", /^Verified advice/);
    await page.getByRole("region", {name: "Changes, by their statements"}).waitFor();
    await page.screenshot({path: `${given.shots}/verified-light.png`});
    await doing("Undo all of it", "Undo", /^Undone advice/);
    await journal.getByText("undone", {exact: true}).waitFor();
  },
};

async function signIn(page, user, password) {
  await page.getByRole("dialog", {name: "Sign in"}).waitFor();
  await page.getByRole("textbox", {name: "User"}).fill(user);
  await page.getByRole("textbox", {name: "Password"}).fill(password);
  await page.getByRole("button", {name: "Sign in"}).click();
}

const SIGNED = {
  async "sign in: asked for, refused, taken, forgotten"(page) {
    await page.goto(given.url + "/#/models");
    await signIn(page, "ann", "wrong");
    await page.getByText("were not taken").waitFor();
    await signIn(page, "ann", given.password);
    await page.getByRole("heading", {level: 1, name: "Models"}).waitFor();
    await page.getByRole("button", {name: "Sign out"}).click();
    await page.getByRole("dialog", {name: "Sign in"}).waitFor();
  },
  async "a reader is told of sessions, and why none is ended"(page) {
    const told = page.waitForResponse((response) => response.url().includes("/api/v1/events") && response.ok());
    await page.goto(given.url + "/#/database/activity");
    await signIn(page, "rob", given.password);
    await told;
    await page
      .locator("tr", {hasText: "page victim"})
      .getByRole("button", {name: /End the session/})
      .click();
    const dialog = page.getByRole("alertdialog");
    await dialog.getByRole("button", {name: "End the session"}).click();
    await dialog.getByRole("alert").getByText("This is for admins, and rob is none").waitFor();
    expect(await dialog.getByRole("button", {name: "End the session"}).isDisabled(), "it may be tried again");
  },
};

async function check(name, body) {
  try {
    await body();
    outcomes[name] = null;
  } catch (error) {
    outcomes[name] = error.message.split("\n").slice(0, 6).join("\n");
  }
}

const browser = await chromium.launch({executablePath: given.browser, args: ["--no-sandbox"]});
try {
  const checks = given.password ? SIGNED : given.quiet ? QUIET : CHECKS;
  if (checks === CHECKS) await everyPage(browser);
  for (const [name, body] of Object.entries(checks)) {
    const page = await newPage(browser, {viewport: {width: 1280, height: 800}});
    page.setDefaultTimeout(15_000);
    await check(name, () => body(page));
    if (outcomes[name]) await page.screenshot({path: `${given.shots}/failed-${name.replace(/\W+/g, "-")}.png`});
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(outcomes));
