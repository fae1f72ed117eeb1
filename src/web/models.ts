/** The models that the page can open: those of the server that it comes from, or the one that ships with it. */

import { didYouMean, UserError } from "../core/errors.ts";

export interface OfferedModel {
  name: string;
  /** The address of its folder, with a slash at the end. */
  folder: string;
}

export const shipped: OfferedModel = { name: "emoji", folder: "models/emoji/" };

/** `base` is the page's folder. The shipped one is always among them, where the server has none of its name. */
export async function offeredModels(base: URL): Promise<OfferedModel[]> {
  const own = await serversModels(base);
  const others = own.some(({ name }) => name === shipped.name) ? [] : [shipped];
  return [...own, ...others].map(({ name, folder }) => ({ name, folder: new URL(folder, base).href }));
}

/** None where there is no such list: some hosts answer with a page of their own. */
async function serversModels(base: URL): Promise<OfferedModel[]> {
  try {
    const found: unknown = await (await fetch(new URL("models.json", base))).json();
    return Array.isArray(found) ? (found as OfferedModel[]) : [];
  } catch {
    return [];
  }
}

/** The one that an address asks for. An address that names none means the shipped one, wherever it is opened. */
export function modelIn(address: string, offered: readonly OfferedModel[]): OfferedModel {
  const field = /(?:^#?|&)model=([^&]*)/.exec(address)?.[1];
  if (field === undefined && /^#?$/.test(address)) return offered[0];
  const name = field === undefined ? shipped.name : decodeURIComponent(field);
  const found = offered.find((model) => model.name === name);
  if (found) return found;
  const names = offered.map((model) => model.name);
  throw new UserError(
    `the link asks for the model "${name}", and there is ${names.join(", ")}${didYouMean(name, names)}`,
  );
}
