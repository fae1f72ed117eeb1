/** The form of what is drawn: filled from settings and read back. */

import type { ModelConfig } from "../config/model.ts";
import { placedLevels } from "../config/model.ts";
import { limits, type Settings } from "./address.ts";
import { byId, make, the } from "./elements.ts";
import type { DeviceWish } from "./protocol.ts";

export interface Form {
  fill(settings: Settings): void;
  /** Undefined where a field is not as it should be, which the browser then says. */
  read():
    | Pick<Settings, "model" | "classes" | "count" | "seed" | "guidance" | "temperature" | "iterations" | "device">
    | undefined;
}

/** `onOther` is told of a device or model that the page has to begin again for, as a field of the address. */
export function settingsForm(
  config: ModelConfig,
  { models, onOther }: { models: readonly string[]; onOther: (field: "device" | "model", value?: string) => void },
): Form {
  const form = the("form", "settings");
  const [count, seed] = [the("input", "count"), the("input", "seed")];
  const device = the("select", "device");
  const model = the("select", "model");
  model.replaceChildren(...models.map((name) => make("option", { value: name }, name)));
  model.closest("label")!.hidden = models.length < 2;
  const classes = config.classes.map((name, label) => {
    const box = make("input", { type: "checkbox", name: "class", value: String(label) });
    byId("classes").append(make("label", {}, box, make("span", {}, name)));
    return box;
  });
  byId("classes").addEventListener("change", () => classes[0].setCustomValidity(""));
  const sliders = (["guidance", "temperature"] as const).map((name) => {
    const slider = the("input", name);
    [slider.min, slider.max] = limits[name].map(String);
    const show = () => (byId(`${name}-value`).textContent = slider.value);
    slider.addEventListener("input", show);
    return { slider, show };
  });
  const steps = placedLevels(config).map(({ tokens, kind }, l) => {
    const field = make("input", { type: "number", min: "1", max: String(tokens), required: true });
    field.disabled = kind === "ar"; // one step for each patch, whatever is asked for
    byId("iterations").append(make("label", {}, `Level ${l + 1}, of ${tokens} `, field));
    return field;
  });
  let order: readonly number[] = []; // in which a link named the classes
  const otherThan = (usual: string, { value }: HTMLSelectElement) => (value === usual ? undefined : value);
  device.addEventListener("change", () => onOther("device", otherThan("auto", device)));
  model.addEventListener("change", () => onOther("model", otherThan(models[0], model)));
  return {
    fill(settings) {
      order = settings.classes;
      classes.forEach((box, label) => (box.checked = settings.classes.includes(label)));
      count.value = String(settings.count);
      seed.value = String(settings.seed);
      sliders.forEach(({ slider, show }, i) => {
        slider.value = String([settings.guidance, settings.temperature][i]);
        show();
      });
      steps.forEach((field, l) => (field.value = String(Math.min(Number(field.max), settings.iterations[l]))));
      device.value = settings.device;
      model.value = settings.model ?? models[0];
    },
    read() {
      const labels = new Set([...order, ...classes.keys()]);
      const chosen = [...labels].filter((label) => classes[label].checked);
      classes[0].setCustomValidity(chosen.length > 0 ? "" : "Choose at least one class.");
      const wrong = steps.find((field) => !field.checkValidity());
      if (wrong) wrong.closest("details")!.open = true; // what is hidden cannot be pointed at
      if (!form.reportValidity()) return undefined;
      return {
        model: otherThan(models[0], model),
        classes: chosen,
        count: Number(count.value),
        seed: Number(seed.value),
        guidance: Number(sliders[0].slider.value),
        temperature: Number(sliders[1].slider.value),
        iterations: steps.map(({ value }) => Number(value)),
        device: device.value as DeviceWish,
      };
    },
  };
}
