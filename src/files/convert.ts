/** Converts a PyTorch checkpoint of the published code to a model folder or a training checkpoint. Only a few megabytes
 *  are in memory at a time. Knows nothing of the command line. */

import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Replacing, replaceFolder, writeFileAtomic } from "./atomic.ts";
import { checkFinite } from "./finite.ts";
import { misfits } from "./misfits.ts";
import { configName, weightsName } from "./model.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { stateDict, type StateDictOptions } from "./state-dict.ts";
import { asFloat32, type Checkpoint, type TensorRef } from "./tensors.ts";
import { type TensorPieces, writeSafetensors } from "./safetensors.ts";
import { resumedSettings, torchOptimizer, trainingData } from "./torch-optimizer.ts";
import { writeTrainingFiles } from "./training-state.ts";

/** A checkpoint that matches its configuration, ready to be converted. Close it after use. */
export interface Conversion {
  parameters: number;
  /** Size of the files that `write` creates, to within some kilobytes. */
  bytes: number;
  /** Notes for the user on how the weights were found, one sentence each. */
  notes: string[];
  /** Optimiser steps done, if the optimiser's state is present and converted. */
  step?: number;
  /** Writes the folder (for a network: the file) completely or not at all; an abort leaves nothing behind. */
  write: (out: string, options?: WriteOptions) => Promise<void>;
  close: () => Promise<void>;
}

export interface ConversionOptions extends Pick<StateDictOptions, "weights"> {
  optimizer?: boolean;
}

export interface WriteOptions extends Replacing {
  /** Called with the bytes written so far and `bytes`. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Opens a checkpoint and compares its tensors' names, shapes and types with the configuration; throws one UserError
 * that lists all mismatches. Half, bfloat16 and double become float32. `optimizer: false` leaves out the optimiser's state;
 * `weights` chooses between trained weights and their moving average.
 */
export async function openConversion(
  path: string,
  config: ModelConfig,
  { optimizer = true, weights }: ConversionOptions = {},
): Promise<Conversion> {
  if (config.dtype !== undefined && config.dtype !== "float32")
    throw new UserError({
      problem: `${path} can only be converted to float32, but the configuration says ${config.dtype}`,
      hint: 'leave out "dtype" and quantise the result',
    });
  const checkpoint = await openCheckpoint(path);
  try {
    return await fitted(checkpoint, config, { optimizer, weights });
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function fitted(
  checkpoint: Checkpoint,
  config: ModelConfig,
  { optimizer, weights: kind }: ConversionOptions,
): Promise<Conversion> {
  const parameters = modelParameters(config);
  const wanted = new Set(parameters.map(({ name }) => name));
  const { tensors, notes } = stateDict(checkpoint, { wanted, weights: kind });
  const problems = misfits(tensors, parameters);
  // The optimiser's state belongs to the trained weights, not to their average.
  const state = optimizer && kind !== "ema" ? torchOptimizer(checkpoint.value, parameters, problems) : undefined;
  refuse(checkpoint.path, problems);
  const step = state && (await stepsDone(checkpoint, state.steps));
  const training =
    state && resumedSettings(checkpoint.value, { step: step!, settings: state.settings, source: checkpoint.path });
  const count = parameters.reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = 4 * count * (state ? 4 : 1); // the weights; and again with their two moments
  return {
    parameters: count,
    bytes,
    notes,
    step,
    close: checkpoint.close,
    async write(out, { onProgress, signal, owned } = {}) {
      let done = 0;
      const pieces = (ref: TensorRef, name: string): TensorPieces["pieces"] =>
        async function* () {
          for await (const stored of checkpoint.pieces(ref)) {
            signal?.throwIfAborted();
            const values = asFloat32(stored);
            checkFinite(values, { path: checkpoint.path, name });
            yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
            onProgress?.((done += values.byteLength), bytes);
          }
        };
      const weights = parameters.map(({ name, shape }): [string, TensorPieces] => [
        name,
        { dtype: "float32", shape, pieces: pieces(tensors.get(name)!, name) },
      ]);
      await replaceFolder(
        out,
        async (temporary) => {
          await writeSafetensors(join(temporary, weightsName), weights, { metadata: { format: "pt" } });
          await writeFileAtomic(join(temporary, configName), `${JSON.stringify(config, null, 2)}\n`);
          if (state)
            await writeTrainingFiles(temporary, config, {
              step: step!,
              dataset: { source: trainingData(checkpoint.value) },
              training: training!,
              values: (part, name) =>
                pieces(part === "value" ? tensors.get(name)! : state.moments.get(name)![part], `${part} of ${name}`),
            });
        },
        { owned },
      );
    },
  };
}

/** Returns a checkpoint's weights by name. Throws one UserError that lists all mismatches with the configuration. */
export function checkedTensors(checkpoint: Checkpoint, config: ModelConfig): Map<string, TensorRef> {
  const parameters = modelParameters(config);
  const { tensors } = stateDict(checkpoint, { wanted: new Set(parameters.map(({ name }) => name)) });
  refuse(checkpoint.path, misfits(tensors, parameters));
  return tensors;
}

function refuse(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new UserError({
    problem: `${path} does not fit the architecture: ${problems.join("; ")}`,
    hint: "use the configuration that it was trained with",
  });
}

async function stepsDone({ path, read }: Checkpoint, kept: (number | TensorRef)[]): Promise<number> {
  const steps = new Set<number>();
  for (const step of kept) steps.add(typeof step === "number" ? step : Number((await read(step)).data[0]));
  const [step] = steps;
  if (steps.size !== 1 || !Number.isSafeInteger(step) || step < 1)
    throw new UserError({
      subject: path,
      problem: `its optimiser has taken ${[...steps].slice(0, 4).join(" and ")} steps`,
      expected: "the same whole number for all parameters",
      hint: "convert the weights without the optimiser",
    });
  return step;
}
