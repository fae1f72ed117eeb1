/** The service worker: it keeps the page for when there is no network, and its headers allow threads. */

import { remembered, remember } from "./memory.ts";

const reloaded = "fractalgen-reloaded";
const patience = 15_000;

/** The file of the page's own script, which no other build has. */
const entry = new URL(import.meta.url).pathname.split("/").slice(-2).join("/");

/** Resolves once the page goes through the service worker, or when there is none; reloads the page once if need be. */
export async function throughServiceWorker(): Promise<void> {
  if (import.meta.env.DEV || !("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  try {
    const registration = await serviceWorker.register("./service-worker.js", { updateViaCache: "none" });
    askToTakeOver(registration);
    if (!serviceWorker.controller) await claimed(serviceWorker, registration);
    if (crossOriginIsolated || !serviceWorker.controller || remembered("session", reloaded)) return;
    // The page itself came without the headers.
    if (!remember("session", reloaded)) return;
    location.reload();
    await new Promise<never>(() => {});
  } catch {
    // A private window may refuse; everything but working offline works without.
  }
}

/** Has the service worker of the page's own build follow that of an older one. */
function askToTakeOver(registration: ServiceWorkerRegistration): void {
  const ask = (worker: ServiceWorker | null) => {
    const tell = () => worker?.state === "installed" && worker.postMessage({ takeOver: entry });
    worker?.addEventListener("statechange", tell);
    tell();
  };
  ask(registration.waiting);
  ask(registration.installing);
  registration.addEventListener("updatefound", () => ask(registration.installing));
}

/** Resolves when a service worker has taken the page over, could not be installed, or takes too long. */
const claimed = (serviceWorker: ServiceWorkerContainer, registration: ServiceWorkerRegistration): Promise<void> =>
  new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve());
    setTimeout(resolve, patience);
  });

/**
 * For a page that could not start: reloads it, once, where the host has another build by now and a cache gave this page
 * with files that are no longer there.
 */
export async function reloadIfReplaced(): Promise<void> {
  const key = "fractalgen-replaced";
  if (import.meta.env.DEV || remembered("session", key) === entry) return;
  const page = await fetch(new URL(".", location.href), { cache: "reload" })
    .then((response) => (response.ok ? response.text() : entry))
    .catch(() => entry);
  if (page.includes(entry) || !remember("session", key, entry)) return;
  location.reload();
  await new Promise<never>(() => {});
}
