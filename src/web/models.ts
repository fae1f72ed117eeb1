/** The models that the page can open: those of its server and those that ship with it. */

import { didYouMean, UserError } from "../core/errors.ts";
import { decoded } from "./address.ts";

export interface OfferedModel {
  name: string;
  /** The URLs of its two files, and the size of the weights if known. */
  config: string;
  weights: string;
  bytes?: number;
}

/** Inserted by the build, so that a page always requests the files it was built with, whatever a host or cache holds. */
declare const SHIPPED_MODELS: [OfferedModel, ...OfferedModel[]];
/** The first is the one that links without a model mean. */
export const shipped: typeof SHIPPED_MODELS = SHIPPED_MODELS;

/** `base` is the URL of the page's folder. A shipped model is left out if the server has one of the same name. */
export async function offeredModels(base: URL): Promise<OfferedModel[]> {
  const own = await serversModels(base);
  const others = shipped.filter(({ name }) => !own.some((model) => model.name === name));
  const absolute = (path: string) => new URL(path, base).href;
  return [...own, ...others].map((model) => ({
    ...model,
    config: absolute(model.config),
    weights: absolute(model.weights),
  }));
}

/** Far above what a server offers. */
const mostModels = 1000;
const longestName = 200;

/** Returns an empty list if the server offers none; some hosts answer with an HTML page instead. Skips unusable entries. */
async function serversModels(base: URL): Promise<OfferedModel[]> {
  try {
    const found: unknown = await (await fetch(new URL("models.json", base), { cache: "no-cache" })).json();
    if (!Array.isArray(found)) return [];
    const byName = new Map<string, OfferedModel>();
    for (const model of found.slice(0, mostModels).filter((value) => isOffered(value, base)))
      if (!byName.has(model.name)) byName.set(model.name, model);
    return [...byName.values()];
  } catch {
    return [];
  }
}

function isOffered(value: unknown, base: URL): value is OfferedModel {
  const { name, config, weights, bytes } = (value ?? {}) as Record<string, unknown>;
  const isName = typeof name === "string" && name !== "" && name.length <= longestName;
  const isSize = bytes === undefined || (Number.isSafeInteger(bytes) && (bytes as number) > 0);
  return isName && isSize && [config, weights].every((path) => isHere(path, base));
}

/** Whether a path leads to a file of the page's own host. */
const isHere = (path: unknown, base: URL): boolean =>
  typeof path === "string" && URL.canParse(path, base) && new URL(path, base).origin === base.origin;

/** The model that an address names. A link without a model means the first shipped one; without a link, the first is opened. */
export function modelIn(address: string, offered: readonly OfferedModel[]): OfferedModel {
  const field = /(?:^#?|&)model=([^&]*)/.exec(address)?.[1];
  if (field === undefined && /^#?$/.test(address)) return offered[0];
  const name = field === undefined ? shipped[0].name : decoded(field);
  const found = offered.find((model) => model.name === name);
  if (found) return found;
  const names = offered.map((model) => model.name);
  throw new UserError(
    `the link names the model "${name}", but this page has only ${names.join(", ")}${didYouMean(name, names)}`,
  );
}
