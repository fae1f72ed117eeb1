/** Checks that a data set fits a model. */

import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "./dataset.ts";

/** Throws a UserError if the size, channels or classes of the data differ from the model's. */
export function checkDataset({ imageSize, channels, classes }: ModelConfig, dataset: Dataset): void {
  if (dataset.size !== imageSize || dataset.channels !== channels)
    throw new UserError({
      problem: `the images of ${dataset.name} are ${dataset.size}x${dataset.size} with ${dataset.channels} channels, but the model generates ${imageSize}x${imageSize} with ${channels}`,
    });
  if (dataset.classes.join() !== classes.join())
    throw new UserError({
      problem: `the classes of ${dataset.name} (${few(dataset.classes)}) differ from the model's (${few(classes)})`,
    });
}

const few = (names: readonly string[]): string =>
  names.length <= 10 ? names.join(", ") : `${names.slice(0, 5).join(", ")}, … ${names.length} in all`;
