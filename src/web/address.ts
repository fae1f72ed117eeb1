/** Stores the page's state in its address after #, so that links can share it. Independent of the page. */

import { unzlibSync, zlibSync } from "fflate";
import { type ClassNames, parseClasses } from "../config/classes.ts";
import { type ModelConfig, placedLevels } from "../config/model.ts";
import {
  type SamplingName,
  samplingNames,
  type SamplingSetting,
  samplingSetting,
  type SamplingSettings,
} from "../config/sampling.ts";
import { readSetting, writeSetting } from "../config/setting.ts";
import { UserError, worded } from "../core/errors.ts";
import { kebabCase } from "../core/names.ts";
import { kindOf } from "../levels/table.ts";
import { settingsOf } from "../sample/settings.ts";
import { type DeviceWish, deviceWishes, type Edit } from "./protocol.ts";

/** Everything that the images depend on, and what is shown of them. */
export interface Settings extends SamplingSettings {
  /** The model's name; without it, the model that ships with the page. */
  model?: string;
  classes: number[];
  count: number;
  seed: number;
  device: DeviceWish;
  /** The enlarged image, and the number of steps shown; all steps by default. */
  selected: number;
  step?: number;
  /** Shows the model's uncertainty instead of the image. */
  view?: "entropy";
  /** The redrawn image, the painted mask, and the ring added to it. */
  edit?: Edit;
}

export const countMost = 36;
/** The range of a setting's slider, wide enough for the model's default; undefined for a setting without a slider. */
export function sliderRange(name: SamplingName, config: ModelConfig): readonly [number, number] | undefined {
  const { slider, most = Infinity } = samplingSetting(name) as SamplingSetting & { most?: number };
  if (!slider) return undefined;
  const own = [settingsOf({}, config)[name]].flat(2).map(Number);
  return [Math.min(slider[0], ...own), Math.min(most, Math.max(slider[1], ...own.map((value) => 2 * value)))];
}

export const defaultSettings = (config: ModelConfig): Settings => ({
  classes: [0],
  count: 4,
  seed: 1,
  ...settingsOf({}, config),
  device: "auto",
  selected: 0,
});

/** The most steps per level for a quick picture, and of the first level if levels inside it take as many as ever. */
const quickMost = [8, 4];
const quickFirst = 4;

/** Returns the iterations for a quick picture, or undefined if the model's defaults are no more. */
export function quickIterations(config: ModelConfig): number[] | undefined {
  const { iterations } = settingsOf({}, config);
  const reducible = placedLevels(config).map((level) => kindOf(level).order.hides);
  const [first, ...rest] = quickMost;
  const most = [reducible.includes(false) ? quickFirst : first, ...rest];
  const quick = iterations.map((own, l) => (reducible[l] ? Math.min(own, most[Math.min(l, most.length - 1)]) : own));
  return quick.some((steps, l) => steps !== iterations[l]) ? quick : undefined;
}

/** The settings of a page opened without a link: few steps, and four classes spread over the list if there are many. */
export function firstSettings(config: ModelConfig): Settings {
  const usual = defaultSettings(config);
  const { length } = config.classes;
  const classes = length < 8 ? usual.classes : [0, 1, 2, 3].map((i) => Math.floor((i * length) / 4));
  return { ...usual, classes, iterations: quickIterations(config) ?? usual.iterations };
}

