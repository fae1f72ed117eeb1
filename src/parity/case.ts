/**
 * A folder of recorded results of the published implementation: architecture, checkpoint, inputs, draws and results.
 */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { explain, type ModelConfig } from "../config/model.ts";
import { configOfCase } from "../config/published-case.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { checkedTensors } from "../files/convert.ts";
import { readJson } from "../files/model.ts";
import { openCheckpoint } from "../files/checkpoint.ts";
import { readSafetensorsHeader, readTensor } from "../files/safetensors.ts";

const sampleSettings = z.object({
  labels: z.array(z.int()),
  guidance: z.number(),
  schedule: z.enum(["linear", "constant"]),
  temperature: z.number(),
  filter_threshold: z.number(),
  iterations: z.array(z.int()),
});

const caseSchema = z.object({
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
  /** The checkpoint after the first of the two recorded steps, with the optimiser's state, if there is one. */
  afterFirstStep?: string;
  /** The names of all recorded arrays. */
  keys: string[];
}

/** Reads a case. Throws a UserError for any fault of the folder or its files. */
export async function readCase(folder: string): Promise<ParityCase> {
  const caseFile = join(folder, "case.json");
  const json = readJson(caseFile);
  const config = configOfCase(json, caseFile);
  const parsed = caseSchema.safeParse(json);
  if (!parsed.success) throw new UserError(`${caseFile}: ${explain(parsed.error.issues[0])}`);
  const { train, samples } = parsed.data;
  const file = readSafetensorsHeader(join(folder, "expected.safetensors"));
  const afterFirstStep = join(folder, "checkpoint-after-step0.pth");
  return {
    name: basename(folder),
    config,
    train,
    samples,
    weights: await readWeights(join(folder, "checkpoint-last.pth"), config),
    ...(existsSync(afterFirstStep) ? { afterFirstStep } : {}),
    has: (key) => file.tensors.has(key),
    expected: (key) => readTensor(file, key),
    keys: [...file.tensors.keys()],
  };
}

/** Reads a checkpoint's weights, all checked by name and shape; throws one UserError that lists all problems. */
export async function readWeights(path: string, config: ModelConfig): Promise<Map<string, Float32Array>> {
  const checkpoint = await openCheckpoint(path);
  try {
    const weights = new Map<string, Float32Array>();
    for (const [name, ref] of checkedTensors(checkpoint, config))
      weights.set(name, (await checkpoint.read(ref)).data as Float32Array);
    return weights;
  } finally {
    await checkpoint.close();
  }
}
