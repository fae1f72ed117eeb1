/** The form of what is drawn: filled from settings and read back. */

import { groupedClasses } from "../config/classes.ts";
import type { ModelConfig } from "../config/model.ts";
import type { Settings } from "./address.ts";
import { byId, make, the } from "./elements.ts";
import { shipped } from "./models.ts";
import type { DeviceWish } from "./protocol.ts";
import { samplingControls } from "./sampling-controls.ts";

export interface Form {
  fill(settings: Settings): void;
  /** Undefined where a field is not as it should be, which the browser then says. */
  read(): Omit<Settings, "selected" | "step" | "edit"> | undefined;
}

export interface FormOptions {
  /** Names to choose from. */
  models: readonly string[];
  /** The page has to begin again for another device or model. */
  onDevice(device: DeviceWish): void;
  onModel(name: string): void;
}

export function settingsForm(config: ModelConfig, { models, onDevice, onModel }: FormOptions): Form {
  const form = the("form", "settings");
  const [count, seed] = [the("input", "count"), the("input", "seed")];
  const device = the("select", "device");
  const model = the("select", "model");
  model.replaceChildren(...models.map((name) => make("option", { value: name }, name)));
  byId("models").hidden = models.length < 2;
  // Not when another one is chosen: going through them by keyboard would fetch each.
  the("button", "open-model").addEventListener("click", () => onModel(model.value));
  const classes = config.classes.map((_, label) =>
    make("input", { type: "checkbox", name: "class", value: String(label) }),
  );
  const showGroups = classChoice(config, classes);
  byId("classes").addEventListener("change", () => classes[0].setCustomValidity(""));
  const sampling = samplingControls(byId("sampling"), config);
  let order: readonly number[] = []; // in which a link named the classes
  let opened: string | undefined;
  device.addEventListener("change", () => onDevice(device.value as DeviceWish));
  return {
    fill(settings) {
      order = settings.classes;
      opened = settings.model;
      classes.forEach((box, label) => (box.checked = settings.classes.includes(label)));
      showGroups({ open: true });
      count.value = String(settings.count);
      seed.value = String(settings.seed);
      sampling.fill(settings);
      device.value = settings.device;
      model.value = settings.model ?? shipped.name;
    },
    read() {
      const labels = new Set([...order, ...classes.keys()]);
      const chosen = [...labels].filter((label) => classes[label].checked);
      classes[0].setCustomValidity(chosen.length > 0 ? "" : "Choose at least one class.");
      const group = classes[0].closest("details");
      if (chosen.length === 0 && group) group.open = true; // so that the browser can point at it
      const wrong = byId("sampling").querySelector(":invalid");
      if (wrong) wrong.closest("details")!.open = true; // what is hidden cannot be pointed at
      if (!form.reportValidity()) return undefined;
      return {
        model: opened,
        classes: chosen,
        count: Number(count.value),
        seed: Number(seed.value),
        ...sampling.read(),
        device: device.value as DeviceWish,
      };
    },
  };
}

/**
 * Puts the boxes of the classes on the page, those of a group under its name with one more box for all of them. Returns
 * what brings the groups up to date, which opens those with a chosen class where asked to.
 */
function classChoice(config: ModelConfig, boxes: readonly HTMLInputElement[]): (options?: { open?: boolean }) => void {
  const chip = (box: HTMLInputElement, name: string) => make("label", {}, box, make("span", {}, name));
  const updates = groupedClasses(config).map(({ group, labels }) => {
    const chips = labels.map((label) => chip(boxes[label], config.classes[label]));
    if (group === undefined) {
      byId("classes").append(...chips);
      return () => {};
    }
    const all = make("input", { type: "checkbox", name: "group", value: group });
    const summary = make("summary", {});
    const details = make(
      "details",
      {},
      summary,
      make("div", { className: "chips" }, chip(all, `all of ${group}`), ...chips),
    );
    byId("classes").append(details);
    all.addEventListener("change", () => labels.forEach((label) => (boxes[label].checked = all.checked)));
    return ({ open = false } = {}) => {
      const chosen = labels.filter((label) => boxes[label].checked).length;
      all.checked = chosen === labels.length;
      all.indeterminate = chosen > 0 && chosen < labels.length;
      summary.textContent = chosen === 0 ? group : `${group} (${chosen} of ${labels.length})`;
      if (open) details.open = chosen > 0;
    };
  });
  const update = (options?: { open?: boolean }) => updates.forEach((one) => one(options));
  byId("classes").addEventListener("change", () => update());
  update();
  return update;
}
