/**
 * `npm run bench -- gpu`: what a GPU does with the models, in a few minutes on any machine with a driver: plain rates,
 * sampling, training and likelihood, each compared with its floor at the plain rates of the same run.
 */

import { interruptible } from "../src/cli/interrupt.ts";
import { type ModelConfig, parseModelConfig } from "../src/config/model.ts";
import { presetFor } from "../src/config/presets.ts";
import { publishedPreset } from "../src/config/published.ts";
import type { Engine, Provider } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node.ts";
import {
  describeDevice,
  deviceLimits,
  largestTensor,
  type Problem,
  problemOf,
  type Rates,
  ratesOf,
  type TypeRates,
} from "./gpu-device.ts";
import {
  type Comparison,
  likelihoodsCompared,
  type Limit,
  type Measurement,
  type Model,
  randomWeights,
  sampled,
  trainedSteps,
} from "./gpu-models.ts";

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
  /** Why it cannot run here. */
  skip?: string;
  run(limit: Limit): Promise<Measurement | Comparison | undefined>;
}

interface About {
  provider?: Provider;
  /** Why it is not the requested provider. */
  fallback?: string;
  name?: string;
  processor?: string;
  limits?: ReturnType<typeof deviceLimits>;
  /** In bytes. */
  largestTensor?: number;
}

/** Runs all measurements in the order of their value, until the time is over or the user stops it. */
export async function benchGpu({ device, seconds, quick = false, json }: GpuBench): Promise<void> {
  const stopped = interruptible({ onStop: () => console.error("stopping after this run") });
  const { signal } = stopped;
  const end = performance.now() + 1000 * seconds;
  const left = () => (end - performance.now()) / 1000;
  const goOn = () => !signal.aborted && left() > 1;
  const say = (line: string) => void (json ? console.error(line) : console.log(line));
  const about: About = {};
  const results: (Measurement | Comparison)[] = [];
  const failed: ({ name: string } & Problem)[] = [];
  const skipped: typeof failed = [];
  const fail = (name: string, problem: string) => {
    failed.push({ name, problem });
    say(`  ${name}: ${problem}`);
  };
  let rates: Rates | undefined;
  let complete = false;
  try {
    const engine = await nodeEngine({ provider: device });
    const { provider, fallback } = engine;
    Object.assign(about, { provider, fallback, ...describeDevice(provider), limits: deviceLimits() });
    if (fallback) say(`${fallback}; measuring the CPU instead`);
    say(`${provider}: ${about.name}; ${about.processor}`);
    sayLimits(say, about.limits);
    about.largestTensor = await largestTensor(engine, quick ? 2 ** 26 : 2 ** 33, goOn);
    say(`  largest tensor: ${(about.largestTensor / 2 ** 20).toFixed(0)} MiB`);
    rates = await ratesOf(engine, { side: quick ? 256 : 8192, values: quick ? 2 ** 20 : 2 ** 26 }, goOn);
    sayRates(say, rates);
    const tasks = tasksOf({ engine, half: await nodeEngine({ provider: device, precision: "float16" }), rates, quick });
    for (const [i, { name, weight, skip, run }] of tasks.entries()) {
      if (skip) {
        skipped.push({ name, problem: skip });
        say(`  ${name}: skipped: ${skip}`);
        continue;
      }
      const weights = tasks.slice(i).reduce((sum, one) => sum + one.weight, 0);
      if (!goOn()) {
        fail(name, signal.aborted ? "not measured, stopped" : "not measured, no time left");
        continue;
      }
      try {
        const found = await run({ seconds: (left() * weight) / weights, signal });
        if (found) {
          results.push(found);
          say("difference" in found ? comparison(name, found) : row(name, found));
        } else fail(name, signal.aborted ? "stopped" : "not finished in its share of the time");
      } catch (error) {
        fail(name, problemOf(error));
      }
    }
    complete = failed.length === 0;
  } finally {
    stopped.done();
    if (json) console.log(JSON.stringify({ device: about, rates, results, failed, skipped, complete }));
    if (signal.aborted) process.exitCode = stopped.exitCode();
  }
}

interface Tasks {
  engine: Engine;
  /** The engine that was asked for float16. */
  half: Engine;
  rates: Rates;
  quick: boolean;
}

