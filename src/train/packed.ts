/** Weights and optimiser states as one array of float32: the parameters one after another, in the model's order. */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import type { Moments } from "../core/adamw.ts";
import { modelParameters } from "../model/parameters.ts";
import { momentsOf } from "./optimizer.ts";

/** The number of parameters. */
export const packedLength = (model: ModelConfig): number =>
  modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);

/** Joins arrays by parameter name into one [N]. */
export function packed(model: ModelConfig, values: ReadonlyMap<string, Float32Array>): Float32Array {
  return joined(modelParameters(model).map(({ name }) => values.get(name)!));
}

/** The opposite of `packed`; the arrays are views. */
export function unpacked(model: ModelConfig, all: Float32Array): Map<string, Float32Array> {
  const next = taking(all);
  const found = new Map(modelParameters(model).map(({ name, shape }) => [name, next(product(shape))]));
  next.end();
  return found;
}

/** Joins the moments, and further values of each parameter. */
export const packedMoments = (
  model: ModelConfig,
  moments: ReadonlyMap<string, Moments>,
  rest: Float32Array = new Float32Array(),
): Float32Array =>
  joined([
    ...modelParameters(model).flatMap(({ name }) => {
      const { first, second } = moments.get(name)!;
      return second ? [first, second] : [first];
    }),
    rest,
  ]);

/** The opposite of `packedMoments`, with `count` further values. Zeros without an array. */
export function unpackedMoments(
  model: ModelConfig,
  training: Pick<TrainingConfig, "optimizer">,
  { all, count }: { all?: Float32Array; count: number },
): { moments: Map<string, Moments>; rest: Float32Array } {
  const next = all ? taking(all) : Object.assign((length: number) => new Float32Array(length), { end: () => {} });
  const moments = new Map(
    modelParameters(model).map((one) => [one.name, momentsOf(one, training, () => next(product(one.shape)))]),
  );
  const rest = next(count);
  next.end();
  return { moments, rest };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Takes views one after another, and checks at the end that nothing is left. */
function taking(all: Float32Array): ((length: number) => Float32Array) & { end(): void } {
  let at = 0;
  const take = (length: number) => all.subarray(at, (at += length));
  const end = () => {
    if (at !== all.length) throw new Error(`expected ${at} values of weights or moments, got ${all.length}`);
  };
  return Object.assign(take, { end });
}
