/** Everything that changes during training, and how it starts. Knows no files. */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { Moments } from "../core/adamw.ts";
import { derive, seedKey } from "../core/random.ts";
import { modelParameters, type Starts, startingValue } from "../model/parameters.ts";
import { momentsOf } from "./optimizer.ts";

/** Everything that changes during training. */
export interface TrainingState {
  /** Steps done. */
  step: number;
  values: Map<string, Float32Array>;
  /** The moving average of the values, which is used for sampling; the values themselves if there is no average. */
  average: Map<string, Float32Array>;
  moments: Map<string, Moments>;
  /** What gradients are multiplied by in float16, so that small ones are not rounded to 0; missing in float32. */
  lossScale?: number;
}

/** The settings that determine the starting state. */
export type Starting = Starts & { ema: number; optimizer?: TrainingConfig["optimizer"] };

/** A state with random weights, initialised as published unless the settings say otherwise, and zero moments. */
export function startingState(
  config: ModelConfig,
  seed: number,
  { ema, optimizer = "adamw", ...starts }: Starting,
): TrainingState {
  const values = new Map<string, Float32Array>();
  const moments = new Map<string, Moments>();
  modelParameters(config).forEach((parameter, i) => {
    const value = startingValue(parameter, derive(seedKey(seed), i), starts);
    values.set(parameter.name, value);
    moments.set(
      parameter.name,
      momentsOf(parameter, { optimizer }, () => new Float32Array(value.length)),
    );
  });
  return { step: 0, values, average: ema > 0 ? copied(values) : values, moments };
}

/** A copy that shares no memory with `values`. */
export const copied = (values: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> =>
  new Map([...values].map(([name, data]) => [name, data.slice()]));
