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

async function request(method, path, body, signal) {
  const headers = {};
  const authorization = sessionStorage.getItem(KEPT);
  if (authorization) headers.Authorization = authorization;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    // Not the browser's own dialog for credentials: the page asks.
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "UNREACHABLE", "The server cannot be reached. It may be stopped: start it and try again.");
  }
  const text = await response.text();
  if (response.status === 401 && askForCredentials) {
    await askForCredentials();
    return request(method, path, body, signal);
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = null;
  }
  if (!response.ok)
    throw new ApiError(
      response.status,
      answer?.error_code,
      answer?.message ?? answer?.detail ?? response.status + " " + response.statusText,
    );
  return answer ?? text;
}

function withQuery(path, args) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(args ?? {}))
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") query.append(name, one);
  const text = query.toString();
  return text ? path + "?" + text : path;
}

export const get = (path, args, signal) => request("GET", withQuery(path, args), undefined, signal);
export const post = (path, body, signal) => request("POST", path, body ?? {}, signal);

const MLFLOW = "api/2.0/mlflow/";
export const mlflow = {
  get: (path, args, signal) => get(MLFLOW + path, args, signal),
  post: (path, body, signal) => post(MLFLOW + path, body, signal),
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
