/** Where a model folder's weights lie, as graphs name them: no second copy of them is made. Runs in browsers too. */

import type { ModelConfig } from "../config/model.ts";
import type { WeightData } from "../graph/onnx.ts";
import { scaleName } from "../model/quantize.ts";
import type { SafetensorsFile } from "./safetensors-header.ts";

/** A model whose weights are read from a file by the engine. */
export interface ExternalModel {
  config: ModelConfig;
  folder: string;
  /** Where a parameter lies in the file, by its name. */
  weights: (name: string) => WeightData;
}

/** The model of a folder whose weights stay in their file: what `createSampler` and `likelihoods` take. */
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
    const { offset, bytes, shape } = tensors.get(name)!;
    return { file: path.split(/[\\/]/).at(-1)!, offset, bytes, shape };
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
