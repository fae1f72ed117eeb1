/** The models of a server, by name. Requests can name only these. */

import type { ModelConfig } from "../config/model.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import type { ModelFolder } from "../files/model.ts";
import { ApiError } from "./errors.ts";

/** A model of a server and the name that requests use for it. */
export interface ServedModel {
  name: string;
  folder: ModelFolder;
  config: ModelConfig;
}

/** Throws a `UserError` for duplicate names or an empty list. */
export function servedModels(given: readonly { name: string; folder: ModelFolder }[]): ServedModel[] {
  const names = given.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError({
      subject: { setting: "model" },
      problem: `two models are called "${twice}"`,
      hint: 'give one of them another "name" in its config.json',
    });
  if (given.length === 0) throw new UserError({ subject: { setting: "model" }, expected: "at least one model" });
  return given.map(({ name, folder }) => ({ name, folder, config: folder.config }));
}

/** Returns the named model, or the first one without a name. Names are looked up only in the list, so they cannot be paths. */
export function modelNamed(models: readonly ServedModel[], name: string | undefined): ServedModel {
  if (name === undefined) return models[0];
  const found = models.find((model) => model.name === name);
  if (found) return found;
  const names = models.map((model) => model.name);
  throw new ApiError(
    404,
    `model: there is no model "${shown(name)}"; this server has ${names.join(", ")}${didYouMean(name, names)}`,
    { param: "model", code: "model_not_found" },
  );
}
