/**
 * Refers to weights inside a model folder's file, so that graphs can use them without a copy. Runs in browsers, too.
 */

import type { ModelConfig } from "../config/model.ts";
import type { WeightData } from "../graph/onnx.ts";
import { scaleName } from "../model/quantize.ts";
import { replaced, type SafetensorsFile } from "./safetensors-header.ts";

/** A model whose weights the engine reads from a file. */
export interface ExternalModel {
  config: ModelConfig;
  folder: string;
  /** Returns a parameter's location in the file. */
  weights: (name: string) => WeightData;
  /** Throws a UserError if the file was replaced since its header was read. */
  check?: () => void;
}

/** The model of a folder, with its weights left in their file, for `createSampler` and `likelihoods`. */
export function externalModel({
  config,
  weights: file,
}: {
  config: ModelConfig;
  weights: SafetensorsFile;
}): ExternalModel {
  const { dtype = "float32" } = config;
  const { folder, weights, check } = weightsIn(file);
  return {
    config,
    folder,
    check,
    weights(name) {
      const stored = weights(name);
      if (dtype === "float32" || !file.tensors.has(scaleName(name))) return stored;
      return { ...stored, quantized: { dtype, shape: stored.shape, scale: weights(scaleName(name)) } };
    },
  };
}

/**
 * Where the tensors of a safetensors file are: the folder that contains it, and each tensor's place in the file. `check`
 * throws a UserError if the file was replaced since then.
 */
export function weightsIn({ path, realPath, tensors, changed }: SafetensorsFile): {
  folder: string;
  check: () => void;
  weights: (name: string) => WeightData & { shape: readonly number[] };
} {
  const [, folder, file] = /^(?:(.*)[\\/])?([^\\/]*)$/s.exec(realPath)!;
  return {
    folder: folder === undefined ? "" : folder || "/",
    check() {
      if (changed?.()) throw replaced(path);
    },
    weights(name) {
      const { offset, bytes, shape, packed } = tensors.get(name)!;
      return { file, offset, bytes, shape, ...(packed && { stored: packed }) };
    },
  };
}
