/** Trains a feature network on a data set's classes, or on the rotation of its images. Prints nothing. */

import { learningRateAt, parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { adamw, clipScale, globalNorm } from "../core/adamw.ts";
import { float32, type HostTensor, product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { batchSource } from "../data/batches.ts";
import { type Dataset, evenly, imagesBetween, type Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { crossEntropy, input, mul, sum } from "../graph/build.ts";
import { gradients } from "../graph/gradient.ts";
import type { Replacing } from "../files/atomic.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { is, type Tensor, topological } from "../graph/tensor.ts";
import {
  type OwnFeaturesConfig,
  ownFeaturesGraph,
  type OwnFeaturesShape,
  ownLayers,
  ownParameters,
  rotations,
  writeOwnFeatures,
} from "./own-features.ts";
import { trainingTransforms, transformed } from "./own-features-views.ts";

/** The options of `trainFeatures`. */
export interface FeatureTraining {
  /** A new folder for the network. */
  folder: string;
  steps?: number;
  batch?: number;
  seed?: number;
  signal?: AbortSignal;
  /** The caller's claim to the folder. */
  owned?: Replacing["owned"];
}

/** One step of training a feature network. */
export interface FeatureRecord {
  /** Number of this step, from 1, and the total. */
  step: number;
  steps: number;
  /** Mean cross-entropy of this step's images, in nats. */
  loss: number;
  /** Fraction of correctly classified images over the last steps. */
  accuracy: number;
  /** Duration of this step. */
  seconds: number;
}

/** The result of training a feature network. */
export interface FeatureSummary {
  /** Fraction of correctly classified held-out images. */
  accuracy: number;
  task: OwnFeaturesConfig["task"];
  parameters: number;
}

/** The default steps and batch. */
export const usualFeatureTraining = { steps: 600, batch: 64 };

const recipe = { learningRate: 2e-3, warmup: 50, weightDecay: 0.05, betas: [0.9, 0.99], clip: 1, labelDrop: 0 };

/** The largest number of held-out images to evaluate, evenly spaced, and the number in a batch. */
const [mostAsked, askedAtOnce] = [10_000, 128];
/** Steps over which the accuracy of a record is averaged. */
const accuracySteps = 30;

/**
 * Trains on `train`, evaluates on `heldOut`, and writes the complete folder, or nothing if the signal stops it. For a data set of
 * one class, the task is to recognise by how many quarter turns an image was rotated (Gidaris 2018). Equal arguments give equal
 * bytes. UserError if nothing is held out.
 */
export async function* trainFeatures(
  engine: Engine,
  dataset: Dataset,
  {
    folder,
    steps = usualFeatureTraining.steps,
    batch = usualFeatureTraining.batch,
    seed = 0,
    signal,
    owned,
  }: FeatureTraining,
): AsyncGenerator<FeatureRecord, FeatureSummary> {
  if (dataset.heldOut.count === 0)
    throw new UserError({
      subject: dataset.name,
      problem: "it holds out no images, so the network cannot be evaluated",
      hint: "hold out a part",
    });
  const turned = dataset.classes.length === 1;
  const shape = {
    imageSize: dataset.size,
    classes: turned ? [...rotations] : dataset.classes,
    ...ownLayers(dataset.size),
  };
  const training = parseTrainingConfig(
    {
      ...recipe,
      warmup: Math.min(recipe.warmup, Math.floor(steps / 4)),
      balance: balanceOf(dataset),
      steps,
      batch,
      seed,
    },
    "training of features",
  );
  const values = startingValues(shape, seed);
  yield* fit(engine, { dataset, shape, training, turned, values, signal });
  const accuracy = await heldOutAccuracy(engine, { dataset, shape, turned, values, signal });
  signal?.throwIfAborted();
  const task = turned ? "rotations" : "classes";
  const data = { name: dataset.name, fingerprint: dataset.fingerprint };
  await writeOwnFeatures(
    folder,
    { ...shape, channels: dataset.channels, task, data, accuracy, steps, batch, seed },
    values,
    { owned },
  );
  return { accuracy, task, parameters: [...values.values()].reduce((total, { length }) => total + length, 0) };
}

interface Training {
  dataset: Dataset;
  shape: OwnFeaturesShape;
  turned: boolean;
  values: Map<string, Float32Array>;
  signal?: AbortSignal;
}

async function* fit(
  engine: Engine,
  { dataset, shape, training, turned, values, signal }: Training & { training: TrainingConfig },
): AsyncGenerator<FeatureRecord> {
  const { steps, seed } = training;
  const { size, channels } = dataset;
  const session = await engine.session(writeOnnx(ownTrainingGraph(shape, training.batch)));
  const arrays = () => new Map([...values].map(([name, { length }]) => [name, new Float32Array(length)]));
  const [slopes, first, second] = [arrays(), arrays(), arrays()];
  const parameters = ownParameters(shape);
  const feeds = feedsOf(shape, values);
  const into = Object.fromEntries(
    parameters.map(({ name, shape }) => [`d.${name}`, float32(slopes.get(name)!, shape)]),
  );
  const batches = batchSource(dataset, training);
  let accuracy = 0;
  try {
    for (let step = 1; step <= steps; step++) {
      signal?.throwIfAborted();
      const started = performance.now();
      const { images, labels } = batches(step - 1);
      const transform = trainingTransforms({ size, turned }, { seed, step });
      const targets = turned ? labels.map((_, i) => transform(i).quarterTurns) : labels;
      const { loss, logits } = await session.run(
        { ...feeds, images: transformed({ images, size, channels }, transform), targets: int64(targets) },
        into,
      );
      if (!Number.isFinite(Number(loss.data[0])))
        throw new UserError({
          problem: `training of features stopped at step ${step}: the loss is ${loss.data[0]}, and nothing was written`,
          hint: ["try another seed", "take fewer steps"],
        });
      const scale = clipScale(globalNorm(slopes.values()), training.clip);
      for (const { name, shape } of parameters)
        adamw(
          values.get(name)!,
          slopes.get(name)!,
          { first: first.get(name)!, second: second.get(name)! },
          {
            ...training,
            learningRate: learningRateAt(step - 1, training),
            weightDecay: shape.length > 1 ? training.weightDecay : 0,
          },
          { step, scale },
        );
      accuracy += (rightOf(logits, targets) / targets.length - accuracy) / Math.min(step, accuracySteps);
      const seconds = (performance.now() - started) / 1000;
      yield { step, steps, loss: Number(loss.data[0]), accuracy, seconds };
    }
  } finally {
    await session.dispose();
  }
}

/** The mean loss of `batch` images in nats, the logits, and the gradient of every parameter as `d.NAME`. Parameters are inputs. */
export function ownTrainingGraph(shape: OwnFeaturesShape, batch: number): Record<string, Tensor> {
  const { logits } = ownFeaturesGraph(shape);
  const loss = mul(sum(crossEntropy(logits, input("targets", "int64", ["B"])), [0]), 1 / batch);
  const parameters = topological([loss]).filter((node) => is(node, "parameter"));
  const slopes = gradients(loss, parameters);
  return {
    loss,
    logits,
    ...Object.fromEntries(parameters.map(({ attributes: { name } }, i) => [`d.${name}`, slopes[i]])),
  };
}

/** Normal weights as in He et al. 2015, and zero biases. */
function startingValues(shape: OwnFeaturesShape, seed: number): Map<string, Float32Array> {
  return new Map(
    ownParameters(shape).map(({ name, shape }, i) => {
      const key = derive(derive(seedKey(seed), startStream), i);
      const deviation = shape.length > 1 ? Math.sqrt(2 / shape[1]) : 0;
      return [name, Float32Array.from({ length: product(shape) }, (_, n) => deviation * normal(key, n))];
    }),
  );
}

const startStream = 9;

const feedsOf = (shape: OwnFeaturesShape, values: ReadonlyMap<string, Float32Array>): Record<string, HostTensor> =>
  Object.fromEntries(ownParameters(shape).map(({ name, shape }) => [name, float32(values.get(name)!, shape)]));

const int64 = (values: Int32Array): HostTensor => ({
  dtype: "int64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** If class sizes differ by more than a factor of 2, classes are drawn in proportion to the root of their size. */
function balanceOf({ classes, train: { labels } }: Dataset): number {
  const sizes = new Float64Array(classes.length);
  for (const label of labels) sizes[label]++;
  return Math.max(...sizes) > 2 * Math.min(...sizes) ? 0.5 : 0;
}

/** The fraction of correctly classified held-out images. For rotations, each image is tested in all four. */
async function heldOutAccuracy(engine: Engine, { dataset, shape, turned, values, signal }: Training): Promise<number> {
  const split: Split = evenly(dataset.heldOut, mostAsked);
  const { logits } = ownFeaturesGraph(shape);
  const session = await engine.session(writeOnnx({ logits }));
  const feeds = feedsOf(shape, values);
  const turns = turned ? rotations.map((_, turn) => turn) : [0];
  let right = 0;
  try {
    for (let from = 0; from < split.count; from += askedAtOnce) {
      const to = Math.min(split.count, from + askedAtOnce);
      const given = { images: imagesBetween(split, { from, to }), size: dataset.size, channels: dataset.channels };
      for (const turn of turns) {
        signal?.throwIfAborted();
        const { logits } = await session.run({ ...feeds, images: transformed(given, () => ({ quarterTurns: turn })) });
        const labels = split.labels.subarray(from, to);
        right += rightOf(logits, turned ? labels.map(() => turn) : labels);
      }
    }
  } finally {
    await session.dispose();
  }
  return right / (split.count * turns.length);
}

/** The number of rows of logits [B, N] whose largest is that of the label. */
function rightOf({ data, shape: [, width] }: HostTensor, labels: Int32Array): number {
  const rows = data as Float32Array;
  const largest = (row: Float32Array) => row.indexOf(row.reduce((a, b) => Math.max(a, b)));
  return labels.filter((label, i) => largest(rows.subarray(i * width, (i + 1) * width)) === label).length;
}
