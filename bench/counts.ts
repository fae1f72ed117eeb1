/**
 * `npm run bench -- counts`: operations and bytes per image for each of the paper's models, and the launches and copies
 * that a GPU needs for sampling and for a training step, all counted without computing anything.
 */

import { arrayOf, type DType, product, type Value } from "../src/core/arrays.ts";
import { type ModelConfig, placedLevels } from "../src/config/model.ts";
import { publishedNames, publishedPreset } from "../src/config/published.ts";
import type { Engine, KeptRun } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { parseTrainingConfig } from "../src/config/training.ts";
import { boundSizes, sizeOf } from "../src/graph/cost.ts";
import { writeOnnx } from "../src/graph/onnx.ts";
import type { Tensor } from "../src/graph/tensor.ts";
import { named, type Tree } from "../src/graph/tree.ts";
import { modelParameters } from "../src/model/parameters.ts";
import { inGroups, planFeeds, planPass } from "../src/model/plan.ts";
import { isQuantized } from "../src/model/quantize.ts";
import { trainingParts } from "../src/model/training.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { trainingMasks } from "../src/train/batches.ts";
import { optimizerGraph } from "../src/train/optimizer-graph.ts";
import { type Measured, measuring, plainCopy, plainProduct } from "./engine.ts";
import { noise } from "./train.ts";

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
        const { operations, bytes, ...gpu } = await countsOf(config, { dtype, batch });
        const floor = Math.max(operations / gigaflop, bytes / gigabytes) / 1e9;
        rows.push({ preset, dtype, batch, operations, bytes, floor, ...gpu });
        if (!json)
          console.log(
            `  ${preset.padEnd(22)} ${dtype.padEnd(8)} ${String(batch).padStart(3)} images: ${(operations / batch / 1e9).toFixed(0).padStart(7)} GFLOP and ${(bytes / batch / 1e9).toFixed(1).padStart(6)} GB per image; at least ${floor.toFixed(1)} s in total, bound by ${operations / gigaflop > bytes / gigabytes ? "operations" : "bytes"}; ${gpu.runs} runs, at most ${gpu.launches} launches, ${(gpu.busBytes / 1e6).toFixed(0)} MB to and from a GPU`,
          );
      }
  if (!json) console.log("a training step on a GPU, one run for each of gradients and optimiser");
  const training = publishedNames.flatMap((preset) =>
    batches.map((batch) => ({ preset, batch, ...trainingCounts(publishedPreset(preset), batch) })),
  );
  for (const { preset, batch, launches, optimizerLaunches, busBytes, stateBytes } of json ? [] : training)
    console.log(
      `  ${preset.padEnd(22)} ${String(batch).padStart(3)} images: at most ${launches} launches and ${optimizerLaunches} for the optimiser; ${(busBytes / 1e6).toFixed(2)} MB to and from the GPU, and ${(stateBytes / 1e6).toFixed(0)} MB more if weights and gradients were copied`,
    );
  if (json) console.log(JSON.stringify({ gigaflopPerSecond: gigaflop, gigabytesPerSecond: gigabytes, rows, training }));
}

/** Counts for a batch of images. All values are zeros, because the counts do not depend on them. */
async function countsOf(
  config: ModelConfig,
  { dtype, batch }: { dtype: "float32" | "q8"; batch: number },
): Promise<{ operations: number; bytes: number; runs: number; launches: number; busBytes: number }> {
  const parameters = new Map(modelParameters(config).map((parameter) => [parameter.name, parameter]));
  const weightBytes = (name: string): number => {
    const parameter = parameters.get(name)!;
    const { shape } = parameter;
    return dtype === "q8" && isQuantized(parameter) ? product(shape) + 4 * shape[0] : 4 * product(shape);
  };
  const weights = () => ({ file: "", offset: 0, bytes: 0 });
  const iterations = config.sampling.iterations ?? placedLevels(config).map(({ tokens }) => tokens);
  async function counted(provider: Engine["provider"]) {
    const engine = measuring(dryEngine(provider), weightBytes);
    const sampler = createSampler(engine, { config, folder: "", weights });
    const frames = sampler.sample({ labels: Array.from({ length: batch }, () => 0), batch, iterations });
    while (!(await frames.next()).done);
    return (key: keyof Measured) => engine.measured.reduce((total, m) => total + m[key], 0);
  }
  const [cpu, gpu] = [await counted("cpu"), await counted("webgpu")];
  return {
    operations: cpu("operations"),
    bytes: cpu("values") + cpu("weights"),
    runs: gpu("runs"),
    launches: gpu("launches"),
    busBytes: gpu("copied"),
  };
}

/** Launches and copies of one training step, with the state on the device. */
function trainingCounts(
  config: ModelConfig,
  batch: number,
): { launches: number; optimizerLaunches: number; busBytes: number; stateBytes: number } {
  const [{ backward }] = trainingParts(config, { loop: false });
  const update = optimizerGraph(config, parseTrainingConfig({}, "the counts"));
  const feeds = named({
    ...planFeeds(config, noise(config, batch)),
    ...inGroups(config, planPass(config, batch, trainingMasks(0, 0))),
  });
  const parameters = modelParameters(config).reduce((sum, { shape }) => sum + product(shape), 0);
  return {
    launches: writeOnnx(named(backward)).launches,
    optimizerLaunches: writeOnnx(named(update as Tree<Tensor>)).launches,
    busBytes: Object.values(feeds).reduce((sum, { data }) => sum + data.byteLength, 0),
    stateBytes: 2 * 4 * parameters,
  };
}

/** Returns zeros in the shapes of the outputs. */
function dryEngine(provider: Engine["provider"]): Engine {
  return {
    provider,
    async session({ graph, inputs }, { keep = () => false } = {}) {
      function shapesOf(feeds: Record<string, Value>): [name: string, DType, shape: number[]][] {
        const given = Object.entries(feeds).map(([name, { shape }]) => [name, shape]);
        const sizes = boundSizes(graph, Object.fromEntries(given));
        return Object.entries(graph).map(([name, { dtype, shape }]) => [
          name,
          dtype,
          shape.map((dim) => sizeOf(dim, sizes)),
        ]);
      }
      async function runKept(feeds: Record<string, Value>): Promise<KeptRun> {
        const result: KeptRun = { outputs: {}, kept: {} };
        for (const [name, dtype, shape] of shapesOf(feeds))
          if (keep(name)) result.kept[name] = { dtype, shape, held: undefined, dispose: () => {} };
          else result.outputs[name] = { dtype, shape, data: new (arrayOf(dtype))(product(shape)) };
        return result;
      }
      return { inputs, runKept, run: async (feeds) => (await runKept(feeds)).outputs, dispose: async () => {} };
    },
  };
}
