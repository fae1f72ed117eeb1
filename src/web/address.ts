/** The state of the page as the part of its address after #, so that it can be shared. Knows no page. */

import { unzlibSync, zlibSync } from "fflate";
import { type ClassNames, parseClasses } from "../config/classes.ts";
import type { ModelConfig } from "../config/model.ts";
import { placedLevels } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { DeviceWish } from "./protocol.ts";

/** What the images depend on, and what of them is shown. */
export interface Settings {
  /** By its name; without, the one that ships with the page. */
  model?: string;
  classes: number[];
  count: number;
  seed: number;
  guidance: number;
  temperature: number;
  iterations: number[];
  device: DeviceWish;
  /** The image that is shown large, and after how many steps; without, after all. */
  selected: number;
  step?: number;
  /** The image that was drawn over, [S, S, C], and where: mask [S, S], 1 drawn anew. */
  edit?: { image: Uint8Array; mask: Uint8Array };
}

export const countMost = 36;
/** What sliders show, with room for what the model is drawn with by itself. */
export const limits = ({ sampling }: Pick<ModelConfig, "sampling">) =>
  ({
    guidance: [0, Math.max(10, 2 * sampling.guidance)],
    temperature: [Math.min(0.25, sampling.temperature), Math.max(4, sampling.temperature)],
  }) as const;

export const defaultSettings = ({ sampling, ...config }: ModelConfig): Settings => ({
  classes: [0],
  count: 4,
  seed: 1,
  guidance: sampling.guidance,
  temperature: sampling.temperature,
  iterations: sampling.iterations ?? placedLevels({ sampling, ...config }).map(({ tokens }) => tokens),
  device: "auto",
  selected: 0,
});

/** "classes=face,heart&n=4&seed=1…"; what is as the model says is left out. */
export function writeAddress(settings: Settings, config: ModelConfig): string {
  const usual = defaultSettings(config);
  const fields: [string, string | undefined][] = [
    ["model", settings.model && encodeURIComponent(settings.model)],
    ["classes", settings.classes.map((label) => encodeURIComponent(config.classes[label])).join(",")],
    ["n", String(settings.count)],
    ["seed", String(settings.seed)],
    ["guidance", settings.guidance === usual.guidance ? undefined : String(settings.guidance)],
    ["temperature", settings.temperature === usual.temperature ? undefined : String(settings.temperature)],
    ["iterations", `${settings.iterations}` === `${usual.iterations}` ? undefined : settings.iterations.join(",")],
    ["device", settings.device === "auto" ? undefined : settings.device],
    ["image", settings.selected === 0 ? undefined : String(settings.selected + 1)],
    ["step", settings.step === undefined ? undefined : String(settings.step)],
    ["from", settings.edit && packed(settings.edit.image)],
    ["mask", settings.edit && packed(bits(settings.edit.mask))],
  ];
  return fields.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`])).join("&");
}

/** The settings of an address; what it leaves out is as the model says. UserError for what cannot be. */
export function readAddress(text: string, config: ModelConfig): Settings {
  const fields = new Map(
    text
      .replace(/^#/, "")
      .split("&")
      .filter(Boolean)
      .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
  );
  const usual = defaultSettings(config);
  const number = (key: string, low: number, high: number, otherwise: number, whole = true): number => {
    const found = fields.get(key);
    if (found === undefined) return otherwise;
    const value = found.trim() === "" ? Number.NaN : Number(found);
    if (!(value >= low && value <= high) || (whole && !Number.isSafeInteger(value)))
      throw new UserError(
        `the link's ${key} should be a ${whole ? "whole " : ""}number from ${low} to ${high}, not "${found}"`,
      );
    return value;
  };
  const count = number("n", 1, countMost, usual.count);
  const settings: Settings = {
    classes: fields.has("classes") ? labelsIn(fields.get("classes")!, config) : usual.classes,
    count,
    seed: number("seed", 0, Number.MAX_SAFE_INTEGER, usual.seed),
    guidance: number("guidance", ...limits(config).guidance, usual.guidance, false),
    temperature: number("temperature", ...limits(config).temperature, usual.temperature, false),
    iterations: fields.has("iterations") ? iterationsIn(fields.get("iterations")!, config) : usual.iterations,
    device: deviceIn(fields.get("device")),
    selected: number("image", 1, count, 1) - 1,
  };
  if (fields.has("model")) settings.model = decodeURIComponent(fields.get("model")!);
  if (fields.has("step")) settings.step = number("step", 0, Number.MAX_SAFE_INTEGER, 0);
  if (fields.has("from") || fields.has("mask")) settings.edit = editIn(fields, config);
  return settings;
}

/** Names are taken apart before they are decoded, since they may have commas of their own. */
const labelsIn = (text: string, config: ClassNames): number[] =>
  text
    .split(",")
    .flatMap((name) => parseClasses(decodeURIComponent(name), config, { option: "the link's classes" }))
    .flat();

function iterationsIn(text: string, config: ModelConfig): number[] {
  const levels = placedLevels(config);
  const found = text.split(",").map(Number);
  if (found.length !== levels.length || !found.every((n) => Number.isSafeInteger(n) && n >= 1 && n <= 65536))
    throw new UserError(
      `the link's iterations should be ${levels.length} whole numbers such as ${levels.map(({ tokens }) => tokens).join(",")}, not "${text}"`,
    );
  return found;
}

function deviceIn(text: string | undefined): DeviceWish {
  if (text === undefined || text === "auto" || text === "webgpu" || text === "wasm") return text ?? "auto";
  throw new UserError(`the link's device should be webgpu or wasm, not "${text}"`);
}

function editIn(fields: Map<string, string>, { imageSize, channels }: ModelConfig): Settings["edit"] {
  const pixels = imageSize ** 2;
  const image = unpacked(fields.get("from"), pixels * channels);
  const mask = unpacked(fields.get("mask"), Math.ceil(pixels / 8));
  if (!image || !mask) throw new UserError("the link's picture is cut short; copy the whole link");
  return { image, mask: Uint8Array.from({ length: pixels }, (_, i) => (mask[i >> 3] >> (i & 7)) & 1) };
}

/** Eight of the mask's values in a byte. */
function bits(mask: Uint8Array): Uint8Array {
  const found = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((value, i) => (found[i >> 3] |= value << (i & 7)));
  return found;
}

function packed(bytes: Uint8Array): string {
  const text = Array.from(zlibSync(bytes, { level: 9 }), (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Undefined for what is not `length` bytes. */
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
