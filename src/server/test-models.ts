/** Tiny models with random weights, and a sampler that waits to be told, to test the server with. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { startingImages } from "../sample/known.ts";
import type { SampleOptions, Sampler } from "../sample/sampler.ts";
import { startingState } from "../train/checkpoint.ts";
import { type FractalServer, fractalServer, type ServerOptions } from "./app.ts";
import type { ServedModel } from "./models.ts";

const small = { width: 16, depth: 1, heads: 2 };

const tiny = parseModelConfig(
  {
    name: "tiny",
    imageSize: 8,
    classes: ["cat", "dog"],
    levels: [
      { kind: "mar", patch: 4, ...small },
      { kind: "mar", patch: 1, ...small },
      { kind: "pixel", ...small },
    ],
    sampling: { guidance: 2, iterations: [2, 4] },
  },
  "the test",
);

const grey = parseModelConfig({ ...tiny, name: "grey", channels: 1 }, "the test");

/** Thousands of steps, of which each takes a moment, so that there is time to stop it. */
const slow = parseModelConfig(
  {
    ...tiny,
    name: "slow",
    imageSize: 64,
    levels: [
      { kind: "ar", patch: 4, ...small },
      { kind: "ar", patch: 1, ...small },
      { kind: "pixel", ...small },
    ],
    sampling: {},
  },
  "the test",
);

export interface TestModels {
  tiny: ServedModel;
  /** The same with one channel. */
  grey: ServedModel;
  slow: ServedModel;
  folder: string;
  remove(): void;
}

export async function testModels(): Promise<TestModels> {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-server-"));
  const made = async (config: ModelConfig): Promise<ServedModel> => {
    const path = join(folder, config.name!);
    await writeModelFolder(path, config, startingState(config, 3, { ema: 0 }).values);
    return { name: config.name!, folder: readModelFolder(path), config };
  };
  return {
    tiny: await made(tiny),
    grey: await made(grey),
    slow: await made(slow),
    folder,
    remove: () => rmSync(folder, { recursive: true }),
  };
}

export const testServer = (models: readonly ServedModel[], options: Partial<ServerOptions> = {}): FractalServer =>
  fractalServer({ models, version: "1.2.3", threads: 1, memory: 4e9, ...options });

/** Samplers that stop before their only frame until `go` is called, and tell what they were asked for. */
export interface Gate {
  open: (model: ServedModel) => Sampler;
  asked: SampleOptions[];
  disposed: () => number;
  go(): void;
  /** Makes the batches that wait fail. */
  fail(error: Error): void;
}

export function gate(): Gate {
  const asked: SampleOptions[] = [];
  let waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let disposed = 0;
  return {
    asked,
    disposed: () => disposed,
    go() {
      for (const { resolve } of waiting) resolve();
      waiting = [];
    },
    fail(error) {
      for (const { reject } of waiting) reject(error);
      waiting = [];
    },
    open: ({ config }) => ({
      config,
      async *sample(options) {
        asked.push(options);
        const images = startingImages(config, { count: options.labels.length, known: options.known });
        const { signal } = options;
        await new Promise<void>((resolve, reject) => {
          waiting.push({ resolve, reject });
          signal?.addEventListener("abort", () => reject(signal.reason as Error));
        });
        const finished = { image: Int32Array.of(0), x: Int32Array.of(0), y: Int32Array.of(0), side: 1 };
        yield { level: 0, step: 1, steps: 2, finished, done: 0.5, images };
        const bytes = images.length / options.labels.length;
        options.labels.forEach((label, i) =>
          images.fill(label * 100 + options.indices![i], i * bytes, (i + 1) * bytes),
        );
        return images;
      },
      dispose: async () => void disposed++,
    }),
  };
}
