/** Weights of a network that measures images: from PyTorch's file into a safetensors file, checked. Knows no network. */

import { basename, dirname } from "node:path";
import type { DType } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { ExternalData } from "../graph/onnx.ts";
import { openTorchWeights } from "./inception-pth.ts";
import { readSafetensorsHeader, type TensorPieces, writeSafetensors } from "./safetensors.ts";

/** A network by its weights, all float32; `source` says in words where to get them. */
export interface Network {
  name: string;
  source: string;
  parameters: readonly { name: string; shape: readonly number[] }[];
}

/** Where a network's weights lie, as `writeOnnx` and an engine take it. */
export interface NetworkWeights {
  folder: string;
  weights: (name: string) => ExternalData;
}

/** Writes a PyTorch file's weights as safetensors, the whole file or none. All that does not fit is one UserError. */
export async function convertNetwork(network: Network, path: string, out: string): Promise<void> {
  const file = await openTorchWeights(path);
  try {
    check(network, path, file.tensors);
    const tensors = network.parameters.map(({ name, shape }): [string, TensorPieces] => {
      const pieces = async function* () {
        const { data } = await file.read(name);
        yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      };
      return [name, { dtype: "float32", shape, pieces }];
    });
    await writeSafetensors(out, tensors, { metadata: { format: "pt" } });
  } finally {
    await file.close();
  }
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
const isCount = (name: string) => name.endsWith(".num_batches_tracked");

function check(
  { name: network, source, parameters }: Network,
  path: string,
  found: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>,
): void {
  const sizes = (shape: readonly number[]) => `[${shape.join(", ")}]`;
  const wanted = new Set(parameters.map(({ name }) => name));
  const shared = parameters.flatMap((one) => (found.has(one.name) ? [{ ...one, stored: found.get(one.name)! }] : []));
  const kinds: [what: string, of: string[]][] = [
    ["missing", [...wanted].filter((name) => !found.has(name))],
    ["unexpected", [...found.keys()].filter((name) => !wanted.has(name) && !isCount(name))],
    [
      "of another shape",
      shared
        .filter(({ shape, stored }) => sizes(shape) !== sizes(stored.shape))
        .map(({ name, shape, stored }) => `${name} ${sizes(stored.shape)} for ${sizes(shape)}`),
    ],
    [
      "of another type than float32",
      shared.filter(({ stored }) => stored.dtype !== "float32").map(({ name, stored }) => `${name} ${stored.dtype}`),
    ],
  ];
  const problems = kinds.filter(([, of]) => of.length > 0).map(([what, of]) => `${of.length} ${what} (${listed(of)})`);
  if (problems.length > 0)
    throw new UserError(`${path} does not hold the weights of ${network}: ${problems.join("; ")}; give ${source}`);
}

const listed = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
