/**
 * Weights in eight or four bits: which weights are quantized, and how they are stored. Only large linear layers of the
 * levels above the pixels are; norms, embeddings, positions, conditions and the pixels themselves stay float32. Knows
 * no files.
 */

import type { DType, HostTensor } from "../core/arrays.ts";
import { float32 } from "../core/arrays.ts";
import type { ModelConfig } from "../config/model.ts";
import { modelParameters, type Parameter } from "./parameters.ts";

export type Quantized = "q8" | "q4";

/** A tensor as stored in a model folder. */
export interface StoredTensor {
  name: string;
  dtype: DType;
  shape: number[];
}

/** This many neighbouring four-bit values share a scale. With smaller blocks, results would depend on the batch. */
export const q4Block = 32;

/** Whether a weight [D, E] is quantized: it belongs to a dense layer in the blocks of a level above the pixels. */
export const isQuantized = ({ owner, block, matrices, shape }: Parameter): boolean =>
  owner === "level" && block && matrices > 0 && shape[1] % q4Block === 0;

export const scaleName = (name: string): string => `${name}.scale`;

/**
 * The tensors of a model's folder. In eight bits, a weight [D, E] is stored transposed, int8 [E, D], with a scale for
 * each of its D outputs. In four bits, it is stored as onnxruntime's MatMulNBits expects it: [D, E / 32, 16], two
 * values per byte, the lower bits first, 8 for zero, with a scale for each block of 32.
 */
export function storedTensors(config: ModelConfig): StoredTensor[] {
  const { dtype = "float32" } = config;
  return modelParameters(config).flatMap((parameter): StoredTensor[] => {
    const { name, shape } = parameter;
    if (dtype === "float32" || !isQuantized(parameter)) return [{ name, dtype: "float32", shape }];
    const [outputs, inputs] = shape;
    const blocks = inputs / q4Block;
    const scale = { name: scaleName(name), dtype: "float32" as const };
    return dtype === "q8"
      ? [
          { name, dtype: "int8", shape: [inputs, outputs] },
          { ...scale, shape: [outputs] },
        ]
      : [
          { name, dtype: "uint8", shape: [outputs, blocks, q4Block / 2] },
          { ...scale, shape: [outputs, blocks] },
        ];
  });
}

/**
 * Quantizes a weight [D, E]. The scale is 1/127 of the largest absolute value of each output in q8, 1/7 of that of each
 * block in q4.
 */
export function quantize(
  weight: Float32Array,
  [outputs, inputs]: readonly number[],
  dtype: Quantized,
): { data: HostTensor; scale: HostTensor } {
  return dtype === "q8" ? eightBits(weight, outputs, inputs) : fourBits(weight, outputs, inputs);
}

function eightBits(weight: Float32Array, outputs: number, inputs: number) {
  const data = new Int8Array(weight.length);
  const scale = new Float32Array(outputs);
  for (let d = 0; d < outputs; d++) {
    const row = weight.subarray(d * inputs, (d + 1) * inputs);
    scale[d] = largest(row) / 127 || 1;
    for (let e = 0; e < inputs; e++) data[e * outputs + d] = Math.round(row[e] / scale[d]);
  }
  return {
    data: { dtype: "int8" as const, shape: [inputs, outputs], data },
    scale: float32(scale, [outputs]),
  };
}

function fourBits(weight: Float32Array, outputs: number, inputs: number) {
  const blocks = inputs / q4Block;
  const data = new Uint8Array(weight.length / 2);
  const scale = new Float32Array(outputs * blocks);
  for (let block = 0; block < scale.length; block++) {
    const values = weight.subarray(block * q4Block, (block + 1) * q4Block);
    scale[block] = largest(values) / 7 || 1;
    for (let i = 0; i < q4Block; i++)
      data[(block * q4Block + i) >> 1] |= (8 + Math.round(values[i] / scale[block])) << (4 * (i & 1));
  }
  return {
    data: { dtype: "uint8" as const, shape: [outputs, blocks, q4Block / 2], data },
    scale: float32(scale, [outputs, blocks]),
  };
}

const largest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
