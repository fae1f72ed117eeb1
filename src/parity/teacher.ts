/** Compares the teacher-forced passes of a parity case: conditions, likelihood, losses, gradients, AdamW steps. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { learningRateAt } from "../config/training.ts";
import { adamw, type AdamWOptions, clipScale, globalNorm, type Moments } from "../core/adamw.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import { openConversion } from "../files/convert.ts";
import { gatherRows, input } from "../graph/build.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named } from "../graph/tree.ts";
import { placedLevels } from "../config/model.ts";
import { lossGraph } from "../model/loss.ts";
import { decays, modelParameters } from "../model/parameters.ts";
import { type Batch, lossFeeds, type Masks, planPass, takeNeighbours } from "../model/plan.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import type { TrainingState } from "../train/state.ts";
import { trainingStep } from "../train/step.ts";
import type { ParityCase } from "./case.ts";
import { type Comparison, relative, relativeToLargest, within } from "./compare.ts";

const numbers = ({ data }: HostTensor): ArrayLike<number> => data as ArrayLike<number>;

/** Replays the recorded draws of one pass (`eval` or `trainN`) as masks, in their recorded order. */
function recordedMasks(recorded: ParityCase, pass: string): Masks {
  const draws = recorded.keys.filter((key) => key.startsWith(`${pass}.draw.`)).sort();
  let at = 0;
  const next = (kind: string): ArrayLike<number> => {
    const key = draws[at++];
    if (!key?.endsWith(`.${kind}`)) throw new Error(`${pass}: expected a recorded draw of ${kind}, got ${key}`);
    return numbers(recorded.expected(key));
  };
  return (_, { image }, tokens) => {
    const rows = image.length;
    const order = next("order");
    const mask = new Uint8Array(rows * tokens);
    if (pass === "eval") {
      const count = next("randint")[0] + 1;
      for (let row = 0; row < rows; row++)
        for (let i = 0; i < count; i++) mask[row * tokens + order[row * tokens + i]] = 1;
      return mask;
    }
    const rates = next("maskrate");
    for (let row = 0; row < rows; row++) {
      const ranks = Array.from({ length: tokens }, (_, i) => i).sort(
        (a, b) => order[row * tokens + a] - order[row * tokens + b],
      );
      for (const place of ranks.slice(0, Math.ceil(tokens * rates[row]))) mask[row * tokens + place] = 1;
    }
    return mask;
  };
}

const allNull = ({ config, expected }: ParityCase): Batch => {
  const images = expected("images.u8");
  return {
    images: images.data as Uint8Array,
    labels: new Int32Array(images.shape[0]).fill(config.classes.length),
  };
};

export async function compareEvaluation(engine: Engine, recorded: ParityCase): Promise<Comparison[]> {
  const { config, weights, expected } = recorded;
  const [first] = placedLevels(config);
  const graph = lossGraph(config);
  const outputs = {
    loss: graph.loss,
    conditions: gatherRows(graph.firstLevel, input("everyNeighbour", "int32", ["all", first.handsDown])),
  };
  const session = await engine.session(writeOnnx(outputs, formFor(engine)));
  const batch = allNull(recorded);
  const rows = batch.labels.length;
  const every = takeNeighbours(new Uint8Array(rows * first.tokens).fill(1), first.grid, first.handsDown).take;
  const parameters: Record<string, HostTensor> = {};
  for (const { name, shape } of modelParameters(config)) parameters[name] = float32(weights.get(name)!, shape);
  const run = (masks: Masks) => {
    const plan = planPass(config, rows, masks);
    return session.run(named({ ...parameters, ...lossFeeds(config, batch, plan), everyNeighbour: every }));
  };

  // The conditions were recorded with a separate mask; deeper levels do not affect them.
  const given = recorded.has("level0.mask") ? numbers(expected("level0.mask")) : undefined;
  const { conditions } = await run((level, { image }, tokens) => {
    const mask = new Uint8Array(image.length * tokens);
    return level === 0 ? mask.map((_, i) => given![i]) : mask.map((_, i) => Number(i % tokens === 0));
  });
  const results: Comparison[] = [];
  const names = ["left", "bottom", "right", "top", "middle"].slice(5 - first.handsDown);
  const values = conditions.data as Float32Array;
  names.forEach((name, d) => {
    const part = Float32Array.from({ length: values.length / names.length }, (_, i) => {
      const row = Math.floor(i / first.width);
      return values[(row * names.length + d) * first.width + (i % first.width)];
    });
    results.unshift(within(`level0.cond.${name}`, part, numbers(expected(`level0.cond.${name}`)), 1e-4));
  });
  const { loss } = await run(recordedMasks(recorded, "eval"));
  results.push(relative("eval.loss", Number(loss.data[0]), numbers(expected("eval.loss"))[0], 1e-5));
  await session.dispose();
  return results;
}

