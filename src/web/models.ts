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

/** Returns an empty list if the server offers none; some hosts answer with an HTML page instead. */
async function serversModels(base: URL): Promise<OfferedModel[]> {
  try {
    const found: unknown = await (await fetch(new URL("models.json", base), { cache: "no-cache" })).json();
    if (!Array.isArray(found)) return [];
    return found.filter(isOffered);
  } catch {
    return [];
  }
}

const isOffered = (value: unknown): value is OfferedModel => {
  const { name, config, weights } = (value ?? {}) as Record<string, unknown>;
  return [name, config, weights].every((one) => typeof one === "string");
};

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