/** Returns "classes=face,heart&n=4&seed=1…". Settings that equal the model's defaults are left out. */
export function writeAddress(settings: Settings, config: ModelConfig): string {
  const usual = defaultSettings(config);
  const fields: [string, string | undefined][] = [
    ["model", settings.model && encodeURIComponent(settings.model)],
    ["classes", settings.classes.map((label) => encodeURIComponent(config.classes[label])).join(",")],
    ["n", String(settings.count)],
    ["seed", String(settings.seed)],
    ...samplingNames.map((name): [string, string | undefined] => {
      const [own, models] = [settings, usual].map((from) => writeSetting(samplingSetting(name), from[name] as never));
      return [kebabCase(name), own === models ? undefined : own];
    }),
    ["device", settings.device === "auto" ? undefined : settings.device],
    ["image", settings.selected === 0 ? undefined : String(settings.selected + 1)],
    ["step", settings.step === undefined ? undefined : String(settings.step)],
    ["view", settings.view === "entropy" ? "uncertainty" : undefined],
    ["from", settings.edit && packed(settings.edit.image)],
    ["mask", settings.edit && packed(bits(settings.edit.mask))],
    ["ring", settings.edit?.ring ? String(settings.edit.ring) : undefined],
  ];
  return fields.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`])).join("&");
}

/** Reads an address; omitted settings have the model's defaults. Throws a `UserError` for invalid values. */
export function readAddress(text: string, config: ModelConfig): Settings {
  const fields = new Map(
    text
      .replace(/^#/, "")
      .split("&")
      .filter(Boolean)
      .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
  );
  const usual = defaultSettings(config);
  const number = (key: string, least: number, most: number, otherwise: number): number => {
    const found = fields.get(key);
    return found === undefined
      ? otherwise
      : inLink(key, () => readSetting(key, { kind: "whole", least, most }, found), found);
  };
  const count = number("n", 1, countMost, usual.count);
  const settings: Settings = {
    classes: fields.has("classes") ? labelsIn(fields.get("classes")!, config) : usual.classes,
    count,
    seed: number("seed", 0, Number.MAX_SAFE_INTEGER, usual.seed),
    ...samplingIn(fields, config),
    device: deviceIn(fields.get("device") ?? "auto"),
    selected: number("image", 1, count, 1) - 1,
  };
  if (fields.has("model")) settings.model = decoded(fields.get("model")!);
  if (fields.has("step")) settings.step = number("step", 0, Number.MAX_SAFE_INTEGER, 0);
  const view = fields.get("view") ?? "image";
  if (view === "uncertainty") settings.view = "entropy";
  else if (view !== "image") throw new UserError(`the link's view should be image or uncertainty, not "${view}"`);
  if (fields.has("from") || fields.has("mask")) settings.edit = editIn(fields, config, number("ring", 0, 1, 0));
  return settings;
}

/** Decodes a field of an address. Throws a `UserError` if it is cut in the middle of a character. */
export function decoded(field: string): string {
  try {
    return decodeURIComponent(field);
  } catch {
    throw new UserError(`the link is cut short at "${field}"; copy the whole link`);
  }
}

/** Names are split before they are decoded, because they may contain commas. */
const labelsIn = (text: string, config: ClassNames): number[] =>
  text
    .split(",")
    .flatMap((name) => inLink("classes", () => parseClasses(decoded(name), config)))
    .flat();

/** The sampling settings of a link, with the model's defaults for the others. */
function samplingIn(fields: ReadonlyMap<string, string>, config: ModelConfig): SamplingSettings {
  const given = samplingNames.flatMap((name) => {
    const [key, setting] = [kebabCase(name), samplingSetting(name)];
    const text = fields.get(key);
    if (text === undefined) return [];
    const [least, most] = sliderRange(name, config) ?? [];
    const narrowed = least === undefined ? setting : { ...setting, least, most };
    const read = () => settingsOf({ [name]: readSetting(name, narrowed, text) }, config)[name];
    return [[name, inLink(key, read, text)]];
  });
  return settingsOf(Object.fromEntries(given), config);
}

/** Rewords a `UserError` for someone who has a link and not a form; `text` is the field's value. */
function inLink<T>(key: string, read: () => T, text?: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const { expected } = error.mistake;
    throw new UserError(
      expected === undefined
        ? worded(error.mistake, { setting: () => `the link's ${key}`, hint: (hint) => hint.do })
        : `the link's ${key} should be ${expected}, not "${text}"`,
    );
  }
}

const deviceIn = (text: string): DeviceWish =>
  inLink("device", () => readSetting("device", { kind: "choice", choices: deviceWishes }, text), text);

function editIn(fields: Map<string, string>, { imageSize, channels }: ModelConfig, ring: number): Edit {
  const pixels = imageSize ** 2;
  const image = unpacked(fields.get("from"), pixels * channels);
  const mask = unpacked(fields.get("mask"), Math.ceil(pixels / 8));
  if (!image || !mask) throw new UserError("the link's picture is cut short; copy the whole link");
  const painted = Uint8Array.from({ length: pixels }, (_, i) => (mask[i >> 3] >> (i & 7)) & 1);
  return { image, mask: painted, ...(ring > 0 ? { ring } : {}) };
}

/** Packs eight mask values into each byte. */
function bits(mask: Uint8Array): Uint8Array {
  const found = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((value, i) => (found[i >> 3] |= value << (i & 7)));
  return found;
}

function packed(bytes: Uint8Array): string {
  const text = Array.from(zlibSync(bytes, { level: 9 }), (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Returns undefined if the text does not decode to `length` bytes. */
function unpacked(text: string | undefined, length: number): Uint8Array | undefined {
  try {
    const bytes = atob((text ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    const found = unzlibSync(
      Uint8Array.from(bytes, (character) => character.charCodeAt(0)),
      { out: new Uint8Array(length) },
    );
    return found.length === length ? found : undefined;
  } catch {
    return undefined;
  }
}