function tasksOf({ engine, half, rates, quick }: Tasks): Task[] {
  const emoji = (kind: "mar" | "ar") => {
    const { model } = presetFor({ size: "tiny", kind }, { imageSize: 32, channels: 3 });
    return parseModelConfig({ ...model, classes: ["one", "two"] }, "the benchmark");
  };
  const configs: Record<string, ModelConfig> = quick
    ? { "tiny MAR": miniature("mar"), "tiny AR": miniature("ar") }
    : {
        "emoji MAR": emoji("mar"),
        "emoji AR": emoji("ar"),
        "FractalMAR-64": publishedPreset("fractalmar_in64"),
        "FractalAR-64": publishedPreset("fractalar_in64"),
      };
  const models: Record<string, Model> = Object.fromEntries(
    Object.entries(configs).map(([name, config]) => [name, randomWeights(config)]),
  );
  const plain: How = { on: engine, rates: known(rates.float32), suffix: "" };
  const inHalf: How = { on: half, rates: known(rates.float16), suffix: ", float16", skip: half.fallback };
  const sampling = (model: string, { batch, weight, how = plain }: TaskSize): Task => ({
    name: `sample ${model}, batch ${batch}${how.suffix}`,
    weight,
    skip: how.skip,
    run: (limit) =>
      sampled(how.on, models[model], { batch, rates: how.rates, name: `sample ${model}${how.suffix}`, ...limit }),
  });
  const training = (model: string, { batch, weight, how = plain }: TaskSize): Task => ({
    name: `train ${model}, batch ${batch}${how.suffix}`,
    weight,
    skip: how.skip,
    run(limit) {
      const task = { batch, rates: how.rates, name: `train ${model}${how.suffix}`, ...limit };
      const began = performance.now();
      return trainedSteps(how.on, configs[model], task).catch((error: unknown) => {
        if (batch === 1 || limit.signal.aborted) throw error;
        // Probably too little memory; one image at a time with checkpointing needs the least.
        const name = `${task.name} with checkpointing, because batch ${batch} failed: ${problemOf(error)}`;
        const seconds = limit.seconds - (performance.now() - began) / 1000;
        return trainedSteps(how.on, configs[model], { ...task, name, batch: 1, checkpointing: true, seconds });
      });
    },
  });
  const likelihood = (model: string, weight: number): Task => ({
    name: `likelihood of 8 random images, ${model}, float32 and float16`,
    weight,
    skip: half.fallback,
    run: (limit) =>
      likelihoodsCompared({ float32: engine, float16: half }, models[model], {
        name: `likelihood ${model}`,
        images: 8,
        ...limit,
      }),
  });
  if (quick)
    return [
      sampling("tiny MAR", { batch: 2, weight: 1 }),
      training("tiny MAR", { batch: 2, weight: 2 }),
      sampling("tiny AR", { batch: 2, weight: 1 }),
      likelihood("tiny MAR", 1),
    ];
  return [
    ...[64, 8, 1].map((batch) => sampling("emoji MAR", { batch, weight: 1 })),
    ...["emoji MAR", "emoji AR"].map((model) => training(model, { batch: 32, weight: 1 })),
    sampling("emoji MAR", { batch: 64, weight: 1, how: inHalf }),
    training("emoji MAR", { batch: 32, weight: 1, how: inHalf }),
    likelihood("emoji MAR", 1),
    ...[8, 1, 64].map((batch) => sampling("FractalMAR-64", { batch, weight: 2 })),
    training("FractalMAR-64", { batch: 4, weight: 2 }),
    ...[8, 1, 64].map((batch) => sampling("FractalAR-64", { batch, weight: 2 })),
  ];
}

/** An engine, its plain rates, how its tasks are named, and why they cannot run. */
interface How {
  on: Engine;
  rates: TypeRates | undefined;
  suffix: string;
  skip?: string;
}

interface TaskSize {
  batch: number;
  weight: number;
  how?: How;
}

const known = (rates: TypeRates | Problem): TypeRates | undefined => ("problem" in rates ? undefined : rates);

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

function sayLimits(say: (line: string) => void, limits: Record<string, string[]> | undefined): void {
  if (!limits) say("  vulkaninfo is not installed, so the device's limits are not known");
  for (const [name, values] of Object.entries(limits ?? {})) say(`  ${name}: ${values.join("; ")}`);
}

function sayRates(say: (line: string) => void, rates: Rates): void {
  for (const [name, found] of Object.entries(rates) as [string, TypeRates | Problem][])
    say(
      "problem" in found
        ? `  ${name}: not available: ${found.problem}`
        : `  ${name}: a plain product ${found.product.toPrecision(3)} GFLOP/s, a plain copy ${found.copy.toPrecision(3)} GB/s`,
    );
}

const comparison = (name: string, { float32, float16, difference }: Comparison): string =>
  `  ${name}: ${float32.toFixed(5)} and ${float16.toFixed(5)} bits per dimension, at most ${difference.toExponential(1)} apart`;

function row(name: string, found: Measurement): string {
  const { images, seconds, share, gigaflop, floor, runs, launches, busBytes, warmUp } = found;
  return [
    `  ${name.padEnd(32)} ${(images / seconds).toPrecision(3).padStart(7)} images/s`,
    `${(gigaflop / seconds).toPrecision(3).padStart(7)} GFLOP/s`,
    ...(floor ? [`${(seconds / floor).toFixed(1).padStart(6)} times the floor`] : []),
    `${((1e6 * seconds) / launches).toFixed(1).padStart(7)} us per launch`,
    `${(busBytes / seconds / 1e6).toFixed(1).padStart(7)} MB/s over the bus`,
    `  ${runs} runs in ${seconds.toFixed(1)} s after ${warmUp.toFixed(1)} s of warm-up${share < 1 ? `, ${(100 * share).toFixed(0)}% drawn` : ""}`,
    ...(found.name.includes("because") ? [`  ${found.name}`] : []),
  ].join(" ");
}
