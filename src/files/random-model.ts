/** Writes a model with random weights. */

import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { derive, seedKey } from "../core/random.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { replaceFolder, writeFileAtomic } from "./atomic.ts";
import { configName, weightsName } from "./model.ts";
import type { Ownership } from "./ownership.ts";
import { type TensorPieces, writeSafetensors } from "./safetensors.ts";

/** The options of `writeRandomModel`. */
export interface RandomModelOptions {
  seed: number;
  /** Called with the number of parameters written. */
  onProgress?: (parameters: number) => void;
  signal?: AbortSignal;
  /** The caller's claim to the folder. By default the folder is claimed while it is written. */
  owned?: Ownership;
}

/**
 * Writes a model folder with the weights that training with `seed` starts from, all or nothing. Holds one tensor in memory at
 * a time.
 */
export async function writeRandomModel(
  folder: string,
  config: ModelConfig,
  { seed, onProgress, signal, owned }: RandomModelOptions,
): Promise<void> {
  let made = 0;
  const tensors = modelParameters(config).map((parameter, i): [string, TensorPieces] => [
    parameter.name,
    {
      dtype: "float32",
      shape: parameter.shape,
      async *pieces() {
        signal?.throwIfAborted();
        const value = startingValue(parameter, derive(seedKey(seed), i));
        yield new Uint8Array(value.buffer);
        made += value.length;
        onProgress?.(made);
      },
    },
  ]);
  await replaceFolder(
    folder,
    async (temporary) => {
      await writeSafetensors(join(temporary, weightsName), tensors, { metadata: { format: "pt" } });
      await writeFileAtomic(join(temporary, configName), `${JSON.stringify(config, null, 2)}\n`);
    },
    { owned },
  );
}
