/** A folder of what the published implementation computed: its architecture, checkpoint, inputs, draws and results. */

import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { explain, type ModelConfig, parseModelConfig } from "../config/model.ts";
import type { HostTensor, TypedArray } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { modelTensors, openCheckpoint } from "../files/pth.ts";
import { readSafetensorsHeader, readTensor } from "../files/safetensors.ts";
import { modelParameters } from "../model/parameters.ts";

const sampleSettings = z.object({
  labels: z.array(z.int()),
  guidance: z.number(),
  schedule: z.enum(["linear", "constant"]),
  temperature: z.number(),
  filter_threshold: z.number(),
  iterations: z.array(z.int()),
});

const caseSchema = z.object({
  image_sizes: z.array(z.int()).min(2),
  widths: z.array(z.int()),
  depths: z.array(z.int()),
  heads: z.array(z.int()),
  generators: z.array(z.enum(["ar", "mar"])),
  guiding_pixel: z.boolean(),
  num_conds: z.int(),
  classes: z.int(),
  red_weight_train: z.number(),
  train: z.object({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
    grad_clip: z.number(),
    label_dropped: z.array(z.boolean()),
  }),
  samples: z.record(z.string(), sampleSettings),
});

export type SampleSettings = z.infer<typeof sampleSettings>;

export interface ParityCase {
  name: string;
  config: ModelConfig;
  train: z.infer<typeof caseSchema>["train"];
  samples: Record<string, SampleSettings>;
  /** The checkpoint's weights by name. */
  weights: Map<string, Float32Array>;
  has(key: string): boolean;
  /** A recorded array of expected.safetensors. */
  expected(key: string): HostTensor;
  /** The names of all recorded arrays. */
  keys: string[];
}

/** Our configuration of a published architecture, as `case.json` describes it. */
export function configOfCase(value: unknown, source: string): ModelConfig {
  const parsed = caseSchema.safeParse(value);
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0])}`);
  const { image_sizes, widths, depths, heads, generators, guiding_pixel, num_conds, classes, red_weight_train } =
    parsed.data;
  const levels = generators.map((generator, l) => {
    const transformer = { width: widths[l], depth: depths[l], heads: heads[l] };
    if (l === generators.length - 1) return { kind: "pixel", ...transformer };
    const patch = image_sizes[l + 1];
    return generator === "ar"
      ? { kind: "ar", patch, ...transformer }
      : { kind: "mar", patch, ...transformer, conditions: num_conds, guidingPixel: guiding_pixel && l > 0 };
  });
  return parseModelConfig(
    {
      imageSize: image_sizes[0],
      classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
      levels,
      redWeight: red_weight_train,
    },
    source,
  );
}

export async function readCase(folder: string): Promise<ParityCase> {
  const caseFile = join(folder, "case.json");
  if (!existsSync(caseFile))
    throw new UserError(
      `${folder}: there is no case.json; give a folder with case.json, checkpoint-last.pth and expected.safetensors`,
    );
  const json = parseJson(caseFile);
  const config = configOfCase(json, caseFile);
  const { train, samples } = caseSchema.parse(json);
  const file = readSafetensorsHeader(join(folder, "expected.safetensors"));
  return {
    name: basename(folder),
    config,
    train,
    samples,
    weights: await readWeights(join(folder, "checkpoint-last.pth"), config),
    has: (key) => file.tensors.has(key),
    expected: (key) => readTensor(file, key),
    keys: [...file.tensors.keys()],
  };
}

function parseJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UserError(`${path} is not JSON: ${(error as Error).message}`);
  }
}

/** A checkpoint's weights, every one checked by name and shape; all problems are listed at once. */
export async function readWeights(path: string, config: ModelConfig): Promise<Map<string, Float32Array>> {
  const checkpoint = await openCheckpoint(path);
  try {
    const tensors = modelTensors(checkpoint);
    const wanted = modelParameters(config);
    const problems = [
      ...wanted.flatMap(({ name, shape }) => {
        const found = tensors.get(name);
        if (!found) return [`${name} is missing`];
        return String(found.shape) === String(shape) ? [] : [`${name} is [${found.shape}], expected [${shape}]`];
      }),
      ...[...tensors.keys()].filter((name) => !wanted.some((w) => w.name === name)).map((name) => `${name} is unknown`),
    ];
    if (problems.length > 0)
      throw new UserError(
        `${path} does not fit the architecture: ${problems.slice(0, 8).join("; ")}${problems.length > 8 ? `; and ${problems.length - 8} more` : ""}`,
      );
    const weights = new Map<string, Float32Array>();
    for (const { name } of wanted) weights.set(name, toFloat32((await checkpoint.read(tensors.get(name)!)).data));
    return weights;
  } finally {
    await checkpoint.close();
  }
}

const toFloat32 = (data: TypedArray): Float32Array =>
  data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number>);
