/**
 * `npm run bench -- gpu`: what a GPU does with the models, in a few minutes on any machine with a driver: plain rates,
 * sampling and training, each compared with its floor at the plain rates of the same run.
 */

import { type ModelConfig, parseModelConfig } from "../src/config/model.ts";
import { presetFor } from "../src/config/presets.ts";
import { publishedPreset } from "../src/config/published.ts";
import { nodeEngine } from "../src/engine/node.ts";
import type { Engine, Provider } from "../src/engine/engine.ts";
import { describeDevice, largestTensor, type Rates, ratesOf } from "./gpu-device.ts";
import { type Measurement, type Model, randomWeights, sampled, trainedSteps } from "./gpu-models.ts";

export interface GpuBench {
  device: Provider;
  /** The most time that everything may take. */
  seconds: number;
  quick?: boolean;
  json?: boolean;
}

interface Task {
  name: string;
  /** Its share of the remaining time, relative to the other tasks. */
  weight: number;
  run(limit: { seconds: number; signal: AbortSignal }): Promise<Measurement | undefined>;
}

/** Runs all measurements in the order of their value, until the time is over or the user stops it. */
export async function benchGpu({ device, seconds, quick = false, json }: GpuBench): Promise<void> {
  const stop = new AbortController();
  const onStop = () => {
    console.error("stopping after this run");
    stop.abort();
  };
  process.once("SIGINT", onStop).once("SIGTERM", onStop);
  const end = performance.now() + 1000 * seconds;
  const say = (line: string) => void (json ? console.error(line) : console.log(line));
  const engine = await nodeEngine({ provider: device });
  if (engine.fallback) say(`${engine.fallback}; measuring the CPU instead`);
  const about = { provider: engine.provider, ...describeDevice(), largestTensor: 0 };
  say(`${about.provider}: ${about.name}; ${about.processor}`);
  about.largestTensor = await largestTensor(engine, quick ? 2 ** 26 : 2 ** 33);
  say(`  largest tensor: ${(about.largestTensor / 2 ** 20).toFixed(0)} MiB`);
  const rates = await ratesOf(engine, { side: quick ? 256 : 4096, values: quick ? 2 ** 20 : 2 ** 26 });
  sayRates(say, rates);
  const results: Measurement[] = [];
  const tasks = tasksOf(engine, rates, quick);
  try {
    for (const [i, task] of tasks.entries()) {
      const left = (end - performance.now()) / 1000;
      const weights = tasks.slice(i).reduce((sum, { weight }) => sum + weight, 0);
      if (stop.signal.aborted || left < 1) {
        say(`  not measured, ${stop.signal.aborted ? "stopped" : "no time left"}: ${task.name}`);
        continue;
      }
      try {
        const found = await task.run({ seconds: (left * task.weight) / weights, signal: stop.signal });
        if (found) results.push(found);
        say(found ? row(task.name, found) : `  ${task.name}: not finished in its share of the time`);
      } catch (error) {
        say(`  ${task.name}: ${(error as Error).message.split("\n")[0].slice(0, 200)}`);
      }
    }
  } finally {
    process.off("SIGINT", onStop).off("SIGTERM", onStop);
    if (json) console.log(JSON.stringify({ device: about, rates, results, complete: results.length === tasks.length }));
  }
}

function tasksOf(engine: Engine, rates: Rates, quick: boolean): Task[] {
  const emoji = (kind: "mar" | "ar") => {
    const { model, training } = presetFor({ size: "tiny", kind }, { imageSize: 32, channels: 3 });
    return { config: parseModelConfig({ ...model, classes: ["one", "two"] }, "the benchmark"), training };
  };
  const models: Record<string, Model> = quick
    ? { "tiny MAR": randomWeights(miniature("mar")), "tiny AR": randomWeights(miniature("ar")) }
    : {
        "emoji MAR": randomWeights(emoji("mar").config),
        "FractalMAR-64": randomWeights(publishedPreset("fractalmar_in64")),
        "FractalAR-64": randomWeights(publishedPreset("fractalar_in64")),
      };
  const sampling = (name: string, batch: number, weight: number): Task => ({
    name: `sample ${name}, batch ${batch}`,
    weight,
    run: (limit) => sampled(engine, models[name], { batch, rates, name: `sample ${name}`, ...limit }),
  });
  const training = (name: string, config: ModelConfig, settings: { batch: number; weight: number }): Task => ({
    name: `train ${name}, batch ${settings.batch}`,
    weight: settings.weight,
    run: (limit) => trainedSteps(engine, config, { ...settings, rates, name: `train ${name}`, ...limit }),
  });
  if (quick)
    return [
      sampling("tiny MAR", 2, 1),
      training("tiny MAR", miniature("mar"), { batch: 2, weight: 2 }),
      sampling("tiny AR", 2, 1),
    ];
  return [
    ...[64, 8, 1].map((batch) => sampling("emoji MAR", batch, 1)),
    ...(["mar", "ar"] as const).map((kind) =>
      training(`emoji ${kind.toUpperCase()}`, emoji(kind).config, { batch: 32, weight: 1 }),
    ),
    ...[8, 1, 64].map((batch) => sampling("FractalMAR-64", batch, 2)),
    training("FractalMAR-64", publishedPreset("fractalmar_in64"), { batch: 4, weight: 2 }),
    ...[8, 1, 64].map((batch) => sampling("FractalAR-64", batch, 2)),
  ];
}

/** A model that even a software driver runs in a minute, to rehearse the benchmark. */
const miniature = (kind: "mar" | "ar"): ModelConfig =>
  parseModelConfig(
    {
      imageSize: 8,
      classes: ["one", "two"],
      levels: [
        { kind, patch: 4, width: 32, depth: 1, heads: 2 },
        { kind, patch: 1, width: 16, depth: 1, heads: 2 },
        { kind: "pixel", width: 16, depth: 1, heads: 2 },
      ],
    },
    "the benchmark",
  );

function sayRates(say: (line: string) => void, { float32, float16 }: Rates): void {
  const line = (name: string, { product, copy }: Rates["float32"]) =>
    `  ${name}: a plain product ${product.toPrecision(3)} GFLOP/s, a plain copy ${copy.toPrecision(3)} GB/s`;
  say(line("float32", float32));
  say("problem" in float16 ? `  float16: not available: ${float16.problem}` : line("float16", float16));
}

function row(name: string, found: Measurement): string {
  const { images, seconds, share, gigaflop, floor, runs, launches, busBytes, warmUp } = found;
  return [
    `  ${name.padEnd(32)} ${(images / seconds).toPrecision(3).padStart(7)} images/s`,
    `${(gigaflop / seconds).toPrecision(3).padStart(7)} GFLOP/s`,
    `${(seconds / floor).toFixed(1).padStart(6)} times the floor`,
    `${((1e6 * seconds) / launches).toFixed(1).padStart(7)} us per launch`,
    `${(busBytes / seconds / 1e6).toFixed(1).padStart(7)} MB/s over the bus`,
    `  ${runs} runs in ${seconds.toFixed(1)} s after ${warmUp.toFixed(1)} s of warm-up${share < 1 ? `, ${(100 * share).toFixed(0)}% drawn` : ""}`,
  ].join(" ");
}
