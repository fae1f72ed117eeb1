/** Drives a level that generates patches in raster order: one step per patch, for all squares at once. */

import { float32, type HostTensor } from "../core/arrays.ts";
import type { DecodedStep, Decoding, DrawnPatches, Patches, Placed, StepOutputs } from "./kind.ts";

/**
 * `run` performs the step of one patch, given the values of the previous patch [R, C p p] (zeros at the first), and
 * returns the conditions [R', c, D] of that patch in every square.
 */
export async function* decodeInRaster<Step extends StepOutputs>(
  { tokens, channels, patch }: Placed,
  { rows, ways, patches, mask, wanted }: Omit<Decoding<Step>, "run" | "runKept" | "drawing">,
  run: (step: number, previous: Float32Array) => Promise<HostTensor>,
): AsyncGenerator<DecodedStep, void> {
  const width = channels * patch ** 2;
  const previous = new Float32Array(rows * width);
  const all = Int32Array.from({ length: rows }, (_, row) => row);
  const at = (row: Int32Array, step: number) => wanted({ row, place: row.map(() => step) });
  for (let step = 0; step < tokens; step++) {
    if (at(all, step).row.length === 0) return;
    const conditions = await run(step, previous);
    const drawing = all.filter((row) => mask[row * tokens + step] !== 0);
    const chosen = at(drawing, step);
    const done = Array.from(all, () => (step + 1) / tokens);
    if (chosen.row.length > 0)
      yield { step, steps: tokens, chosen, conditions: rowsOf(conditions, chosen.row, ways), done };
    for (let row = 0; row < rows; row++) {
      const from = (row * tokens + step) * width;
      previous.set(patches.subarray(from, from + width), row * width);
    }
  }
}

/**
 * The same for several patches per run and squares of which nothing is known. `run` draws the patches of each step, given
 * the values of the patch before them.
 */
export async function* drawInRaster<Step extends StepOutputs>(
  { tokens, channels, patch }: Placed,
  { rows, patches, wanted, steps }: Pick<Decoding<Step>, "rows" | "patches" | "wanted"> & { steps: number },
  run: (chosen: readonly Patches[], previous: Float32Array) => Promise<readonly DrawnPatches[]>,
): AsyncGenerator<DecodedStep, void> {
  const width = channels * patch ** 2;
  const row = Int32Array.from({ length: rows }, (_, row) => row);
  for (let from = 0; from < tokens; from += steps) {
    const chosen = Array.from({ length: Math.min(steps, tokens - from) }, (_, i) => ({
      row,
      place: new Int32Array(rows).fill(from + i),
    }));
    if (wanted(chosen[0]).row.length === 0) return;
    const previous = new Float32Array(rows * width);
    if (from > 0)
      for (const square of row) {
        const at = (square * tokens + from - 1) * width;
        previous.set(patches.subarray(at, at + width), square * width);
      }
    const drawn = await run(chosen, previous);
    for (const [i, own] of chosen.entries()) {
      const step = from + i;
      yield { step, steps: tokens, chosen: own, drawn: drawn[i], done: Array.from(row, () => (step + 1) / tokens) };
    }
  }
}

/** Selected rows of a tensor; with two ways, the same rows of both halves. */
export function rowsOf(tensor: HostTensor, at: Int32Array, ways: number): HostTensor {
  const [rows, ...rest] = tensor.shape;
  if (at.length * ways === rows) return tensor;
  const width = tensor.data.length / rows;
  const data = new Float32Array(ways * at.length * width);
  for (let way = 0; way < ways; way++)
    at.forEach((row, i) => {
      const from = ((way * rows) / ways + row) * width;
      data.set((tensor.data as Float32Array).subarray(from, from + width), (way * at.length + i) * width);
    });
  return float32(data, [ways * at.length, ...rest]);
}
