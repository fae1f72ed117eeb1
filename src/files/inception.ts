/**
 * Converts a feature network's weights from a PyTorch file to a checked safetensors file. Knows no particular network.
 */

import { type DType, product } from "../core/arrays.ts";
import { type Hint, UserError } from "../core/errors.ts";
import type { WeightData } from "../graph/onnx.ts";
import type { Conversion } from "./convert.ts";
import { weightsIn } from "./external.ts";
import { checkFinite } from "./finite.ts";
import { openTorchWeights } from "./inception-pth.ts";
import { misfits } from "./misfits.ts";
import { readSafetensorsHeader, type TensorPieces, writeSafetensors } from "./safetensors.ts";
import { asFloat32 } from "./tensors.ts";

/** A network described by its weights, all float32; `source` tells the user what to do if a file does not hold them. */
export interface DescribedNetwork {
  name: string;
  source: readonly Hint[];
  parameters: readonly { name: string; shape: readonly number[] }[];
}

/** The location of a network's weights, as `writeOnnx` and an engine expect it. */
export interface NetworkWeights {
  folder: string;
  check: () => void;
  weights: (name: string) => WeightData;
}

/** Opens a network's PyTorch file for conversion to safetensors. Throws one UserError that lists all mismatches. */
export async function openNetworkConversion(network: DescribedNetwork, path: string): Promise<Conversion> {
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
          const data = asFloat32((await file.read(name)).data);
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

/** Locates a network's weights in a safetensors file. Throws one UserError that lists all mismatches. */
export function networkWeights(network: DescribedNetwork, path: string): NetworkWeights {
  const file = readSafetensorsHeader(path);
  check(network, path, file.tensors);
  return weightsIn(file);
}

/** Batch counters of normalisation layers: not used for inference, and missing from most files. */
export const isCount = (name: string): boolean => name.endsWith(".num_batches_tracked");

function check(
  { name, source, parameters }: DescribedNetwork,
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
