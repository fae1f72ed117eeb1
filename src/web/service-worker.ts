/**
 * Caches the page's files for offline use, and adds the headers that allow shared memory and threads for hosts that cannot
 * send them. Handles no other requests.
 *
 * Each build has its own service worker and cache. A page is cached together with the files it was built with, and HTTP
 * caching is bypassed, so that a page never gets files of another build.
 */

declare const self: ServiceWorkerGlobalScope;
/** Prepended to this file by the build: a version that changes with any file, the page's script, and all files. */
declare const built: Built;
export interface Built {
  version: string;
  entry: string;
  files: string[];
}

const prefix = "fractalgen-studio-";
const cacheName = `${prefix}${built.version}`;
const scope = self.registration.scope;
/** The runtime and the weights are large, so they are cached only when used. */
const small = built.files.filter((file) => !/\.wasm$|\.safetensors$|^(index\.html|models\.json)$/.test(file));

self.addEventListener("install", (event) => {
  const prepare = async () => {
    const page = await fetchNow(scope, "reload");
    // During a deployment the host may already serve another build's page; a later visit installs that build.
    if (!(await page.clone().text()).includes(built.entry)) throw new Error("the page belongs to another build");
    await keep(scope, page);
    for (const file of small) {
      const address = new URL(file, scope).href;
      await keep(address, await fetchNow(address, "no-cache"));
    }
    // An open page keeps the service worker of its own build. If there is none, there is nothing to wait for.
    if (!self.registration.active) await self.skipWaiting();
  };
  event.waitUntil(prepare());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys())
      if (name.startsWith(prefix) && name !== cacheName) {
        await takeFrom(await caches.open(name));
        await caches.delete(name);
      }
    await self.clients.claim();
  };
  event.waitUntil(tidy().catch(() => self.clients.claim()));
});

/** Copies large files from an older cache: unchanged ones, and those this build's page fetched before it had this service worker. */
async function takeFrom(older: Cache): Promise<void> {
  for (const file of built.files.filter((name) => !small.includes(name))) {
    const address = new URL(file, scope).href;
    const found = file.includes("-") && (await older.match(address));
    if (found && !(await kept(address))) await keep(address, found);
  }
}

/** A page of this build served by an older service worker asks this one to take over, which it does unless other pages are open. */
self.addEventListener("message", (event) => {
  const takeOver = async () => {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    if (pages.length < 2) await self.skipWaiting();
  };
  if (event.data?.takeOver === built.entry) event.waitUntil(takeOver());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*$/, "");
  if (request.method !== "GET" || !address.startsWith(scope)) return;
  const path = address.slice(scope.length);
  if (path === "" || path === "index.html") event.respondWith(answerPage());
  else if (/^(models\.json$|served\/)/.test(path)) event.respondWith(answerServed(event, address));
  else if (/^(assets|models)\//.test(path)) event.respondWith(answerFile(event, address));
});

/** Returns the newest page, or offline this build's cached page, whose files are cached too. */
async function answerPage(): Promise<Response> {
  try {
    const response = await fetch(scope, { cache: "no-cache" });
    if (response.ok || !(await kept(scope))) return isolated(response);
  } catch (error) {
    if (!(await kept(scope))) throw error;
  }
  return isolated((await kept(scope))!);
}

/** Returns a file whose name contains a hash, so it never changes. */
async function answerFile(event: FetchEvent, address: string): Promise<Response> {
  const found = await kept(address);
  if (found) return isolated(found);
  const response = await fetch(address, { cache: "no-cache" });
  // Some hosts return an HTML page for a missing file.
  if (response.ok && !response.headers.get("content-type")?.startsWith("text/html"))
    event.waitUntil(keep(address, response.clone()));
  return isolated(response);
}

/** A server's models may change. A cached model is a configuration together with the weights that belong to it. */
async function answerServed(event: FetchEvent, address: string): Promise<Response> {
  try {
    const response = await fetch(address, { cache: "no-cache" });
    if (response.ok) event.waitUntil(keepServed(address, response.clone()));
    return isolated(response);
  } catch (error) {
    const found = await kept(address);
    if (found) return isolated(found);
    throw error;
  }
}

async function keepServed(address: string, response: Response): Promise<void> {
  const tag = ({ headers }: Response) => headers.get("etag") ?? headers.get("last-modified");
  const before = await kept(address);
  if (before && address.endsWith("/config.json") && tag(before) !== tag(response)) {
    const cache = await caches.open(cacheName);
    const folder = address.slice(0, address.lastIndexOf("/") + 1);
    for (const { url } of await cache.keys()) if (url.startsWith(folder)) await cache.delete(url);
  }
  await keep(address, response);
}

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
