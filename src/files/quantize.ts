/** Writes a quantised copy of a model folder. Knows nothing of the command line. */

import { join } from "node:path";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { isQuantized, quantize, type Quantized, scaleName } from "../model/quantize.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Replacing, replaceFolder, writeFileAtomic } from "./atomic.ts";
import { configName, type ModelFolder, weightsName } from "./model.ts";
import { readTensor, writeSafetensors } from "./safetensors.ts";

/** Writes the model in `dtype` to `out`, completely or not at all; `onProgress` counts parameters. */
export async function quantizeFolder(
  { folder, config, weights }: ModelFolder,
  out: string,
  {
    dtype,
    onProgress,
    signal,
    owned,
  }: { dtype: Quantized; onProgress?: (done: number, total: number) => void; signal?: AbortSignal } & Replacing,
): Promise<void> {
  if (config.dtype !== undefined && config.dtype !== "float32")
    throw new UserError(`${folder} is already ${config.dtype}; quantise the original float32 model`);
  const parameters = modelParameters(config);
  const tensors = parameters.flatMap((parameter, i): [string, HostTensor][] => {
    const { name, shape } = parameter;
    const value = readTensor(weights, name);
    onProgress?.(i + 1, parameters.length);
    if (!isQuantized(parameter)) return [[name, value]];
    const { data, scale } = quantize(value.data as Float32Array, shape, dtype);
    return [
      [name, data],
      [scaleName(name), scale],
    ];
  });
  if (!tensors.some(([name]) => name.endsWith(".scale")))
    throw new UserError(`${folder}: none of its layers is wide enough to quantise; use the model as it is`);
  await replaceFolder(
    out,
    async (temporary) => {
      signal?.throwIfAborted();
      await writeSafetensors(join(temporary, weightsName), tensors, { metadata: { format: "pt" } });
      signal?.throwIfAborted();
      await writeFileAtomic(join(temporary, configName), `${JSON.stringify({ ...config, dtype }, null, 2)}\n`);
    },
    { owned },
  );
}
