/** Two-dimensional rotary positions of AR levels. */

import { float32, type HostTensor } from "../core/arrays.ts";
import { add, constant, matmul, mul, reshape } from "../graph/build.ts";
import { over, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";

/** Cosines and sines [T, D/H] by which queries and keys turn, two neighbouring values at a time. */
export interface Rotary {
  cos: Tensor;
  sin: Tensor;
}

/**
 * Two-dimensional rotary angles of a condition and grid * grid patches: rows turn the first half of a head's pairs,
 * columns the second. As published the condition's row is all zeros, cosines too: its query and key vanish.
 */
export function rotaryTable(
  grid: number,
  headWidth: number,
): { cos: HostTensor<Float32Array>; sin: HostTensor<Float32Array> } {
  const tokens = 1 + grid * grid;
  const quarter = headWidth / 4;
  const cos = new Float32Array(tokens * headWidth);
  const sin = new Float32Array(tokens * headWidth);
  for (let token = 1; token < tokens; token++)
    for (let pair = 0; pair < headWidth / 2; pair++) {
      const place = pair < quarter ? Math.floor((token - 1) / grid) : (token - 1) % grid;
      const frequency = Math.fround(1 / Math.fround(10000 ** Math.fround((pair % quarter) / quarter)));
      const angle = Math.fround(place * frequency);
      cos.fill(Math.cos(angle), token * headWidth + 2 * pair, token * headWidth + 2 * pair + 2);
      sin.fill(Math.sin(angle), token * headWidth + 2 * pair, token * headWidth + 2 * pair + 2);
    }
  return { cos: float32(cos, [tokens, headWidth]), sin: float32(sin, [tokens, headWidth]) };
}

/** x [B, H, T, W] turned: x cos + swap(x) sin, where swap maps each pair (a, b) to (-b, a). */
export function rotate(x: Tensor, { cos, sin }: Rotary): Tensor {
  const width = dim(x, -1) as number;
  const swap = new Float32Array(width * width);
  for (let i = 0; i < width; i += 2) {
    swap[(i + 1) * width + i] = -1;
    swap[i * width + i + 1] = 1;
  }
  const flat = reshape(x, [over(times(...x.shape), width), width]);
  const swapped = reshape(matmul(flat, constant(float32(swap, [width, width]))), x.shape);
  return add(mul(x, cos), mul(swapped, sin));
}
