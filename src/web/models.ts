/** The models that the page can open: those of the server that it comes from, or the one that ships with it. */

import { didYouMean, UserError } from "../core/errors.ts";

export interface OfferedModel {
  name: string;
  /** The address of its folder, with a slash at the end. */
  folder: string;
}

const shipped: readonly OfferedModel[] = [{ name: "emoji", folder: "models/emoji/" }];

/** `base` is the page's folder. Without a network, or a list, the shipped one. */
export async function offeredModels(base: URL): Promise<OfferedModel[]> {
  const response = await fetch(new URL("models.json", base)).catch(() => undefined);
  const offered = response?.ok ? ((await response.json()) as readonly OfferedModel[]) : shipped;
  return offered.map(({ name, folder }) => ({ name, folder: new URL(folder, base).href }));
}

/** The one that an address asks for, by default the first. */
export function modelIn(address: string, offered: readonly OfferedModel[]): OfferedModel {
  const field = /(?:^#?|&)model=([^&]*)/.exec(address)?.[1];
  if (field === undefined) return offered[0];
  const name = decodeURIComponent(field);
  const found = offered.find((model) => model.name === name);
  if (found) return found;
  const names = offered.map((model) => model.name);
  throw new UserError(
    `the link asks for the model "${name}", and there is ${names.join(", ")}${didYouMean(name, names)}`,
  );
}
