// MLflow's own page, from its wheel, in front of Cairn's API: its main pages show what is there. Argument: JSON {url, build, browser, shots,
// experiment, run, model}. Prints one JSON object: for each page its error, or null where it held.
import {createReadStream, existsSync, mkdirSync} from "node:fs";
import {createServer, request} from "node:http";
import {extname, join} from "node:path";
import {chromium} from "playwright-core";

const given = JSON.parse(process.argv[2]);
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};
const outcomes = {};

// As MLflow's server lays it out: the page at /, its files below /static-files; all else is Cairn's.
const server = createServer((asked, answer) => {
  const path = decodeURIComponent(new URL(asked.url, "http://localhost").pathname);
  const file =
    path === "/" ? "index.html" : path.startsWith("/static-files/") ? path.slice("/static-files/".length) : null;
  if (file !== null && existsSync(join(given.build, file))) {
    answer.writeHead(200, {"Content-Type": TYPES[extname(file)] ?? "application/octet-stream"});
    createReadStream(join(given.build, file)).pipe(answer);
    return;
  }
  const {hostname, port, host} = new URL(given.url);
  const onward = request(
    {hostname, port, method: asked.method, path: asked.url, headers: {...asked.headers, host}},
    (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    },
  );
  onward.on("error", () => answer.destroy());
  asked.pipe(onward);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}`;

const PAGES = {
  experiments: ["/experiments", [given.experimentName]],
  runs: [`/experiments/${given.experiment}/runs`, given.runNames],
  run: [`/experiments/${given.experiment}/runs/${given.run}`, [given.runNames[0], "accuracy", "depth"]],
  "model metrics": [`/experiments/${given.experiment}/runs/${given.run}/model-metrics`, ["accuracy", "loss"]],
  models: ["/models", [given.model]],
  model: [`/models/${given.model}`, [given.model, "Version 1"]],
};

mkdirSync(given.shots, {recursive: true});
const browser = await chromium.launch({executablePath: given.browser, args: ["--no-sandbox"]});
try {
  const page = await browser.newPage({viewport: {width: 1400, height: 900}});
  page.setDefaultTimeout(40_000);
  const failures = [];
  page.on("response", (answer) => answer.status() >= 500 && failures.push(`${answer.status()} ${answer.url()}`));
  for (const [name, [address, texts]] of Object.entries(PAGES)) {
    try {
      failures.length = 0;
      await page.goto(`${base}/#${address}`);
      for (const text of texts) await page.getByText(text).filter({visible: true}).first().waitFor();
      await page.screenshot({path: `${given.shots}/mlflow-${name.replace(" ", "-")}.png`});
      outcomes[name] = failures.length ? failures.join("; ") : null;
    } catch (error) {
      outcomes[name] = error.message.split("\n").slice(0, 4).join("\n");
      await page.screenshot({path: `${given.shots}/failed-mlflow-${name.replace(" ", "-")}.png`});
    }
  }
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(outcomes));
process.exit(0);
