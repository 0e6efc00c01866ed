// Times of Cairn's page in a real Chromium. Argument: JSON {servers: [{url, experiment}], browser, rounds}. Of several servers each is
// measured in turn, round by round. Prints one JSON array.
import {chromium} from "playwright-core";

const given = JSON.parse(process.argv[2]);

// With nothing in the browser's cache: until what the page asked for is drawn.
async function firstView(browser, url, address) {
  const context = await browser.newContext({viewport: {width: 1280, height: 800}});
  const page = await context.newPage(),
    session = await context.newCDPSession(page);
  let bytes = 0,
    requests = 0,
    underWay = 0;
  await session.send("Network.enable");
  session.on("Network.requestWillBeSent", () => (++requests, ++underWay));
  session.on("Network.loadingFailed", () => --underWay);
  session.on("Network.loadingFinished", ({encodedDataLength}) => (--underWay, (bytes += encodedDataLength)));
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
  do await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20))));
  while (underWay > 0);
  const ms = await page.evaluate(() => globalThis.drawnAt);
  await context.close();
  return {bytes, requests, ms};
}

// From the first to the last run, a screen every other frame; frames by the browser's own clock.
async function scrolling(browser, {url, experiment}) {
  const page = await browser.newPage({viewport: {width: 1280, height: 800}});
  await page.goto(`${url}/#/experiments/${experiment}`);
  await page.waitForFunction(() => document.querySelector(".virtual tbody tr"));
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
  await page.close();
  return found;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

function viewOf(rounds) {
  const ms = rounds.map((one) => one.ms);
  return {
    bytes: median(rounds.map((one) => one.bytes)),
    requests: rounds[0].requests,
    ms: median(ms),
    ms_min: Math.min(...ms),
    ms_max: Math.max(...ms),
  };
}

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

const browser = await chromium.launch({executablePath: given.browser, args: ["--no-sandbox"]});
try {
  const found = given.servers.map(() => ({overview: [], runs: [], scroll: []}));
  for (const {url} of given.servers) await firstView(browser, url, "/"); // the browser's own start is nobody's
  for (let round = 0; round < given.rounds; ++round)
    for (const [index, server] of given.servers.entries()) {
      found[index].overview.push(await firstView(browser, server.url, "/"));
      found[index].runs.push(await firstView(browser, server.url, `/experiments/${server.experiment}`));
      found[index].scroll.push(await scrolling(browser, server));
    }
  console.log(
    JSON.stringify(
      found.map(({overview, runs, scroll}) => ({
        views: {overview: viewOf(overview), runs: viewOf(runs)},
        scroll: scrollOf(scroll),
      })),
    ),
  );
} finally {
  await browser.close();
}
