/** The service worker: it keeps the page for when there is no network, and its headers allow threads. */

const reloaded = "fractalgen-reloaded";
const patience = 15_000;

/** Resolves once the page goes through the service worker, or when there is none; reloads the page once if need be. */
export async function throughServiceWorker(): Promise<void> {
  if (import.meta.env.DEV || !("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  try {
    const registration = await serviceWorker.register("./service-worker.js");
    if (!serviceWorker.controller) await claimed(serviceWorker, registration);
    if (crossOriginIsolated || !serviceWorker.controller || sessionStorage.getItem(reloaded)) return;
    // The page itself came without the headers.
    sessionStorage.setItem(reloaded, "yes");
    location.reload();
    await new Promise<never>(() => {});
  } catch {
    // A private window may refuse; everything but working offline works without.
  }
}

/** Resolves when a service worker has taken the page over, could not be installed, or takes too long. */
const claimed = (serviceWorker: ServiceWorkerContainer, registration: ServiceWorkerRegistration): Promise<void> =>
  new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve());
    setTimeout(resolve, patience);
  });
