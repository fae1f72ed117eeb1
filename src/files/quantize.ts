/** Writes a model folder with smaller weights. Knows nothing of the command line. */

import { join } from "node:path";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { toHalf } from "../core/half.ts";
import { isQuantized, quantize, type Quantized, scaleName } from "../model/quantize.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Replacing, replaceFolder, writeFileAtomic } from "./atomic.ts";
import { configName, type ModelFolder, weightsName } from "./model.ts";
import { readTensor, type TensorPieces, writeSafetensors } from "./safetensors.ts";

/** `float16` stores every weight in sixteen bits; the others quantize large linear layers, and write their own `dtype` in the configuration. */
export type SmallerType = "float16" | Quantized;

/** Writes the model in `dtype` to `out`, completely or not at all; `onProgress` counts parameters. */
export async function quantizeFolder(
  { folder, config, weights }: ModelFolder,
  out: string,
  {
    dtype,
    onProgress,
    signal,
    owned,
  }: { dtype: SmallerType; onProgress?: (done: number, total: number) => void; signal?: AbortSignal } & Replacing,
): Promise<void> {
  if (config.dtype !== undefined && config.dtype !== "float32")
    throw new UserError({
      problem: `${folder} is already ${config.dtype}`,
      hint: "quantise the original float32 model",
    });
  const parameters = modelParameters(config);
  if (dtype === "float16" && parameters.every(({ name }) => weights.tensors.get(name)!.packed))
    throw new UserError({
      problem: `${folder} already has 16-bit weights`,
      hint: "choose q8 or q4, or use it as it is",
    });
  if (dtype !== "float16" && !parameters.some(isQuantized))
    throw new UserError({
      subject: folder,
      problem: "none of its layers is wide enough to quantise",
      hint: "use the model as it is",
    });
  const tensors = parameters.flatMap((parameter, i): [string, HostTensor | TensorPieces][] => {
    const { name, shape } = parameter;
    const value = readTensor(weights, name);
    onProgress?.(i + 1, parameters.length);
    if (dtype === "float16") return [[name, inHalf(value, `${folder}: ${name}`)]];
    if (!isQuantized(parameter)) return [[name, value]];
    const { data, scale } = quantize(value.data as Float32Array, shape, dtype);
    return [
      [name, data],
      [scaleName(name), scale],
    ];
  });
  const small = dtype === "float16" ? config : { ...config, dtype };
  await replaceFolder(
    out,
    async (temporary) => {
      signal?.throwIfAborted();
      await writeSafetensors(join(temporary, weightsName), tensors, { metadata: { format: "pt" } });
      signal?.throwIfAborted();
      await writeFileAtomic(join(temporary, configName), `${JSON.stringify(small, null, 2)}\n`);
    },
    { owned },
  );
}

function inHalf({ dtype, shape, data }: HostTensor, what: string): TensorPieces {
  const halves = toHalf(data as Float32Array);
  if (halves.some((half) => (half & 0x7c00) === 0x7c00))
    throw new UserError({
      problem: `${what} has values beyond 65504, the largest 16-bit float`,
      hint: "choose q8, or keep float32",
    });
  return { dtype, shape, packed: "F16", pieces: () => [new Uint8Array(halves.buffer)] };
}
