/** Starts the page: the service worker, the model's worker, and the drawing described by the address. */

import type { ModelConfig } from "../config/model.ts";
import { fetchConfig } from "../files/fetched-model.ts";
import { defaultSettings, firstSettings, readAddress, type Settings } from "./address.ts";
import { type Client, openClient, usualThreads } from "./client.ts";
import { settingsForm } from "./form.ts";
import { reloadIfReplaced, throughServiceWorker } from "./isolation.ts";
import { studioShown } from "./learn/view.ts";
import { modelIn, type OfferedModel, offeredModels, shipped } from "./models.ts";
import type { DeviceWish } from "./protocol.ts";
import { complain, inWords, say, showDevice, showProgress } from "./status.ts";
import { createStudio } from "./studio.ts";
import { createTabs } from "./tabs.ts";

async function start(): Promise<void> {
  createTabs();
  await throughServiceWorker();
  await studioShown();
  const offered = await offeredModels(new URL(".", location.href));
  const { model, config, settings } = await askedFor(location.hash, offered);
  document.title = `${model.name} · fractalgen studio`;
  // Another device needs another engine, and another model has other classes, so the page reloads with the new address.
  const form = settingsForm(config, {
    models: offered.map((one) => one.name),
    onDevice: (device) => reloadWith("device", device === "auto" ? undefined : device),
    onModel: (other) => reloadWith("model", inAddress(other)),
  });
  form.fill(settings);
  addEventListener("hashchange", () => location.reload());
  const open = async (device: DeviceWish = settings.device): Promise<Client> => {
    showDevice({ kind: "starting" });
    const { weights, bytes } = model;
    const request = { model: { config, weights, bytes }, device, threads: usualThreads() };
    try {
      const client = await openClient(request, opening);
      showDevice({ kind: "ready", device: client.device });
      return client;
    } catch (error) {
      await reloadIfReplaced();
      showDevice({ kind: "failed", reason: inWords(error) });
      throw error;
    }
  };
  await createStudio({ config, form, model: model.name, open }).draw(settings, { early: true });
}

/** Shows progress while a model is opened. The text changes in steps of 10%, because screen readers announce it. */
function opening(what: string, share?: number): void {
  say(`${what}${share === undefined ? "" : ` (${Math.floor(share * 10) * 10}%)`}…`);
  showProgress(share ?? 0);
}

/** A model's name as written in addresses. */
const inAddress = (name: string) => (name === shipped[0].name ? undefined : name);

/** The model and settings of an address. If it is invalid, shows an error and returns the defaults. */
async function askedFor(
  address: string,
  offered: readonly OfferedModel[],
): Promise<{ model: OfferedModel; config: ModelConfig; settings: Settings }> {
  let model = offered[0];
  try {
    model = modelIn(address, offered);
  } catch (error) {
    complain(error);
    address = "";
  }
  const config = await fetchConfig(model.config);
  let settings = defaultSettings(config);
  try {
    settings = /^#?$/.test(address) ? firstSettings(config) : readAddress(address, config);
  } catch (error) {
    complain(error);
  }
  return { model, config, settings: { ...settings, model: inAddress(model.name) } };
}

/** Reloads the page. For another model, keeps only the settings that all models share; for another device, keeps all. */
function reloadWith(field: "device" | "model", value?: string): void {
  const kept = field === "model" ? /^(n|seed|device)=/ : /^(?!device=)./;
  const fields = location.hash
    .slice(1)
    .split("&")
    .filter((one) => kept.test(one));
  if (value !== undefined) fields.push(`${field}=${encodeURIComponent(value)}`);
  history.replaceState(null, "", `#${fields.join("&")}`);
  location.reload();
}

try {
  await start();
} catch (error) {
  await reloadIfReplaced();
  showDevice({ kind: "failed", reason: inWords(error) });
  say("");
  complain(error);
}
