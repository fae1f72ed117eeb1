/** The form controls of the declared sampling settings: one per row of `config/sampling.ts`, chosen by the kind of value. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { kindOf } from "../levels/table.ts";
import { type SamplingName, samplingNames, samplingSetting, type SamplingSettings } from "../config/sampling.ts";
import { type KindName, readSetting, writeSetting } from "../config/setting.ts";
import { UserError, worded } from "../core/errors.ts";
import { kebabCase } from "../core/names.ts";
import { settingsOf } from "../sample/settings.ts";
import { sliderRange } from "./address.ts";
import { make } from "./elements.ts";
import { sentence } from "./words.ts";

interface Control {
  elements: HTMLElement[];
  fill(value: unknown): void;
  value(): unknown;
}

export interface SamplingControls {
  fill(settings: SamplingSettings): void;
  /** Invalid fields are marked as such, so call `reportValidity` on the form first. */
  read(): SamplingSettings;
  /** Sets a single control. */
  set(name: SamplingName, value: unknown): void;
  value(name: SamplingName): unknown;
}

/** Appends the controls to `place`. */
export function samplingControls(place: HTMLElement, config: ModelConfig): SamplingControls {
  const controls = samplingNames.map((name) => {
    const control = controlOf(name, config);
    place.append(...control.elements);
    return [name, control] as const;
  });
  const named = new Map<SamplingName, Control>(controls);
  return {
    set: (name, value) => named.get(name)!.fill(value),
    value: (name) => named.get(name)!.value(),
    fill: (settings) => controls.forEach(([name, { fill }]) => fill(settings[name])),
    read: () => Object.fromEntries(controls.map(([name, { value }]) => [name, value()])) as unknown as SamplingSettings,
  };
}

function controlOf(name: SamplingName, config: ModelConfig): Control {
  const { kind } = samplingSetting(name);
  if (sliderRange(name, config)) return slider(name, config);
  return fields[kind](name, config);
}

/** The help is outside the label, so that screen readers do not read it as the control's name. */
function labelled(name: SamplingName, field: HTMLElement, ...more: HTMLElement[]): HTMLElement[] {
  const { label } = samplingSetting(name);
  field.setAttribute("aria-describedby", `${kebabCase(name)}-help`);
  return [make("label", {}, `${label} `, ...more, field), helpOf(name)];
}

function helpOf(name: SamplingName): HTMLElement {
  const { help, note } = samplingSetting(name);
  const text = [sentence(help), ...(note ? [note] : [])].join(" ");
  return make("p", { className: "help", id: `${kebabCase(name)}-help` }, text);
}

function slider(name: SamplingName, config: ModelConfig): Control {
  const id = kebabCase(name);
  const setting = samplingSetting(name);
  const [least, most] = sliderRange(name, config)!;
  const field = make("input", { id, type: "range", min: String(least), max: String(most), step: "any" });
  const output = make("output", { id: `${id}-value` });
  output.htmlFor.add(id);
  let value: unknown;
  const set = (to: unknown) => {
    value = to;
    output.textContent = writeSetting(setting, to as never);
  };
  field.addEventListener("input", () => set(Math.round(100 * field.valueAsNumber) / 100));
  return {
    elements: labelled(name, field, output),
    // A slider that was not moved keeps its exact value, even if that is a list.
    fill(to) {
      field.value = String([to].flat(2)[0]);
      set(to);
    },
    value: () => value,
  };
}

/** A text field that is validated while typing. */
function text(name: SamplingName, config: ModelConfig): Control {
  const setting = samplingSetting(name);
  const field = make("input", { id: kebabCase(name), type: "text", required: true, autocomplete: "off" });
  const read = () => settingsOf({ [name]: readSetting(name, setting, field.value) }, config)[name];
  field.addEventListener("input", () => {
    field.setCustomValidity("");
    try {
      read();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const plain = { setting: () => "", hint: () => "" };
      field.setCustomValidity(sentence(worded({ ...error.mistake, subject: undefined }, plain)));
    }
  });
  return {
    elements: labelled(name, field),
    fill: (to) => (field.value = writeSetting(setting, to as never)),
    value: read,
  };
}

function choice(name: SamplingName): Control {
  const setting = samplingSetting(name);
  const choices = setting.kind === "choice" ? setting.choices : [];
  const field = make("select", { id: kebabCase(name) });
  field.append(...choices.map((value) => make("option", { value }, value)));
  return { elements: labelled(name, field), fill: (to) => (field.value = String(to)), value: () => field.value };
}

function flag(name: SamplingName): Control {
  const field = make("input", { id: kebabCase(name), type: "checkbox" });
  return { elements: labelled(name, field), fill: (to) => (field.checked = to === true), value: () => field.checked };
}

/** One whole number per level above the pixels. */
function perLevel(name: SamplingName, config: ModelConfig): Control {
  const steps = placedLevels(config).map((level) => {
    const { tokens } = level;
    const field = make("input", { type: "number", min: "1", max: String(tokens), required: true });
    field.disabled = kindOf(level).order.steps(tokens, 1) === tokens; // the number of steps is fixed
    return field;
  });
  const { label, unit } = samplingSetting(name);
  const most = (field: HTMLInputElement) => [field.max, ...(unit ? [unit] : [])].join(" ");
  const labels = steps.map((field, l) => make("label", {}, `Level ${l + 1}, of ${most(field)} `, field));
  const legend = make("legend", {}, label);
  const id = kebabCase(name);
  const box = make("fieldset", {}, legend, make("div", { className: "pair", id }, ...labels));
  box.setAttribute("aria-describedby", `${id}-help`);
  return {
    elements: [box, helpOf(name)],
    fill: (to) =>
      steps.forEach((field, l) => (field.value = String(Math.min(Number(field.max), (to as readonly number[])[l])))),
    value: () => steps.map(({ value }) => Number(value)),
  };
}

const fields: Record<KindName, (name: SamplingName, config: ModelConfig) => Control> = {
  number: text,
  whole: text,
  pair: text,
  numbers: text,
  factors: text,
  several: text,
  spread: text,
  wholes: perLevel,
  choice,
  flag,
};
