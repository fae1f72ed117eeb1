/** Starts the page: the service worker, the model in its worker, and the drawing that the address asks for. */

import type { ModelConfig } from "../config/model.ts";
import { defaultSettings, readAddress, type Settings } from "./address.ts";
import { openClient } from "./client.ts";
import { byId, the } from "./elements.ts";
import { settingsForm } from "./form.ts";
import { throughServiceWorker } from "./isolation.ts";
import { fetchConfig } from "../files/fetched-model.ts";
import { modelIn, type OfferedModel, offeredModels, shipped } from "./models.ts";
import type { Device } from "./protocol.ts";
import { createStudio } from "./studio.ts";
import { plural, sentence } from "./words.ts";

async function start(): Promise<void> {
  await throughServiceWorker();
  const offered = await offeredModels(new URL(".", location.href));
  const { folder, name, config, settings } = await askedFor(location.hash, offered);
  document.title = `${name} · fractalgen studio`;
  const models = offered.map((one) => one.name);
  // Another device is another engine, and another model has other classes: the page begins again, with what the address says.
  const form = settingsForm(config, {
    models,
    onDevice: (device) => beginAgain("device", device === "auto" ? undefined : device),
    onModel: (other) => beginAgain("model", inAddress(other)),
  });
  form.fill(settings);
  addEventListener("hashchange", () => location.reload());
  const client = await openClient({ model: folder, device: settings.device }, (what, share) => {
    byId("status").textContent = `${what}${share === undefined ? "" : ` (${Math.floor(share * 10) * 10}%)`}…`;
    the("progress", "progress").value = share ?? 0;
  });
  showDevice(client.device);
  await createStudio(client, form, name).draw(settings);
}

/** A model's name as addresses have it. */
const inAddress = (name: string) => (name === shipped.name ? undefined : name);

/** The model and settings of an address; where it cannot be followed, the usual ones, and a sentence that says so. */
async function askedFor(
  address: string,
  offered: readonly OfferedModel[],
): Promise<OfferedModel & { config: ModelConfig; settings: Settings }> {
  const complain = (error: unknown) => (byId("error").textContent = sentence(error));
  let model = offered[0];
  try {
    model = modelIn(address, offered);
  } catch (error) {
    complain(error);
    address = "";
  }
  const config = await fetchConfig(`${model.folder}config.json`);
  let settings = defaultSettings(config);
  try {
    settings = readAddress(address, config);
  } catch (error) {
    complain(error);
  }
  return { ...model, config, settings: { ...settings, model: inAddress(model.name) } };
}

/** What other models have too, seed and count, stays; with another device all does. */
function beginAgain(field: "device" | "model", value?: string): void {
  const kept = field === "model" ? /^(n|seed|device)=/ : /^(?!device=)./;
  const fields = location.hash
    .slice(1)
    .split("&")
    .filter((one) => kept.test(one));
  if (value !== undefined) fields.push(`${field}=${encodeURIComponent(value)}`);
  history.replaceState(null, "", `#${fields.join("&")}`);
  location.reload();
}

function showDevice({ provider, threads, reason }: Device): void {
  const name = provider === "webgpu" ? "WebGPU" : `WASM, ${plural(threads, "thread")}`;
  byId("device-name").textContent = name;
  byId("device-reason").textContent = `The model runs in this page; nothing leaves your browser. ${reason}`;
  byId("device-details").classList.add("ready");
}

try {
  await start();
} catch (error) {
  byId("device-details").classList.add("failed");
  byId("device-name").textContent = "Not running";
  byId("status").textContent = "";
  byId("error").textContent = sentence(error);
}
