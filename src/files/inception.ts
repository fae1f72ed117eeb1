/** Weights of a network that measures images: from PyTorch's file into a safetensors file, checked. Knows no network. */

import { basename, dirname } from "node:path";
import { type DType, product } from "../core/arrays.ts";
import { type Hint, UserError } from "../core/errors.ts";
import type { ExternalData } from "../graph/onnx.ts";
import type { Conversion } from "./convert.ts";
import { checkFinite } from "./finite.ts";
import { openTorchWeights } from "./inception-pth.ts";
import { misfits } from "./misfits.ts";
import { readSafetensorsHeader, type TensorPieces, writeSafetensors } from "./safetensors.ts";

/** A network by its weights, all float32; `source` says what to do where a file does not hold them. */
export interface Network {
  name: string;
  source: readonly Hint[];
  parameters: readonly { name: string; shape: readonly number[] }[];
}

/** Where a network's weights lie, as `writeOnnx` and an engine take it. */
export interface NetworkWeights {
  folder: string;
  weights: (name: string) => ExternalData;
}

/** Opens a PyTorch file of a network, to write its weights as safetensors. All that does not fit is one UserError. */
export async function openNetworkConversion(network: Network, path: string): Promise<Conversion> {
  const file = await openTorchWeights(path);
  try {
    check(network, path, file.tensors);
  } catch (error) {
    await file.close();
    throw error;
  }
  const parameters = network.parameters.reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = 4 * parameters;
  return {
    parameters,
    bytes,
    notes: [],
    close: file.close,
    async write(out, { onProgress, signal } = {}) {
      let done = 0;
      const tensors = network.parameters.map(({ name, shape }): [string, TensorPieces] => {
        const pieces = async function* () {
          signal?.throwIfAborted();
          const { data } = await file.read(name);
          checkFinite(data, { path, name });
          yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
          onProgress?.((done += data.byteLength), bytes);
        };
        return [name, { dtype: "float32", shape, pieces }];
      });
      await writeSafetensors(out, tensors, { metadata: { format: "pt" } });
    },
  };
}

/** Finds a network's weights in a safetensors file; they stay there. All that does not fit is one UserError. */
export function openNetwork(network: Network, path: string): NetworkWeights {
  const { tensors } = readSafetensorsHeader(path);
  check(network, path, tensors);
  return {
    folder: dirname(path),
    weights(name) {
      const { offset, bytes } = tensors.get(name)!;
      return { file: basename(path), offset, bytes };
    },
  };
}

/** Counts of batches that a normalisation has seen in training: not part of what is computed, and in few of the files. */
export const isCount = (name: string): boolean => name.endsWith(".num_batches_tracked");

function check(
  { name, source, parameters }: Network,
  path: string,
  found: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>,
): void {
  const problems = misfits(new Map([...found].filter(([tensor]) => !isCount(tensor))), parameters);
  if (problems.length > 0)
    throw new UserError({
      problem: `${path} does not hold the weights of ${name}: ${problems.join("; ")}`,
      hint: source,
    });
}
