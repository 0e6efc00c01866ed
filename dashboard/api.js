// Calls of the server's REST routes, and what looks again from time to time.
//
// Credentials, where the server asks for them, are kept for this tab only and are sent with each call.

const KEPT = "cairn.authorization";

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const signedIn = () => sessionStorage.getItem(KEPT) !== null;
export const signOut = () => sessionStorage.removeItem(KEPT);
export function signIn({user, password, token}) {
  const utf8 = String.fromCharCode(...new TextEncoder().encode(user + ":" + password));
  sessionStorage.setItem(KEPT, token ? "Bearer " + token : "Basic " + btoa(utf8));
}

let askForCredentials = null;
export const onUnauthenticated = (ask) => (askForCredentials = ask);

// What index.html has asked for already; once.
function takeAsked(name) {
  const response = asked.get(name);
  asked.delete(name);
  return response;
}

// The response, with the credentials that the page has, or is given when it is asked for them.
async function send(method, path, body, signal, askedAs) {
  const headers = {};
  const authorization = sessionStorage.getItem(KEPT);
  if (authorization) headers.Authorization = authorization;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const content = body === undefined ? undefined : JSON.stringify(body);
  let response;
  try {
    // Not the browser's own dialog for credentials: the page asks.
    const ask = () => fetch(path, {method, headers, body: content, signal, credentials: "omit"});
    response = (await takeAsked(askedAs ?? path + (content ?? ""))) ?? (await ask());
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "UNREACHABLE", "The server cannot be reached. It may be stopped: start it and try again.");
  }
  if (response.status === 401 && askForCredentials) {
    await askForCredentials();
    return send(method, path, body, signal);
  }
  if (response.ok) return response;
  const text = await response.text();
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = null;
  }
  throw new ApiError(
    response.status,
    answer?.error_code,
    answer?.message ?? answer?.detail ?? response.status + " " + response.statusText,
  );
}

async function request(method, path, body, signal, askedAs) {
  const response = await send(method, path, body, signal, askedAs),
    text = await response.text();
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return text;
  }
}

function withQuery(path, args) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(args ?? {}))
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") query.append(name, one);
  const text = query.toString();
  return text ? path + "?" + text : path;
}

export const get = (path, args, signal) => request("GET", withQuery(path, args), undefined, signal);
// `askedAs`: the name of the answer that index.html may have asked for.
export const post = (path, body, signal, askedAs) => request("POST", path, body ?? {}, signal, askedAs);

const MLFLOW = "api/2.0/mlflow/";
export const mlflow = {
  get: (path, args, signal) => get(MLFLOW + path, args, signal),
  post: (path, body, signal, askedAs) => post(MLFLOW + path, body, signal, askedAs),
};

// What the route gives, or null where this server has none of that name (or not yet).
export async function optional(call) {
  try {
    return await call;
  } catch (error) {
    if (error.status === 404 || error.status === 501) return null;
    throw error;
  }
}

// Calls `look` now and every so many seconds for as long as the page shows what it is for. Does nothing while the tab is
// hidden, looks at once when it comes to the front, and waits longer while the server does not answer.
export function keepLooking(seconds, signal, look) {
  let timer = 0,
    failures = 0,
    underWay = false;
  async function turn() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden || underWay) return;
    underWay = true;
    try {
      await look();
      failures = 0;
    } catch (error) {
      if (error.name !== "AbortError") ++failures;
    }
    underWay = false;
    if (!signal.aborted) timer = setTimeout(turn, seconds * 1000 * Math.min(2 ** failures, 16));
  }
  document.addEventListener("visibilitychange", turn, {signal});
  signal.addEventListener("abort", () => clearTimeout(timer));
  return turn();
}

// -- what the server tells by itself ---------------------------------------------------------------------------------

const pause = (seconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), {once: true});
  });

// Until the tab is seen, or the page is left.
const seen = (signal) =>
  new Promise((done) => {
    const look = () => (!document.hidden || signal.aborted) && done();
    document.addEventListener("visibilitychange", look, {signal});
    signal.addEventListener("abort", done, {once: true});
    look();
  });

// Server-sent events, by fetch and not by EventSource, which sends no credentials of the page's own. Returns when the server ends the
// stream; throws when it breaks. A value that comes while the one before is taken waits for it.
async function listen(topic, signal, take) {
  const response = await send("GET", withQuery("api/v1/events", {topic}), undefined, signal),
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    // Of several that came together the last one holds.
    const data = events.map((event) => /^data: (.*)$/m.exec(event)?.[1]).filter(Boolean);
    if (data.length) await take(JSON.parse(data.at(-1)));
  }
}

const AGAIN = 5; // looks between two tries to listen

// Gives `take` the value of a topic, first by `look` and then whenever the server tells that it has changed, for as long as the page shows
// what it is for; every so many seconds by `look` where it cannot be listened to. Nothing is open while the tab is hidden.
export async function follow(topic, seconds, signal, look, take) {
  const taken = async (value) => {
    try {
      await take(value);
    } catch (error) {
      if (!(error instanceof ApiError) && error.name !== "AbortError") console.error(error); // a mistake of the page's own
      throw error;
    }
  };
  const poll = async () => taken(await look());
  const tryPoll = () => poll().catch(() => {});
  await tryPoll();
  (async () => {
    while (!signal.aborted) {
      await seen(signal);
      const shown = new AbortController(),
        close = () => document.hidden && shown.abort();
      signal.addEventListener("abort", () => shown.abort(), {signal: shown.signal});
      document.addEventListener("visibilitychange", close, {signal: shown.signal});
      if (signal.aborted) return;
      try {
        await listen(topic, shown.signal, taken);
        await pause(1, shown.signal); // it was ended: for a new one, or because the server stops
      } catch {
        for (let i = 0; i < AGAIN && !shown.signal.aborted; ++i) {
          await tryPoll();
          await pause(seconds, shown.signal);
        }
      }
      shown.abort();
    }
  })();
}
