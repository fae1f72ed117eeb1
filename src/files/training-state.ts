/** The two files that turn a model folder into a training checkpoint. Knows nothing of optimisers and graphs. */

import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { HostTensor } from "../core/arrays.ts";
import { modelParameters } from "../model/parameters.ts";
import { writeFileAtomic } from "./atomic.ts";
import { type TensorPieces, writeSafetensors } from "./safetensors.ts";

export const optimizerName = "optimizer.safetensors";
export const stateName = "state.json";

/**
 * The stored parts of each parameter: its value (the model's weights may be an average) and the optimiser's moments.
 */
const parts = ["value", "first", "second"] as const;
export type StoredPart = (typeof parts)[number];

export interface TrainingFiles {
  /** Steps done. */
  step: number;
  dataset: { source: string };
  training: TrainingConfig;
  lossScale?: number;
  /** Returns undefined for a second moment that the optimiser does not have. */
  values: (part: StoredPart, name: string) => Float32Array | TensorPieces["pieces"] | undefined;
}

/** Adds the files to the folder. To replace a folder atomically, call it inside `replaceFolder`. */
export async function writeTrainingFiles(
  folder: string,
  model: ModelConfig,
  { step, dataset, training, lossScale, values }: TrainingFiles,
): Promise<void> {
  const tensors = modelParameters(model).flatMap(({ name, shape }) =>
    parts.flatMap((part): [string, HostTensor | TensorPieces][] => {
      const given = values(part, name);
      if (!given) return [];
      const tensor = { dtype: "float32" as const, shape };
      return [
        [`${part}.${name}`, typeof given === "function" ? { ...tensor, pieces: given } : { ...tensor, data: given }],
      ];
    }),
  );
  await writeSafetensors(join(folder, optimizerName), tensors);
  const record = { step, dataset, training, lossScale };
  await writeFileAtomic(join(folder, stateName), `${JSON.stringify(record, null, 2)}\n`);
}
