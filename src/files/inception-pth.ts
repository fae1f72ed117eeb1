/** Reads weights by name from a PyTorch file. Knows nothing of networks. */

import type { DType, HostTensor } from "../core/arrays.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { modelTensors } from "./state-dict.ts";

export interface TorchWeights {
  tensors: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>;
  read: (name: string) => Promise<HostTensor>;
  close: () => Promise<void>;
}

/** Opens a file and lists its tensors. Throws a UserError for any fault of the file. Close it after use. */
export async function openTorchWeights(path: string): Promise<TorchWeights> {
  const checkpoint = await openCheckpoint(path);
  try {
    const tensors = modelTensors(checkpoint);
    return { tensors, read: (name) => checkpoint.read(tensors.get(name)!), close: checkpoint.close };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
