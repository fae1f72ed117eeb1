/**
 * `npm run bench -- counts`: operations and bytes per image for each of the paper's models, counted without sampling.
 */

import { arrayOf, product } from "../src/core/arrays.ts";
import { type ModelConfig, placedLevels } from "../src/config/model.ts";
import { publishedNames, publishedPreset } from "../src/config/published.ts";
import type { Engine } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { boundSizes, sizeOf } from "../src/graph/cost.ts";
import { modelParameters } from "../src/model/parameters.ts";
import { isQuantized } from "../src/model/quantize.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { measuring, plainCopy, plainProduct } from "./engine.ts";

export interface CountsBench {
  batch: number[];
  json?: boolean;
}

export async function benchCounts({ batch: batches, json }: CountsBench): Promise<void> {
  const gigaflop = await (await plainProduct(await nodeEngine()))();
  const gigabytes = plainCopy()();
  const rows: object[] = [];
  if (!json)
    console.log(
      `lower bounds at a plain product's ${gigaflop.toFixed(0)} GFLOP/s and one core's plain copy of ${gigabytes.toFixed(1)} GB/s, guidance and iterations as published`,
    );
  for (const preset of publishedNames)
    for (const dtype of ["float32", "q8"] as const)
      for (const batch of batches) {
        const config = publishedPreset(preset);
        const { operations, bytes } = await countsOf(config, { dtype, batch });
        const floor = Math.max(operations / gigaflop, bytes / gigabytes) / 1e9;
        rows.push({ preset, dtype, batch, operations, bytes, floor });
        if (!json)
          console.log(
            `  ${preset.padEnd(22)} ${dtype.padEnd(8)} ${String(batch).padStart(3)} images: ${(operations / batch / 1e9).toFixed(0).padStart(7)} GFLOP and ${(bytes / batch / 1e9).toFixed(1).padStart(6)} GB per image; at least ${floor.toFixed(1)} s in total, bound by ${operations / gigaflop > bytes / gigabytes ? "operations" : "bytes"}`,
          );
      }
  if (json) console.log(JSON.stringify({ gigaflopPerSecond: gigaflop, gigabytesPerSecond: gigabytes, rows }));
}

/** Counts for a batch of images. All values are zeros, because the counts do not depend on them. */
async function countsOf(
  config: ModelConfig,
  { dtype, batch }: { dtype: "float32" | "q8"; batch: number },
): Promise<{ operations: number; bytes: number }> {
  const parameters = new Map(modelParameters(config).map((parameter) => [parameter.name, parameter]));
  const weightBytes = (name: string): number => {
    const parameter = parameters.get(name)!;
    const { shape } = parameter;
    return dtype === "q8" && isQuantized(parameter) ? product(shape) + 4 * shape[0] : 4 * product(shape);
  };
  const counted = measuring(dryEngine, weightBytes);
  const weights = () => ({ file: "", offset: 0, bytes: 0 });
  const sampler = createSampler(counted, { config, folder: "", weights });
  const iterations = config.sampling.iterations ?? placedLevels(config).map(({ tokens }) => tokens);
  const frames = sampler.sample({ labels: Array.from({ length: batch }, () => 0), batch, iterations });
  while (!(await frames.next()).done);
  const sum = (key: "operations" | "values" | "weights") => counted.measured.reduce((total, m) => total + m[key], 0);
  return { operations: sum("operations"), bytes: sum("values") + sum("weights") };
}

/** Returns zeros in the shapes of the outputs. */
const dryEngine: Engine = {
  provider: "cpu",
  session: async ({ graph, inputs }) => ({
    inputs,
    async run(feeds) {
      const sizes = boundSizes(
        graph,
        Object.fromEntries(Object.entries(feeds).map(([name, { shape }]) => [name, shape])),
      );
      return Object.fromEntries(
        Object.entries(graph).map(([name, { dtype, shape: symbolic }]) => {
          const shape = symbolic.map((dim) => sizeOf(dim, sizes));
          return [name, { dtype, shape, data: new (arrayOf(dtype))(product(shape)) }];
        }),
      );
    },
    dispose: async () => {},
  }),
};
