/** Registers the service worker, which caches the page for offline use and adds the headers that allow threads. */

import { remembered, remember } from "./memory.ts";

const reloaded = "fractalgen-reloaded";
const patience = 15_000;

/** The file name of the page's own script, which is unique to its build. */
const entry = new URL(import.meta.url).pathname.split("/").slice(-2).join("/");

/** Resolves when the service worker controls the page or is not available. Reloads the page once if necessary. */
export async function throughServiceWorker(): Promise<void> {
  if (import.meta.env.DEV || !("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  try {
    const registration = await serviceWorker.register("./service-worker.js", { updateViaCache: "none" });
    askToTakeOver(registration);
    if (!serviceWorker.controller) await claimed(serviceWorker, registration);
    if (crossOriginIsolated || !serviceWorker.controller || remembered("session", reloaded)) return;
    // The page itself was served without the headers.
    if (!remember("session", reloaded)) return;
    location.reload();
    await new Promise<never>(() => {});
  } catch {
    // Private windows may refuse service workers. Everything except offline use works without one.
  }
}

/** Asks the service worker of the page's own build to replace one of an older build. */
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

/** Resolves when a service worker controls the page, fails to install, or takes too long. */
const claimed = (serviceWorker: ServiceWorkerContainer, registration: ServiceWorkerRegistration): Promise<void> =>
  new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve());
    setTimeout(resolve, patience);
  });

/**
 * For a page that could not start: reloads it once if the host has a newer build and this page came from a cache and
 * refers to files that no longer exist.
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
