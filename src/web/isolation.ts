/** Registers the service worker, which caches the page for offline use and adds the headers that allow threads. */

import { forget, remember, remembered } from "./memory.ts";

const reloaded = "fractalgen-reloaded";
const patience = 15_000;

/** The file name of the page's own script, which is unique to its build. */
const entry = new URL(import.meta.url).pathname.split("/").slice(-2).join("/");

/** Resolves when the service worker controls the page or is not available. Reloads the page once if necessary. */
export async function throughServiceWorker(): Promise<void> {
  if (import.meta.env.DEV || !("serviceWorker" in navigator)) return;
  try {
    const { serviceWorker } = navigator;
    const registering = serviceWorker.register("./service-worker.js", { updateViaCache: "none" });
    registering.catch(() => {});
    const works = serviceWorker.controller !== null || (await activated(registering));
    if (crossOriginIsolated) return void forget("session", reloaded);
    // The page itself was served without the headers.
    if (!works || remembered("session", reloaded) || !remember("session", reloaded)) return;
    location.reload();
    await new Promise<never>(() => {});
  } catch {
    // Private windows may refuse service workers. Everything except offline use works without one.
  }
}

/** Whether a first service worker was installed, which answers from the next load on. False if that takes too long. */
async function activated(registering: Promise<ServiceWorkerRegistration>): Promise<boolean> {
  const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), patience));
  const registration = await Promise.race([registering, late]);
  const worker = registration?.installing;
  // With an active one, the page was reloaded without it (Shift+Reload), and another reload would be too.
  if (!worker || registration.active) return false;
  const settled = new Promise<void>((resolve) => {
    const look = () => ["activated", "redundant"].includes(worker.state) && resolve();
    worker.addEventListener("statechange", look);
    look();
  });
  await Promise.race([settled, late]);
  return worker.state === "activated";
}

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
