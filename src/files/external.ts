/** Where a model folder's weights lie, as graphs name them: no second copy of them is made. */

import { basename } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import type { ExternalData } from "../graph/onnx.ts";
import type { ModelFolder } from "./model.ts";

export interface ExternalModel {
  config: ModelConfig;
  folder: string;
  weights: (name: string) => ExternalData;
}

export function externalModel({ folder, config, weights: { path, tensors } }: ModelFolder): ExternalModel {
  return {
    config,
    folder,
    weights: (name) => {
      const { offset, bytes } = tensors.get(name)!;
      return { file: basename(path), offset, bytes };
    },
  };
}
