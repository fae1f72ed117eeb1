/** Compares Inception-v3's features of images with those that torch-fidelity computed, with weights made by a formula. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import CRC32 from "crc-32";
import { z } from "zod";
import { explain } from "../config/model.ts";
import { type HostTensor, product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { type InceptionFeature, inceptionGraph } from "../evaluate/inception.ts";
import { openInception } from "../evaluate/inception-features.ts";
import { isCount } from "../files/inception.ts";
import { readJson } from "../files/model.ts";
import { readSafetensors, type TensorPieces, writeSafetensors } from "../files/safetensors.ts";
import { type Comparison, relativeToLargest } from "./compare.ts";

/** Images, and the features that were recorded of them, all of one tag. */
export interface RecordedFeatures {
  tag: string;
  /** [B, H, W, 3] bytes. */
  images: HostTensor<Uint8Array>;
  /** Each [B, width]. */
  features: Partial<Record<InceptionFeature, HostTensor<Float32Array>>>;
}

const known = Object.keys(inceptionGraph()) as InceptionFeature[];

/** All tags of a file: `TAG.images.u8`, and `TAG.FEATURE` for any of the network's features. */
export function readFeatures(path: string): RecordedFeatures[] {
  const { tensors } = readSafetensors(path);
  const tags = [...tensors.keys()].flatMap((name) => /^(.+)\.images\.u8$/.exec(name)?.[1] ?? []);
  const expected = new Set(tags.flatMap((tag) => ["images.u8", ...known].map((what) => `${tag}.${what}`)));
  const stranger = [...tensors.keys()].find((name) => !expected.has(name));
  if (stranger !== undefined)
    throw new UserError(
      `${path}: it has a tensor "${stranger}"; expected TAG.images.u8, and for the same tags TAG.${known.join(", TAG.")}`,
    );
  return tags.map((tag) => ({
    tag,
    images: checkedImages(tensors.get(`${tag}.images.u8`)!, `${path}: ${tag}.images.u8`),
    features: Object.fromEntries(
      known.flatMap((feature) => {
        const values = tensors.get(`${tag}.${feature}`);
        return values ? [[feature, values]] : [];
      }),
    ),
  }));
}

function checkedImages(images: HostTensor, name: string): HostTensor<Uint8Array> {
  const { dtype, shape } = images;
  if (dtype !== "uint8" || shape.length !== 4 || shape[3] !== 3)
    throw new UserError(`${name} is ${dtype} [${shape.join(", ")}], expected uint8 [B, H, W, 3]`);
  return images as HostTensor<Uint8Array>;
}

/** The shapes of all parameters by name, as recorded. */
export function readParameters(path: string): Record<string, number[]> {
  const parsed = z.record(z.string(), z.array(z.int().nonnegative())).safeParse(readJson(path));
  if (!parsed.success) throw new UserError(`${path}: ${explain(parsed.error.issues[0])}`);
  return parsed.data;
}

/** A parameter's values by the formula of fixtures/metrics/README.md. */
export function syntheticParameter(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const [scale, middle] =
    shape.length === 4
      ? [Math.sqrt(24 / product(shape.slice(1))), 0]
      : shape.length === 2
        ? [Math.sqrt(12 / shape[1]), 0]
        : name.endsWith("running_var")
          ? [0.4, 1]
          : [0.2, name.endsWith(".weight") ? 1 : 0];
  const start = CRC32.str(name);
  return Float32Array.from({ length: product(shape) }, (_, i) => {
    let h = (Math.imul(i, 2654435761) + start) | 0;
    h = Math.imul(h ^ (h >>> 15), 2246822519);
    h = (h ^ (h >>> 13)) >>> 0;
    return (h / 2 ** 32 - 0.5) * scale + middle;
  });
}

/** Writes the network with synthetic values as the safetensors file that `openInception` takes. */
export async function writeSynthetic(path: string, parameters: Record<string, readonly number[]>): Promise<void> {
  const tensors = Object.entries(parameters).filter(([name]) => !isCount(name));
  await writeSafetensors(
    path,
    tensors.map(([name, shape]): [string, TensorPieces] => [
      name,
      {
        dtype: "float32",
        shape,
        async *pieces() {
          yield new Uint8Array(syntheticParameter(name, shape).buffer);
        },
      },
    ]),
  );
}

/** Every recorded feature, by the network with the recorded parameters' names and shapes. */
export async function compareFeatures(engine: Engine, folder: string): Promise<Comparison[]> {
  const temporary = await mkdtemp(join(tmpdir(), "fractalgen-parity-"));
  try {
    const weights = join(temporary, "inception.safetensors");
    await writeSynthetic(weights, readParameters(join(folder, "inception-parameters.json")));
    return await compareFeaturesOf(engine, { weights, recorded: readFeatures(join(folder, "inception.safetensors")) });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The same with the weights of a safetensors file. */
export async function compareFeaturesOf(
  engine: Engine,
  { weights, recorded }: { weights: string; recorded: readonly RecordedFeatures[] },
): Promise<Comparison[]> {
  const results: Comparison[] = [];
  const network = await openInception(engine, weights, known);
  try {
    for (const { tag, images, features } of recorded) {
      const computed = await network.run(images);
      for (const [feature, { data }] of Object.entries(features))
        results.push(relativeToLargest(`${tag}.${feature}`, computed[feature as InceptionFeature].data, data, 1e-3));
    }
  } finally {
    await network.dispose();
  }
  return results;
}
