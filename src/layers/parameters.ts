/**
 * How layers declare their parameters: once, where they are built, in the order of the published checkpoints. The
 * declared parameters form the list of a model's parameters. Knows no values.
 */

import { parameter } from "../graph/build.ts";
import type { Tensor } from "../graph/tensor.ts";

/** A parameter of a model: its name in files, its shape and its initialisation. */
export interface Parameter {
  /** As in the published checkpoints. */
  name: string;
  shape: number[];
  /**
   * normal: standard deviation 0.02; xavier: uniform within sqrt(6 / (in + out)); codebook and residual: by default
   * normal and xavier, as published, unless changed by `Starts`.
   */
  start: "normal" | "xavier" | "ones" | "zeros" | "codebook" | "residual";
  /** How many matrices are stacked in a dense layer's weight (3 for query, key and value); 0 for other parameters. */
  matrices: number;
  /** Whether it belongs to a transformer block. */
  block: boolean;
  /** The level it belongs to, counted from 0, and the network of that level. */
  level: number;
  owner: "classes" | "level" | "guidingPixel" | "pixels";
}

/** Declares a parameter and returns it as a tensor. */
export interface Declare {
  (name: string, shape: number[], start: Parameter["start"], matrices?: number): Tensor;
  /** Returns a declarer that adds a prefix. */
  within(prefix: string): Declare;
  /** Returns a declarer for transformer block i. */
  block(i: number): Declare;
}

type Owner = Pick<Parameter, "level" | "owner">;

/** Creates a declarer that appends to `parameters`. */
export function declaring(
  parameters: Parameter[],
  owner: Owner,
  { prefix = "", block = false }: { prefix?: string; block?: boolean } = {},
): Declare {
  const declare = (name: string, shape: number[], start: Parameter["start"], matrices = 0): Tensor => {
    parameters.push({ name: prefix + name, shape, start, matrices, block, ...owner });
    return parameter(prefix + name, shape);
  };
  return Object.assign(declare, {
    within: (inner: string) => declaring(parameters, owner, { prefix: prefix + inner, block }),
    block: (i: number) => declaring(parameters, owner, { prefix: `${prefix}blocks.${i}.`, block: true }),
  });
}

/** Declares `depth` blocks with `one`. */
export const blocks = <Block>(declare: Declare, depth: number, one: (declare: Declare) => Block): Block[] =>
  Array.from({ length: depth }, (_, i) => one(declare.block(i)));

/** A linear layer: weight [D, E] and an optional bias [D]. */
export interface Dense {
  weight: Tensor;
  bias?: Tensor;
}

/** How a linear layer begins, and how many matrices are stacked in it. */
export interface DenseOptions {
  start?: Parameter["start"];
  matrices?: number;
}

/** A linear layer without a bias. */
export const declareUnbiased = (
  declare: Declare,
  name: string,
  [to, from]: readonly [to: number, from: number],
  { start = "xavier", matrices = 1 }: DenseOptions = {},
): Dense => ({ weight: declare(`${name}.weight`, [to, from], start, matrices) });

/** Declares a linear layer with a bias: `NAME.weight` [D, E] and `NAME.bias` [D]. */
export const declareDense = (
  declare: Declare,
  name: string,
  [to, from]: readonly [to: number, from: number],
  options: DenseOptions = {},
): Required<Dense> => ({
  ...declareUnbiased(declare, name, [to, from], options),
  bias: declare(`${name}.bias`, [to], "zeros"),
});

/** Weight and bias [D] of a layer normalisation. */
export interface Norm {
  weight: Tensor;
  bias: Tensor;
}

/** Declares a layer normalisation: `NAME.weight` and `NAME.bias` [D]. */
export const declareNorm = (declare: Declare, name: string, width: number): Norm => ({
  weight: declare(`${name}.weight`, [width], "ones"),
  bias: declare(`${name}.bias`, [width], "zeros"),
});
