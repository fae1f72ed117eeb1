/** Drives a level that generates patches in raster order: one step per patch, for all squares at once. */

import { float32, type HostTensor } from "../core/arrays.ts";
import type { DecodedStep, Decoding, Placed, StepOutputs } from "./kind.ts";

/**
 * `run` performs the step of one patch, given the values of the previous patch [R, C p p] (zeros at the first), and
 * returns the conditions [R', c, D] of that patch in every square.
 */
export async function* decodeInRaster<Step extends StepOutputs>(
  { tokens, channels, patch }: Placed,
  { rows, ways, patches, mask, wanted }: Omit<Decoding<Step>, "run" | "runKept">,
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
