/** Checks that weights are finite: a diverged training leaves NaN or infinity, and images made with them are blank. */

import type { ModelConfig } from "../config/model.ts";
import { product, type TypedArray } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { storedTensors } from "../model/quantize.ts";
import { pathText } from "./regular.ts";
import { readTensorRange, type SafetensorsFile } from "./safetensors.ts";
import { pieceElements } from "./tensors.ts";

/** Throws a UserError that names the tensor if one of its values is not finite. */
export function checkFinite(values: TypedArray, { path, name }: { path: string; name: string }): void {
  if (!(values instanceof Float32Array)) return;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  // All exponent bits of infinity and NaN are ones.
  for (let i = 0; i < bits.length; i++)
    if ((bits[i] & 0x7f800000) === 0x7f800000)
      throw new UserError({
        subject: pathText(path),
        problem: `${shown(name)} contains ${values[i]}`,
        expected: "finite numbers",
        hint: "the training diverged, so use an earlier checkpoint",
      });
}

/** Checks every weight of a model, a few megabytes at a time. */
export function checkWeights({ config, weights }: { config: ModelConfig; weights: SafetensorsFile }): void {
  for (const { name, dtype, shape } of storedTensors(config)) {
    if (dtype !== "float32") continue;
    const count = product(shape);
    for (let from = 0; from < count; from += pieceElements) {
      const values = readTensorRange(weights, name, { from, count: Math.min(pieceElements, count - from) });
      checkFinite(values, { path: weights.path, name });
    }
  }
}
