/**
 * A wider model that computes the same as a narrower one, so that a trained model can grow (Net2Net, Chen et al. 2016,
 * arXiv 1511.05641).
 */

import { type ModelConfig, pixelLevel, placedLevels } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { derive, type Key, uniform } from "../core/random.ts";
import { kindOf } from "../levels/table.ts";
import { modelParameters, type Parameter } from "./parameters.ts";

/** How many times wider a level and the one above it are: 1 and 1 if a level fits as it is. */
export interface Growth {
  own: number;
  above: number;
}

/**
 * How a level of `to` grows from that of `from`, or in what it differs, as text. It may have a multiple of its width,
 * with as many times its heads, and so may the level above; all else must be the same. Undefined if `from` has no such
 * level.
 */
export function growthOf(from: ModelConfig, to: ModelConfig, level: number): Growth | string | undefined {
  const [before, after] = [from, to].map((config) => sizesOf(config, level));
  if (!before || !after || before.kind !== after.kind) return undefined;
  const { width, conditionWidth } = after;
  const [own, above] = [width / before.width, conditionWidth / before.conditionWidth];
  const expected: Sizes = { ...before, width, conditionWidth, heads: own * before.heads };
  const differences = Object.entries(after).flatMap(([key, value]) =>
    value === expected[key] ? [] : [`${key} ${value} instead of ${expected[key]}`],
  );
  for (const [key, factor] of Object.entries({ width: own, conditionWidth: above }))
    if (!Number.isInteger(factor)) differences.push(`${key} ${after[key]} is not a multiple of ${before[key]}`);
  if (own > 1 && !after.repeatable) differences.push(`levels of the kind "${after.kind}" cannot be widened`);
  return differences.length > 0 ? differences.join(", ") : { own, above };
}

interface Sizes extends Record<string, unknown> {
  kind: string;
  width: number;
  heads: number;
  conditionWidth: number;
  repeatable: boolean;
}

/** All about a level that decides its parameters. */
function sizesOf(config: ModelConfig, index: number): Sizes | undefined {
  const placed = placedLevels(config);
  const pixels = { ...pixelLevel(config), channels: config.channels, conditionWidth: placed.at(-1)!.width };
  if (index === placed.length) return { ...pixels, repeatable: true };
  const level = placed.at(index);
  if (!level) return undefined;
  const {
    conditionsRead: _,
    qkNorm = false,
    heads = level.width,
    ...others
  } = level as typeof level & { qkNorm?: boolean };
  return { ...others, qkNorm, heads, repeatable: kindOf(level).repeatable ?? false };
}

/**
 * Returns a function for the parameters of a model wider than a given one: it computes a parameter's value from that of
 * the narrower model. Every feature of the narrower one is repeated, and what reads the copies divides its weight among
 * them at random, so that they learn different things.
 */
export function widening(
  to: ModelConfig,
): (
  parameter: Parameter,
  from: { data: Float32Array; shape: readonly number[]; key: Key },
) => Float32Array<ArrayBuffer> {
  const parameters = modelParameters(to);
  const placed = placedLevels(to);
  return ({ name, shape, matrices, block, level, owner }, { data, shape: narrow, key }) => {
    // A bias has as many parts as its weight has matrices.
    const weight = parameters.find((one) => one.name === name.replace(/bias$/, "weight"));
    const stacked = weight?.matrices || 1;
    const [rows, columns] = asMatrix(shape);
    const [fromRows, fromColumns] = asMatrix(narrow);
    const divided = matrices > 0 && columns > fromColumns;
    // A level may read several conditions side by side.
    const joined = owner === "level" && name.endsWith("cond_emb.weight") ? columns / placed[level].conditionWidth : 1;
    const [inputs, fromInputs] = [columns / joined, fromColumns / joined];
    const source = Array.from({ length: columns }, (_, column) => {
      const condition = Math.floor(column / inputs);
      return condition * fromInputs + ((column % inputs) % fromInputs);
    });
    // The logits are products with the codebooks, whose columns are repeated as well.
    const logits = owner === "pixels" && !block && /(^|\.)norm\.(weight|bias)$/.test(name);
    const scale = logits ? fromRows / rows : 1;
    const wide = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      const part = divided ? dividedAmong(derive(key, row), source, fromColumns) : undefined;
      const [stack, inStack] = [Math.floor((row * stacked) / rows), row % (rows / stacked)];
      const from = ((stack * fromRows) / stacked + (inStack % (fromRows / stacked))) * fromColumns;
      for (let column = 0; column < columns; column++)
        wide[row * columns + column] = scale * (part?.[column] ?? 1) * data[from + source[column]];
    }
    return wide;
  };
}

/** The rows of a matrix are all but its last axis; vectors are columns. */
const asMatrix = (shape: readonly number[]): [rows: number, columns: number] =>
  shape.length === 1 ? [shape[0], 1] : [product(shape.slice(0, -1)), shape.at(-1)!];

/** Random positive parts for copies of the features `source`; the parts of a feature add up to 1. */
function dividedAmong(key: Key, source: readonly number[], features: number): Float32Array {
  const parts = Float32Array.from(source, (_, column) => 1 + uniform(key, column));
  const sums = new Float32Array(features);
  parts.forEach((part, column) => (sums[source[column]] += part));
  return parts.map((part, column) => part / sums[source[column]]);
}
