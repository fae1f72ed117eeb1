/**
 * Caches the page's files for offline use, and adds the headers that allow shared memory and threads for hosts that cannot
 * send them. Handles no other requests.
 *
 * File names contain hashes, so all builds share one cache; only the page is cached once per build. HTTP caching is
 * bypassed, so that a page never gets files of another build.
 *
 * An open page keeps its service worker: a new one never calls skipWaiting, and takes over only when no page is open.
 * Otherwise Chromium stops the old one, and a request that it has just begun to answer hangs for minutes. No answer waits
 * for cleanup, and none waits without limit for storage or a silent network if the other can answer.
 */

declare const self: ServiceWorkerGlobalScope;
/** Prepended to this file by the build: a version that changes with any file, the page's script, and all files. */
declare const built: Built;
export interface Built {
  version: string;
  entry: string;
  files: string[];
}

const scope = self.registration.scope;
const addressOf = (file: string): string => new URL(file, scope).href;
/** The scope is part of the name because another folder of the host may contain a studio too. */
const cacheName = `fractalgen-studio ${scope}`;
/** The key of this build's page in the cache. */
const page = addressOf(`?build=${built.version}`);
/** The runtime and the weights are large, so they are cached only when used. */
const small = built.files.filter((file) => !/\.wasm$|\.safetensors$|^(index\.html|models\.json)$/.test(file));
/** Milliseconds that an answer waits for storage or the network before the other is tried. */
const patience = 3000;

self.addEventListener("install", (event) => {
  const prepare = async () => {
    const response = await fetchNow(scope, "reload");
    // During a deployment the host may already serve another build's page; a later visit installs that build.
    if (!(await response.clone().text()).includes(built.entry)) throw new Error("the page belongs to another build");
    await keep(page, response);
    for (const address of small.map(addressOf))
      if (!(await kept(address))) await keep(address, await fetchNow(address, "no-cache"));
  };
  event.waitUntil(prepare());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
  // Not part of the event, because requests wait for its end. If it is interrupted, the next build's activation finishes it.
  void tidy().catch(() => {});
});

/** Removes the files of other builds. */
async function tidy(): Promise<void> {
  const cache = await caches.open(cacheName);
  const own = new Set([page, ...built.files.map(addressOf)]);
  const others = (await cache.keys()).filter(({ url }) => !own.has(url) && !isServed(pathOf(url)));
  // These may include files of another build that is being installed.
  if (self.registration.installing || self.registration.waiting) return;
  for (const other of others) await cache.delete(other);
}

const pathOf = (address: string): string => address.slice(scope.length);
const isServed = (path: string): boolean => /^(models\.json$|served\/)/.test(path);

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*$/, "");
  if (request.method !== "GET" || !address.startsWith(scope)) return;
  const path = pathOf(address);
  if (path === "" || path === "index.html") event.respondWith(answerPage());
  else if (path === "models.json") event.respondWith(answerList(event, address));
  else if (/^(assets|models|served)\//.test(path)) event.respondWith(answerFile(event, address));
});

/** Returns the newest page, or offline this build's cached page, whose files are cached too. */
async function answerPage(): Promise<Response> {
  const newest = fetch(scope, { cache: "no-cache" });
  const response = await soon(newest.catch(() => undefined));
  if (response?.ok) return isolated(response);
  return isolated((await soon(kept(page))) ?? response ?? (await newest));
}

/** Returns a file whose name contains a hash, so it never changes. */
async function answerFile(event: FetchEvent, address: string): Promise<Response> {
  const stored = kept(address);
  const found = await soon(stored);
  if (found) return isolated(found);
  try {
    const response = await fetch(address, { cache: "no-cache" });
    // Some hosts answer with an HTML page if a file is missing.
    if (response.ok && !response.headers.get("content-type")?.startsWith("text/html"))
      event.waitUntil(keep(address, response.clone()));
    return isolated(response);
  } catch (error) {
    const late = await stored;
    if (late) return isolated(late);
    throw error;
  }
}

/** Returns the current list of a server's models, and removes cached files that are no longer in it. */
async function answerList(event: FetchEvent, address: string): Promise<Response> {
  const newest = fetch(address, { cache: "no-cache" });
  const response = await soon(newest.catch(() => undefined));
  if (response?.ok) event.waitUntil(keepList(address, response.clone()).catch(() => {}));
  if (response) return isolated(response);
  return isolated((await soon(kept(address))) ?? (await newest));
}

async function keepList(address: string, response: Response): Promise<void> {
  const list = await response.clone().text();
  await keep(address, response);
  const cache = await caches.open(cacheName);
  for (const { url } of await cache.keys())
    if (pathOf(url).startsWith("served/") && !list.includes(JSON.stringify(pathOf(url)))) await cache.delete(url);
}

/** Resolves with undefined if the promise takes longer than `patience`. */
const soon = <T>(promise: Promise<T>): Promise<T | undefined> =>
  Promise.race([promise, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), patience))]);

async function fetchNow(address: string, cache: RequestCache): Promise<Response> {
  const response = await fetch(address, { cache });
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  return response;
}

/** Caches a response. If storage is full or forbidden, the page works without it. */
async function keep(address: string, response: Response): Promise<void> {
  try {
    const cache = await caches.open(cacheName);
    await cache.put(address, response);
  } catch {
    await response.body?.cancel().catch(() => {});
  }
}

async function kept(address: string): Promise<Response | undefined> {
  try {
    return await (await caches.open(cacheName)).match(address);
  } catch {
    return undefined;
  }
}

function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
