/**
 * Keeps the page's files for when there is no network, and adds the two headers with which a page may have shared memory,
 * so threads, from hosts that cannot send them. Everything else it leaves alone.
 */

declare const self: ServiceWorkerGlobalScope;
/** Written in front of this file by the build: a name that changes with any file, and all files of the page. */
declare const built: Built;
export interface Built {
  version: string;
  files: string[];
}

const prefix = "fractalgen-studio-";
const cacheName = `${prefix}${built.version}`;
const scope = self.registration.scope;
/** The runtime and the weights are large: of these what is used is kept, when it is used. */
const small = built.files.filter((file) => !/\.wasm$|\.safetensors$|^index\.html$/.test(file));

self.addEventListener("install", (event) => {
  const prepare = async () => {
    const cache = await caches.open(cacheName);
    await cache.addAll([scope, ...small.map((file) => new URL(file, scope).href)]);
    await self.skipWaiting();
  };
  event.waitUntil(prepare());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys())
      if (name.startsWith(prefix) && name !== cacheName) await caches.delete(name);
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*$/, "");
  const page = address === scope || address === `${scope}index.html`;
  // Also of a newer version, whose page may come before its service worker.
  const file = ["assets/", "models/"].some((folder) => address.startsWith(scope + folder));
  const served = ["models.json", "served/"].some((path) => address.startsWith(scope + path));
  if (request.method === "GET" && (page || file || served))
    event.respondWith(answer(page ? scope : address, { fresh: page || served }));
});

/** The page itself and a server's models come from the network where there is one, as they may be others; files never change. */
async function answer(address: string, { fresh }: { fresh: boolean }): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(address);
  if (kept && !fresh) return isolated(kept);
  try {
    const response = await fetch(address, fresh ? { cache: "no-cache" } : {});
    if (response.ok) await cache.put(address, response.clone());
    return isolated(response);
  } catch (error) {
    if (kept) return isolated(kept);
    throw error;
  }
}

function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
