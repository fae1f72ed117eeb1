/** Starts the page: the service worker, the model in its worker, and the drawing that the address asks for. */

import { defaultSettings, readAddress, type Settings } from "./address.ts";
import { openClient } from "./client.ts";
import { byId, the } from "./elements.ts";
import { settingsForm } from "./form.ts";
import { throughServiceWorker } from "./isolation.ts";
import { fetchConfig } from "./model.ts";
import type { Device } from "./protocol.ts";
import { createStudio } from "./studio.ts";
import { plural, sentence } from "./words.ts";

const model = new URL("models/emoji/", new URL(".", location.href)).href;

async function start(): Promise<void> {
  await throughServiceWorker();
  const config = await fetchConfig(`${model}config.json`);
  let settings: Settings;
  try {
    settings = readAddress(location.hash, config);
  } catch (error) {
    settings = defaultSettings(config);
    byId("error").textContent = sentence(error);
  }
  // Another device is another engine: the page begins again, with what the address says.
  const form = settingsForm(config, (device) => {
    const fields = location.hash
      .slice(1)
      .split("&")
      .filter((field) => field && !field.startsWith("device="));
    history.replaceState(null, "", `#${[...fields, ...(device === "auto" ? [] : [`device=${device}`])].join("&")}`);
    location.reload();
  });
  form.fill(settings);
  addEventListener("hashchange", () => location.reload());
  const client = await openClient({ model, device: settings.device }, (what, share) => {
    byId("status").textContent = `${what}${share === undefined ? "" : ` (${Math.floor(share * 10) * 10}%)`}…`;
    the("progress", "progress").value = share ?? 0;
  });
  showDevice(client.device);
  await createStudio(client, form).draw(settings);
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
