/**
 * Caches the page's files for offline use, and adds the headers that allow shared memory and threads for hosts that cannot
 * send them. Handles no other requests.
 *
 * This program is the same in all builds, and every page contains the list of its build's files. So a new build does not
 * replace the service worker: while Chromium replaces one, it can stop the old one during a request, which then hangs. A
 * service worker whose program did change never calls skipWaiting and takes over only when no page is open.
 *
 * File names contain hashes, so all builds share one cache. HTTP caching is bypassed, so that a page never gets files of
 * another build. No answer waits for cleanup, and none waits without limit for storage or a silent network if the other can
 * answer.
 */

declare const self: ServiceWorkerGlobalScope;

const scope = self.registration.scope;
const addressOf = (file: string): string => new URL(file, scope).href;
/** The scope is part of the name because another folder of the host may contain a studio too. */
const cacheName = `fractalgen-studio ${scope}`;
/** The keys of two pages: of the newest build whose small files are cached, and of the build before it. */
const newestPage = addressOf("?page=newest");
const previousPage = addressOf("?page=previous");
/** Milliseconds that an answer waits for storage or the network before the other is tried. */
const patience = 3000;
/** Milliseconds after which a download for the cache is given up. */
const downloadMost = 60_000;

self.addEventListener("install", (event) => {
  event.waitUntil(fetchNow(scope, "reload").then(keepBuild).catch(ignore));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** Without storage or during a deployment, the page works without the cache, and the next visit tries again. */
const ignore = (): void => {};

/** The files of a page's build; undefined if it is not the studio's page, as some networks answer with a page of theirs. */
function filesOf(page: string): string[] | undefined {
  const list = /<script type="application\/json" id="files">(.*?)<\/script>/.exec(page)?.[1];
  return list === undefined ? undefined : (JSON.parse(list) as string[]);
}

/** The runtime and the weights are large, so they are cached only when used. */
const isSmall = (file: string): boolean => !/\.wasm$|\.safetensors$/.test(file);

/**
 * Caches the small files of a page's build, and then the page. Keeps the build before it, which a page that waited too long
 * for the network has just received, and removes all others.
 */
async function keepBuild(response: Response): Promise<void> {
  const page = await response.clone().text();
  const files = filesOf(page);
  const cache = await caches.open(cacheName);
  const before = await cache.match(newestPage);
  const previous = (await before?.clone().text()) ?? "";
  if (!files || page === previous) return;
  for (const address of files.filter(isSmall).map(addressOf))
    if (!(await cache.match(address))) await cache.put(address, await fetchNow(address, "no-cache"));
  if (before) await cache.put(previousPage, before);
  await cache.put(newestPage, response);
  const own = new Set([newestPage, previousPage, ...[...files, ...(filesOf(previous) ?? [])].map(addressOf)]);
  for (const { url } of await cache.keys()) if (!own.has(url) && !isServed(pathOf(url))) await cache.delete(url);
}

const pathOf = (address: string): string => address.slice(scope.length);
const isServed = (path: string): boolean => /^(models\.json$|served\/)/.test(path);

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*$/, "");
  if (request.method !== "GET" || !address.startsWith(scope)) return;
  const path = pathOf(address);
  if (path === "" || path === "index.html") event.respondWith(answerPage(event));
  else if (path === "models.json") event.respondWith(answerList(event, address));
  else if (/^(assets|models|served)\//.test(path)) event.respondWith(answerFile(event, address));
});

/** Returns the newest page, or offline the newest one whose files are cached too. */
async function answerPage(event: FetchEvent): Promise<Response> {
  const newest = fetch(scope, { cache: "no-cache", signal: AbortSignal.timeout(downloadMost) });
  event.waitUntil(newest.then((response) => (response.ok ? keepBuild(response.clone()) : undefined)).catch(ignore));
  const response = await soon(newest.catch(() => undefined));
  if (response?.ok) return isolated(response);
  return isolated((await soon(kept(newestPage))) ?? response ?? (await newest));
}

/** Returns a file whose name contains a hash, so it never changes. */
async function answerFile(event: FetchEvent, address: string): Promise<Response> {
  const stored = kept(address);
  const found = await soon(stored);
  if (found) return isolated(found);
  try {
    const response = await fetch(address, { cache: "no-cache" });
    if (response.ok && !isPage(response)) event.waitUntil(keep(address, response.clone()));
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
  if (response?.ok) event.waitUntil(keepList(address, response.clone()).catch(ignore));
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
  const response = await fetch(address, { cache, signal: AbortSignal.timeout(downloadMost) });
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  if (address !== scope && isPage(response)) throw new Error(`${address}: the server answered with a page`);
  return response;
}

/** Some hosts answer with an HTML page if a file is missing. */
const isPage = ({ headers }: Response): boolean => headers.get("content-type")?.startsWith("text/html") === true;

/** Caches a response. If storage is full or forbidden, the page works without it. */
async function keep(address: string, response: Response): Promise<void> {
  try {
    const cache = await caches.open(cacheName);
    await cache.put(address, response);
  } catch {
    await response.body?.cancel().catch(ignore);
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
