/** The settings form: fills it from settings and reads it back. */

import type { ModelConfig } from "../config/model.ts";
import { settingsOf } from "../sample/settings.ts";
import { quickIterations, type Settings } from "./address.ts";
import { classChoice } from "./class-choice.ts";
import { byId, listOf, make, the } from "./elements.ts";
import { shipped } from "./models.ts";
import { deviceLabels, type DeviceWish } from "./protocol.ts";
import { type SamplingControls, samplingControls } from "./sampling-controls.ts";

export interface SettingsForm {
  fill(settings: Settings): void;
  /** Returns undefined if a field is invalid, which the browser then reports. */
  read(): Omit<Settings, "selected" | "step" | "view" | "edit"> | undefined;
}

export interface FormOptions {
  /** The model names to choose from. */
  models: readonly string[];
  /** Called when another device or model is chosen, which requires reloading the page. */
  onDevice(device: DeviceWish): void;
  onModel(name: string): void;
}

export function settingsForm(config: ModelConfig, { models, onDevice, onModel }: FormOptions): SettingsForm {
  const form = the("form", "settings");
  const [count, seed] = [the("input", "count"), the("input", "seed")];
  const device = the("select", "device");
  const deviceIn = listOf(device, deviceLabels);
  const model = the("select", "model");
  model.replaceChildren(...models.map((name) => make("option", { value: name }, name)));
  byId("models").hidden = models.length < 2;
  // Open only on this button: browsing the list by keyboard would otherwise fetch every model.
  the("button", "open-model").addEventListener("click", () => onModel(model.value));
  const classes = classChoice(config);
  const sampling = samplingControls(byId("sampling"), config);
  const showQuality = qualityChoice(config, sampling);
  let opened: string | undefined;
  device.addEventListener("change", () => onDevice(deviceIn()));
  return {
    fill(settings) {
      opened = settings.model;
      classes.fill(settings.classes);
      count.value = String(settings.count);
      seed.value = String(settings.seed);
      sampling.fill(settings);
      showQuality();
      device.value = settings.device;
      model.value = settings.model ?? shipped[0].name;
    },
    read() {
      const chosen = classes.read();
      const wrong = byId("sampling").querySelector(":invalid");
      if (wrong) wrong.closest("details")!.open = true; // the browser cannot point at a hidden field
      if (!form.reportValidity()) return undefined;
      return {
        model: opened,
        classes: chosen,
        count: Number(count.value),
        seed: Number(seed.value),
        ...sampling.read(),
        device: deviceIn(),
      };
    },
  };
}

/** A choice between few steps and the model's default; neither is selected for other values. Returns a function that updates it. */
function qualityChoice(config: ModelConfig, sampling: SamplingControls): () => void {
  const quick = quickIterations(config);
  byId("quality").hidden = quick === undefined;
  if (!quick) return () => {};
  const choices = { quick, full: settingsOf({}, config).iterations };
  const radios = [...document.querySelectorAll<HTMLInputElement>("input[name=quality]")];
  const update = () => {
    const now = String(sampling.value("iterations"));
    for (const radio of radios) radio.checked = String(choices[radio.value as keyof typeof choices]) === now;
  };
  for (const radio of radios)
    radio.addEventListener("change", () => sampling.set("iterations", choices[radio.value as keyof typeof choices]));
  byId("sampling").addEventListener("input", update);
  return update;
}
