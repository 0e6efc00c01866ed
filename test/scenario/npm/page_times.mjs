// Times of Cairn's page in a real Chromium. Argument: JSON {servers: [{url, experiment}], browser, rounds}. Of several servers each is
// measured in turn, round by round, in the one order and then in the other. Prints JSON: {empty: …, tall: …, servers: […]}; empty is the
// first paint of a page of one word, tall the scrolling of a page that is nothing but stripes: how fast the machine and the browser are.
import {createServer} from "node:http";
import {chromium} from "playwright-core";

const given = JSON.parse(process.argv[2]);

// A tab that stands open, of a browser that is at rest: processes that Chromium starts for a new one, and ahead for the next, take more
// processor time than the page.
const REST_MS = 1500;
async function tab(browser) {
  const context = await browser.newContext({viewport: {width: 1280, height: 800}}),
    page = await context.newPage();
  await page.waitForTimeout(REST_MS);
  return {context, page};
}

async function emptyPage(browser) {
  const {context, page} = await tab(browser);
  await page.goto(`http://127.0.0.1:${empty.address().port}/`);
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
  const ms = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  await context.close();
  return ms;
}

// With nothing in the browser's cache: until what the page asked for is drawn. What it takes over the wire, where that is wanted:
// DevTools' telling of it makes the view slower.
async function firstView(browser, url, address, counted = false) {
  const {context, page} = await tab(browser);
  let bytes = 0,
    requests = 0;
  if (counted) {
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    session.on("Network.requestWillBeSent", () => ++requests);
    session.on("Network.loadingFinished", ({encodedDataLength}) => (bytes += encodedDataLength));
  }
  // The page itself notes when its content last changed.
  await page.addInitScript(() => {
    globalThis.drawnAt = 0;
    new MutationObserver(() => (globalThis.drawnAt = performance.now())).observe(document, {
      subtree: true,
      childList: true,
    });
  });
  await page.goto(url + "/#" + address);
  await page.waitForFunction(() => document.querySelector("main table"));
  await page.waitForLoadState("networkidle");
  const ms = await page.evaluate(() => globalThis.drawnAt);
  await context.close();
  return counted ? {bytes, requests} : ms;
}

// From the first to the last run, a screen every other frame; frames by the browser's own clock.
const runsOf = ({url, experiment}) => `${url}/#/experiments/${experiment}`;
async function scrolling(browser, address) {
  const {context, page} = await tab(browser);
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector(".virtual tbody tr"));
  await page.waitForTimeout(REST_MS);
  // The renderer's own processor time, which another program's work does not lengthen.
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", {timeDomain: "threadTicks"});
  const cpu = async () =>
    (await session.send("Performance.getMetrics")).metrics.find((one) => one.name === "TaskDuration").value;
  const before = await cpu();
  const found = await page.evaluate(async () => {
    const table = document.querySelector(".virtual"),
      frames = [],
      tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({
      type: "longtask",
    });
    let last = await new Promise(requestAnimationFrame);
    const atEnd = () =>
      table.querySelector("table").getAttribute("aria-rowcount") !== "-1" &&
      table.scrollTop + table.clientHeight >= table.scrollHeight - 2;
    while (!atEnd()) {
      table.scrollTop += 240;
      const now = await new Promise(requestAnimationFrame);
      frames.push(now - last);
      last = now;
    }
    return {frames, tasks, rows: Number(table.querySelector("table").getAttribute("aria-rowcount")) - 1};
  });
  found.cpu_ms = ((await cpu()) - before) * 1000;
  await context.close();
  return found;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

const timesOf = (ms) => ({ms: median(ms), ms_min: Math.min(...ms), ms_max: Math.max(...ms)});

const viewOf = (counts, ms) => ({...counts, ms_by_round: ms, ...timesOf(ms)});

function scrollOf(rounds) {
  const frames = rounds.flatMap((one) => one.frames).sort((a, b) => a - b);
  return {
    rows: rounds[0].rows,
    frames: frames.length,
    cpu_ms_mean: rounds.reduce((sum, one) => sum + one.cpu_ms, 0) / frames.length,
    ms_median: median(frames),
    ms_p99: frames[Math.floor(frames.length * 0.99)],
    ms_max: frames.at(-1),
    ms_max_by_round: rounds.map((one) => Math.max(...one.frames)),
    over_50_ms: frames.filter((one) => one > 50).length,
    long_tasks: rounds.flatMap((one) => one.tasks).length,
  };
}

// As high as a table of 10,000 runs.
const TALL = `<div class="virtual" style="height: 100vh; overflow-y: scroll"><table aria-rowcount="1"><tbody>
  <tr><td style="height: 300000px; width: 100vw; background: repeating-linear-gradient(#fff 0 15px, #ddd 15px 30px)"></table></div>`;

const browser = await chromium.launch({executablePath: given.browser, args: ["--no-sandbox"]}),
  empty = createServer((asked, answer) => {
    answer.setHeader("Content-Type", "text/html");
    answer.end("<!doctype html><title>Empty</title>" + (asked.url === "/tall" ? TALL : "Empty"));
  });
await new Promise((listening) => empty.listen(0, "127.0.0.1", listening));
try {
  const found = given.servers.map((server) => ({server, overview: [], runs: [], scroll: []})),
    ofEmpty = [],
    tall = [];
  for (const one of found) {
    one.counts = {
      overview: await firstView(browser, one.server.url, "/", true),
      runs: await firstView(browser, one.server.url, `/experiments/${one.server.experiment}`, true),
    };
  }
  for (let round = 0; round < given.rounds; ++round) {
    ofEmpty.push(await emptyPage(browser));
    tall.push(await scrolling(browser, `http://127.0.0.1:${empty.address().port}/tall`));
    for (const {server, overview, runs, scroll} of round % 2 ? [...found].reverse() : found) {
      overview.push(await firstView(browser, server.url, "/"));
      runs.push(await firstView(browser, server.url, `/experiments/${server.experiment}`));
      scroll.push(await scrolling(browser, runsOf(server)));
    }
  }
  const servers = found.map(({counts, overview, runs, scroll}) => ({
    views: {overview: viewOf(counts.overview, overview), runs: viewOf(counts.runs, runs)},
    scroll: scrollOf(scroll),
  }));
  console.log(JSON.stringify({empty: timesOf(ofEmpty), tall: scrollOf(tall), servers}));
} finally {
  await browser.close();
  empty.close();
}
