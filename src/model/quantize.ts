/**
 * Weights in eight or four bits: which of them, and how they are stored. Large linear layers of the levels above the
 * pixels; norms, embeddings, positions, conditions and the pixels themselves stay float32. Knows no files.
 */

import type { DType, HostTensor } from "../core/arrays.ts";
import { float32 } from "../core/arrays.ts";
import type { ModelConfig } from "../config/model.ts";
import { modelParameters, type Parameter } from "./parameters.ts";

export type Quantized = "q8" | "q4";

/** A tensor as a model folder holds it. */
export interface StoredTensor {
  name: string;
  dtype: DType;
  shape: number[];
}

/** Values of four bits share a scale with this many neighbours; with fewer than that a result depends on the batch. */
export const q4Block = 32;

/** Whether a weight [D, E] is stored in few bits: those of dense layers in the blocks of levels above the pixels. */
export const isQuantized = ({ owner, block, matrices, shape }: Parameter): boolean =>
  owner === "level" && block && matrices > 0 && shape[1] % q4Block === 0;

export const scaleName = (name: string): string => `${name}.scale`;

/**
 * The tensors of a model's folder. In eight bits a weight [D, E] stands turned, int8 [E, D], with a scale for each of its
 * D outputs; in four bits as onnxruntime's MatMulNBits takes it: [D, E / 32, 16], two values a byte, the lower bits
 * first, 8 for zero, with a scale for each 32.
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

/** A weight [D, E] in few bits, with its scales: q8 to 1/127 of the largest of each output, q4 to 1/7 of each 32. */
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
