/** Test helpers for the server: tiny models with random weights, and a sampler controlled by the test. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { startingImages } from "../sample/known.ts";
import type { SampleOptions, Sampler } from "../sample/sampler.ts";
import { startingState } from "../train/state.ts";
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

const grey = parseModelConfig(
  { ...tiny, name: "grey", channels: 1, sampling: { ...tiny.sampling, guidance: 11, temperature: 1.02 } },
  "the test",
);

/** Thousands of short steps, so that there is time to cancel it. */
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
  /** The same with one channel and unusual settings. */
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

/** Samplers that wait before their last frame until `go` is called, and record their options. */
export interface Gate {
  open: (model: ServedModel) => Sampler;
  asked: SampleOptions[];
  disposed: () => number;
  /** Lets all batches finish, or only the batch with this number. */
  go(batch?: number): void;
  /** Makes a batch yield a frame and wait again. */
  show(batch: number, done: number): void;
  /** Makes the waiting batches fail. */
  fail(error: Error): void;
}

export function gate(): Gate {
  const asked: SampleOptions[] = [];
  let waiting: { batch: number; resolve: (done?: number) => void; reject: (error: Error) => void }[] = [];
  let disposed = 0;
  return {
    asked,
    disposed: () => disposed,
    go(batch) {
      const [own, others] = [true, false].map((is) =>
        waiting.filter((one) => (batch === undefined || one.batch === batch) === is),
      );
      waiting = others;
      for (const { resolve } of own) resolve();
    },
    show(batch, done) {
      const one = waiting.find((one) => one.batch === batch)!;
      waiting = waiting.filter((other) => other !== one);
      one.resolve(done);
    },
    fail(error) {
      for (const { reject } of waiting) reject(error);
      waiting = [];
    },
    open: ({ config }) => ({
      config,
      async *sample(options) {
        const batch = asked.push(options) - 1;
        const images = startingImages(config, { count: options.labels.length, known: options.known });
        const { signal } = options;
        const told = () =>
          new Promise<number | undefined>((resolve, reject) => {
            waiting.push({ batch, resolve, reject });
            signal?.addEventListener("abort", () => reject(signal.reason as Error));
          });
        const finished = { image: Int32Array.of(0), x: Int32Array.of(0), y: Int32Array.of(0), side: 1 };
        const frame = (done: number) => ({ level: 0, step: 1, steps: 2, finished, done, images });
        for (let done = await told(); done !== undefined; done = await told()) yield frame(done);
        yield frame(0.5);
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
