/** The service worker: it keeps the page for when there is no network, and its headers allow threads. */

const reloaded = "fractalgen-reloaded";
const patience = 5000;

/** Resolves once the page goes through the service worker, or when there is none; reloads the page once if need be. */
export async function throughServiceWorker(): Promise<void> {
  if (import.meta.env.DEV || !("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  try {
    await serviceWorker.register("./service-worker.js");
    if (!serviceWorker.controller) await claimed(serviceWorker);
    if (crossOriginIsolated || !serviceWorker.controller || sessionStorage.getItem(reloaded)) return;
    // The page itself came without the headers.
    sessionStorage.setItem(reloaded, "yes");
    location.reload();
    await new Promise<never>(() => {});
  } catch {
    // A private window may refuse; everything but working offline works without.
  }
}

const claimed = (serviceWorker: ServiceWorkerContainer): Promise<void> =>
  new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    setTimeout(resolve, patience);
  });
