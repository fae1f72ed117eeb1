/** Every parameter of a model, as declared by its networks, and its initial value. */

import type { ModelConfig } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { type Key, normal, permutation, uniform } from "../core/random.ts";
import type { Parameter } from "../layers/parameters.ts";
import { networksOf } from "./networks.ts";

export type { Parameter } from "../layers/parameters.ts";

/** All parameters, in the order of the published state dict, by which its optimiser state is indexed. */
export const modelParameters = (config: ModelConfig): Parameter[] => networksOf(config).parameters;

/** Initialisations that differ from the published ones. */
export interface Starts {
  codebookStart?: "normal" | "cosine";
  residualStart?: "xavier" | "zero";
}

/**
 * Whether weight decay applies: to every parameter of two or more dimensions that is not a bias, including embeddings
 * and positions. Of these, only biases start at zero.
 */
export const decays = ({ start, shape }: Parameter): boolean => shape.length > 1 && start !== "zeros";

/** How many matrices are stacked in a weight that Muon updates; 0 for parameters that AdamW updates. */
export const muonMatrices = ({ block, matrices }: Parameter): number => (block ? matrices : 0);

/** The group of a parameter; each group has its own learning rate. "other" covers norms, biases and conditions. */
export function rateGroup(parameter: Parameter): "blocks" | "codebooks" | "embeddings" | "other" {
  if (parameter.block) return parameter.matrices > 0 ? "blocks" : "other";
  if (parameter.start === "codebook") return "codebooks";
  return decays(parameter) ? "embeddings" : "other";
}

/**
 * A parameter's initial value, as published unless the third argument says otherwise; `key` is the parameter's own key.
 */
export function startingValue(
  { shape, start }: Parameter,
  key: Key,
  { codebookStart = "normal", residualStart = "xavier" }: Starts = {},
): Float32Array {
  const value = new Float32Array(product(shape));
  if (start === "ones") return value.fill(1);
  if (start === "codebook" && codebookStart === "cosine") return cosineCodebook(shape, key);
  if (start === "normal" || start === "codebook") return value.map((_, i) => 0.02 * normal(key, i));
  if (start === "residual" && residualStart === "zero") return value;
  if (start === "xavier" || start === "residual") {
    const bound = Math.sqrt(6 / (shape[0] + shape[1]));
    return value.map((_, i) => bound * (2 * uniform(key, i) - 1));
  }
  return value;
}

/** Mean norm of a cosine codebook's rows. */
const codebookNorm = 0.6;

/**
 * A codebook [256, width] in which neighbouring values have similar rows: row v holds cos(pi k (v + 1/2) / 256) / k for
 * k = 1 .. width, in a random order and with random signs, scaled to a mean row norm of 0.6.
 */
function cosineCodebook([values, width]: readonly number[], key: Key): Float32Array {
  const frequency = permutation(key, width);
  const table = new Float32Array(values * width);
  for (let column = 0; column < width; column++) {
    const k = frequency[column] + 1;
    const sign = uniform(key, 2 ** 20 + column) < 0.5 ? -1 : 1;
    for (let v = 0; v < values; v++)
      table[v * width + column] = (sign * Math.cos((Math.PI * k * (v + 0.5)) / values)) / k;
  }
  let total = 0;
  for (let v = 0; v < values; v++) total += Math.hypot(...table.subarray(v * width, (v + 1) * width));
  const scale = (codebookNorm * values) / total;
  return table.map((x) => scale * x);
}
