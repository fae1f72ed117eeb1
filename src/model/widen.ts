/**
 * A wider pixel level that computes the same as a narrower one, so that a trained model can grow (Net2Net, Chen et al.
 * 2016, arXiv 1511.05641).
 */

import { type ModelConfig, pixelLevel, placedLevels } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { derive, type Key, uniform } from "../core/random.ts";
import type { Parameter } from "./parameters.ts";

/**
 * Whether the pixel level of `to` can be widened from that of `from`: it has a multiple of its width, as many times its
 * heads, and the same depth and conditions.
 */
export function widens(from: ModelConfig, to: ModelConfig): boolean {
  const [before, after] = [pixelLevel(from), pixelLevel(to)];
  const factor = after.width / before.width;
  const [above, below] = [from, to].map((config) => placedLevels(config).at(-1)!.width);
  return (
    factor > 1 &&
    Number.isInteger(factor) &&
    after.heads === factor * before.heads &&
    before.depth === after.depth &&
    from.channels === to.channels &&
    above === below
  );
}

/**
 * The value of a parameter of a pixel level, from that of a narrower one. Every feature of the narrower one is repeated,
 * and what reads the copies divides its weight among them at random, so that they learn different things. `parameters`
 * are all those of the wider model.
 */
export function widened(
  parameters: readonly Parameter[],
  { name, shape, matrices, block }: Parameter,
  { data, shape: narrow, key }: { data: Float32Array; shape: readonly number[]; key: Key },
): Float32Array {
  // A bias has as many parts as its weight has matrices.
  const weight = parameters.find((one) => one.name === name.replace(/bias$/, "weight"));
  const stacked = weight?.matrices || 1;
  const [rows, columns] = asMatrix(shape);
  const [fromRows, fromColumns] = asMatrix(narrow);
  const divided = matrices > 0 && columns > fromColumns;
  // The logits are products with the codebooks, whose columns are repeated as well.
  const scale = !block && /(^|\.)norm\.(weight|bias)$/.test(name) ? fromRows / rows : 1;
  const wide = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const part = divided ? dividedAmong(derive(key, row), columns, fromColumns) : undefined;
    const [stack, inStack] = [Math.floor((row * stacked) / rows), row % (rows / stacked)];
    const from = (stack * fromRows) / stacked + (inStack % (fromRows / stacked));
    for (let column = 0; column < columns; column++)
      wide[row * columns + column] = scale * (part?.[column] ?? 1) * data[from * fromColumns + (column % fromColumns)];
  }
  return wide;
}

/** Vectors are columns. */
const asMatrix = ([rows, ...others]: readonly number[]): [rows: number, columns: number] => [rows, product(others)];

/** Random positive parts for `columns` copies of `fromColumns` features; the parts of a feature add up to 1. */
function dividedAmong(key: Key, columns: number, fromColumns: number): Float32Array {
  const parts = Float32Array.from({ length: columns }, (_, column) => 1 + uniform(key, column));
  const sums = new Float32Array(fromColumns);
  parts.forEach((part, column) => (sums[column % fromColumns] += part));
  return parts.map((part, column) => part / sums[column % fromColumns]);
}
