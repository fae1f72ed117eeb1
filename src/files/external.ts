/**
 * Refers to weights inside a model folder's file, so that graphs can use them without a copy. Runs in browsers, too.
 */

import type { ModelConfig } from "../config/model.ts";
import type { WeightData } from "../graph/onnx.ts";
import { scaleName } from "../model/quantize.ts";
import type { SafetensorsFile } from "./safetensors-header.ts";

/** A model whose weights the engine reads from a file. */
export interface ExternalModel {
  config: ModelConfig;
  folder: string;
  /** Returns a parameter's location in the file. */
  weights: (name: string) => WeightData;
}

/** The model of a folder, with its weights left in their file, for `createSampler` and `likelihoods`. */
export function externalModel({
  folder,
  config,
  weights: { path, tensors },
}: {
  folder: string;
  config: ModelConfig;
  weights: SafetensorsFile;
}): ExternalModel {
  const { dtype = "float32" } = config;
  const range = (name: string) => {
    const { offset, bytes, shape, packed } = tensors.get(name)!;
    return { file: path.split(/[\\/]/).at(-1)!, offset, bytes, shape, ...(packed && { stored: packed }) };
  };
  return {
    config,
    folder,
    weights(name) {
      const stored = range(name);
      if (dtype === "float32" || !tensors.has(scaleName(name))) return stored;
      return { ...stored, quantized: { dtype, shape: stored.shape, scale: range(scaleName(name)) } };
    },
  };
}
