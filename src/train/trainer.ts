/** The training loop as a stream of records. Prints nothing, and leaves saving to whoever reads the stream. */

import type { ModelConfig } from "../config/model.ts";
import { learningRateAt, type TrainingConfig } from "../config/training.ts";
import type { HostTensor } from "../core/arrays.ts";
import { float32 } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { lossGraph } from "../model/loss.ts";
import { decays, modelParameters } from "../model/parameters.ts";
import { lossFeeds, partOf, planPass } from "../model/plan.ts";
import { adamw, clipScale, globalNorm } from "./adamw.ts";
import { batchSource, dropoutSeed, evaluationMasks, trainingMasks } from "./batches.ts";
import type { TrainingState } from "./checkpoint.ts";
import { trainingStep } from "./step.ts";

export type TrainingRecord =
  | {
      kind: "step";
      /** Steps done, this one included. */
      step: number;
      loss: number;
      /** Bits per dimension of what this step predicted. */
      bits: number;
      gradientNorm: number;
      learningRate: number;
      seconds: number;
    }
  | {
      kind: "evaluation";
      step: number;
      /** Held-out bits per dimension, null class, averaged weights. */ bits: number;
    };

export interface TrainingRun {
  model: ModelConfig;
  training: TrainingConfig;
  dataset: Dataset;
  /** Changed in place; between two records it is whole and can be saved. */
  state: TrainingState;
  signal?: AbortSignal;
}

/** Trains until the steps are done or the signal stops it, from wherever `state` is. A NaN ends it with an error. */
export async function* train(
  engine: Engine,
  { model, training, dataset, state, signal }: TrainingRun,
): AsyncGenerator<TrainingRecord> {
  checkDataset(model, dataset);
  const step = await trainingStep(engine, model, training);
  const evaluate = await heldOutLikelihood(engine, model, training);
  const batches = batchSource(dataset, training);
  const parameters = modelParameters(model);
  try {
    while (state.step < training.steps && !signal?.aborted) {
      const started = performance.now();
      const number = state.step;
      const { loss, bits } = await step.run(state.values, batches(number), {
        masks: trainingMasks(training.seed, number),
        seed: dropoutSeed(training.seed, number),
        microBatch: training.microBatch,
      });
      const gradientNorm = globalNorm(step.gradients.values());
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
        throw new UserError(notFinite(number + 1, loss, step.gradients));
      const learningRate = learningRateAt(number, training);
      const scale = clipScale(gradientNorm, training.clip);
      for (const parameter of parameters) {
        const { name } = parameter;
        const weightDecay = decays(parameter) ? training.weightDecay : 0;
        const options = { learningRate, betas: training.betas, eps: training.eps, weightDecay };
        adamw(state.values.get(name)!, step.gradients.get(name)!, state.moments.get(name)!, options, {
          step: number + 1,
          scale,
        });
        if (training.ema > 0)
          follow(state.average.get(name)!, state.values.get(name)!, averageDecay(training.ema, number));
      }
      state.step = number + 1;
      yield {
        kind: "step",
        step: state.step,
        loss,
        bits,
        gradientNorm,
        learningRate,
        seconds: (performance.now() - started) / 1000,
      };
      if (state.step % training.evaluateSteps === 0 || state.step === training.steps)
        yield { kind: "evaluation", step: state.step, bits: await evaluate(state.average, dataset.heldOut) };
    }
  } finally {
    await step.dispose();
    await evaluate.dispose();
  }
}

function checkDataset({ imageSize, channels, classes }: ModelConfig, dataset: Dataset): void {
  if (dataset.size !== imageSize || dataset.channels !== channels)
    throw new UserError(
      `the images of ${dataset.name} are ${dataset.size}x${dataset.size} with ${dataset.channels} channels, but the model generates ${imageSize}x${imageSize} with ${channels}`,
    );
  if (dataset.classes.join() !== classes.join())
    throw new UserError(
      `the classes of ${dataset.name} (${dataset.classes.join(", ")}) are not the model's (${classes.join(", ")})`,
    );
}

/** Early steps weigh more, so that the average soon forgets the random start. */
const averageDecay = (decay: number, step: number): number => Math.min(decay, (1 + step) / (10 + step));

function follow(average: Float32Array, value: Float32Array, decay: number): void {
  for (let i = 0; i < average.length; i++) average[i] += (1 - decay) * (value[i] - average[i]);
}

function notFinite(step: number, loss: number, gradients: ReadonlyMap<string, Float32Array>): string {
  const [name] = [...gradients].find(([, gradient]) => !gradient.every(Number.isFinite)) ?? ["the loss"];
  return `training stopped at step ${step}: the loss is ${loss} and ${name} is no longer finite; the last checkpoint is untouched, resume it with a lower learning rate`;
}

interface HeldOutLikelihood {
  (values: ReadonlyMap<string, Float32Array>, split: Split): Promise<number>;
  dispose(): Promise<void>;
}

/** Bits per dimension by the published estimate: null class, a uniform count of masked patches, here one per row. */
async function heldOutLikelihood(
  engine: Engine,
  model: ModelConfig,
  { microBatch, seed }: TrainingConfig,
): Promise<HeldOutLikelihood> {
  const { nats } = lossGraph(model);
  const session = await engine.session(writeOnnx({ nats }));
  const run = async (values: ReadonlyMap<string, Float32Array>, { images, count }: Split) => {
    const parameters: Record<string, HostTensor> = {};
    for (const { name, shape } of modelParameters(model)) parameters[name] = float32(values.get(name)!, shape);
    const labels = new Int32Array(count).fill(model.classes.length);
    let total = 0;
    let predicted = 0;
    for (let from = 0, pass = 0; from < count; from += microBatch, pass++) {
      const batch = partOf({ images, labels }, from, Math.min(count, from + microBatch));
      const plan = planPass(model, batch.labels.length, evaluationMasks(seed, pass));
      const result = await session.run({ ...parameters, ...lossFeeds(model, batch, plan) });
      total += (result.nats.data as Float32Array).reduce((a, b) => a + b, 0);
      predicted += plan.rows.at(-1)! * model.channels;
    }
    return total / Math.LN2 / predicted;
  };
  return Object.assign(run, { dispose: () => session.dispose() });
}