/** Compares both recorded steps, starting from the initial checkpoint. */
export async function compareTraining(engine: Engine, recorded: ParityCase): Promise<Comparison[]> {
  const { train } = recorded;
  const values = new Map([...recorded.weights].map(([name, data]) => [name, data.slice()]));
  const moments = new Map(
    [...values].map(([name, { length }]) => [
      name,
      { first: new Float32Array(length), second: new Float32Array(length) },
    ]),
  );
  return compareSteps(engine, recorded, {
    state: { step: 0, values, moments },
    settings: {
      learningRate: train.lr,
      betas: train.betas,
      eps: train.eps,
      weightDecay: train.weight_decay,
      clip: train.grad_clip,
    },
  });
}

/** Compares the second recorded step, by resuming training from the converted checkpoint after the first step. */
export async function compareResumed(engine: Engine, recorded: ParityCase): Promise<Comparison[]> {
  const { afterFirstStep, config } = recorded;
  if (afterFirstStep === undefined) return [];
  const folder = await mkdtemp(join(tmpdir(), "fractalgen-parity-"));
  try {
    const conversion = await openConversion(afterFirstStep, config);
    await conversion.write(folder).finally(conversion.close);
    const { state, training } = await loadCheckpoint(folder);
    const settings = { ...training, learningRate: learningRateAt(state.step, training) };
    const results = await compareSteps(engine, recorded, { state, settings });
    return results.map((result) => ({ ...result, name: `resumed: ${result.name}` }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Compares the recorded steps that `state` has not taken yet. */
async function compareSteps(
  engine: Engine,
  recorded: ParityCase,
  {
    state: { step: taken, values, moments },
    settings,
  }: { state: Omit<TrainingState, "average">; settings: AdamWOptions & { clip: number } },
): Promise<Comparison[]> {
  const { config, expected, train } = recorded;
  const step = await trainingStep(engine, config);
  const parameters = modelParameters(config);
  const labels = int32(
    Array.from(numbers(expected("labels")), (label, i) => (train.label_dropped[i] ? config.classes.length : label)),
    [train.label_dropped.length],
  ).data as Int32Array;
  const batch = { images: expected("images.u8").data as Uint8Array, labels };
  const results: Comparison[] = [];
  const firstGradients = new Map<string, ArrayLike<number>>();
  for (const number of [0, 1].slice(taken)) {
    const pass = `train${number}`;
    const { loss } = await step.run(values, batch, { masks: recordedMasks(recorded, pass) });
    results.push(relative(`${pass}.loss`, loss, numbers(expected(`${pass}.loss`))[0], 1e-5));
    const norm = globalNorm(step.gradients.values());
    results.push(relative(`${pass}.grad_norm`, norm, numbers(expected(`${pass}.grad_norm`))[0], 1e-5));
    for (const parameter of parameters) {
      const { name } = parameter;
      const gradient = step.gradients.get(name)!;
      const key = `${pass}.grad.${name}`;
      const normKey = `${pass}.gradnorm.${name}`;
      // For large tensors only the norm was recorded; our own gradient then shows which values are noise.
      const first = `train0.grad.${name}`;
      if (number === taken) firstGradients.set(name, recorded.has(first) ? numbers(expected(first)) : gradient.slice());
      if (recorded.has(key)) {
        const recordedGradient = numbers(expected(key));
        results.push(
          isNoise(recordedGradient)
            ? within(key, gradient, recordedGradient, 1e-6)
            : relativeToLargest(key, gradient, recordedGradient, 1e-4),
        );
      } else if (recorded.has(normKey))
        results.push(relative(normKey, globalNorm([gradient]), numbers(expected(normKey))[0], 1e-4));
      adamw(
        values.get(name)!,
        gradient,
        moments.get(name) as Required<Moments>,
        { ...settings, weightDecay: decays(parameter) ? settings.weightDecay : 0 },
        { step: number + 1, scale: clipScale(norm, settings.clip) },
      );
    }
  }
  for (const { name } of parameters) {
    const key = `train1.after.${name}`;
    if (recorded.has(key)) results.push(...compareAfter(key, recorded, values.get(name)!, firstGradients.get(name)!));
  }
  await step.dispose();
  return results;
}

/** Whether the whole gradient is rounding noise (as for attention's key bias); it is then compared absolutely. */
const isNoise = (gradient: ArrayLike<number>): boolean =>
  Array.prototype.every.call(gradient, (g) => Math.abs(g) < 1e-6);

/**
 * AdamW turns even a gradient of rounding noise into steps as large as the learning rate, so those are compared
 * loosely.
 */
function compareAfter(
  key: string,
  { expected, train }: ParityCase,
  got: Float32Array,
  gradient: ArrayLike<number>,
): Comparison[] {
  const after = numbers(expected(key));
  const firm: number[] = [];
  const loose: number[] = [];
  for (let i = 0; i < got.length; i++) (Math.abs(gradient[i]) > 1e-6 ? firm : loose).push(i);
  const at = (values: ArrayLike<number>, indices: number[]) => indices.map((i) => values[i]);
  return [
    ...(firm.length > 0 ? [within(key, at(got, firm), at(after, firm), 1e-5)] : []),
    ...(loose.length > 0 ? [within(`${key} (noise)`, at(got, loose), at(after, loose), 2 * train.lr)] : []),
  ];
}
