/** The models that the page can open: those of the server that it comes from, or the one that ships with it. */

import { didYouMean, UserError } from "../core/errors.ts";
import { decoded } from "./address.ts";

export interface OfferedModel {
  name: string;
  /** The addresses of its two files, and how large the weights are where that is known. */
  config: string;
  weights: string;
  bytes?: number;
}

/** Written into the page by the build: a page asks for the files that it was built with, whatever a host or a cache has. */
declare const SHIPPED_MODEL: OfferedModel;
export const shipped: OfferedModel = SHIPPED_MODEL;

/** `base` is the page's folder. The shipped model is always in the list, unless the server has one of its name. */
export async function offeredModels(base: URL): Promise<OfferedModel[]> {
  const own = await serversModels(base);
  const others = own.some(({ name }) => name === shipped.name) ? [] : [shipped];
  const absolute = (path: string) => new URL(path, base).href;
  return [...own, ...others].map((model) => ({
    ...model,
    config: absolute(model.config),
    weights: absolute(model.weights),
  }));
}

/** None where there is no such list: some hosts answer with a page of their own. */
async function serversModels(base: URL): Promise<OfferedModel[]> {
  try {
    const found: unknown = await (await fetch(new URL("models.json", base), { cache: "no-cache" })).json();
    if (!Array.isArray(found)) return [];
    return (found as { name: string; folder: string }[]).map(({ name, folder }) => ({
      name,
      config: `${folder}config.json`,
      weights: `${folder}model.safetensors`,
    }));
  } catch {
    return [];
  }
}

/** The model that an address asks for. An address that names none means the shipped one, wherever it is opened. */
export function modelIn(address: string, offered: readonly OfferedModel[]): OfferedModel {
  const field = /(?:^#?|&)model=([^&]*)/.exec(address)?.[1];
  if (field === undefined && /^#?$/.test(address)) return offered[0];
  const name = field === undefined ? shipped.name : decoded(field);
  const found = offered.find((model) => model.name === name);
  if (found) return found;
  const names = offered.map((model) => model.name);
  throw new UserError(
    `the link asks for the model "${name}", and there is ${names.join(", ")}${didYouMean(name, names)}`,
  );
}
