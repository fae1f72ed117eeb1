/**
 * Trains a tiny model on pictures of one class, with the same code as `fractalgen train`, and draws from it now and then.
 * Independent of the page and of the runtime.
 */

import { type ModelConfig, parseModelConfig } from "../../config/model.ts";
import { recipes } from "../../config/recipes.ts";
import { parseTrainingConfig, type TrainingConfig } from "../../config/training.ts";
import { product } from "../../core/arrays.ts";
import { type Dataset, type Split, splitOf } from "../../data/dataset.ts";
import type { Engine } from "../../engine/engine.ts";
import { modelParameters } from "../../model/parameters.ts";
import { createSampler, type SampledModel } from "../../sample/sampler.ts";
import { packed } from "../../train/packed.ts";
import { startingState } from "../../train/state.ts";
import { train } from "../../train/trainer.ts";
import { drawnAtOnce, type Lesson, type LessonProgress, side } from "./protocol.ts";

/** The engines that a lesson needs. */
export interface LessonEngines {
  /** Trains and measures. */
  training: Engine;
  /** Opens an engine on the CPU for sampling, with the model's weights in these files. */
  sampling(files: Record<string, Uint8Array>): Promise<Engine>;
}

/** Seconds of training between drawings. */
const drawSeconds = 4;

/** 0.23 million parameters, chosen so that hearts appear within half a minute on one thread of WASM. */
const tinyModel = (name: string): ModelConfig =>
  parseModelConfig(
    {
      imageSize: side,
      channels: 3,
      classes: [name],
      levels: [
        { kind: "ar", patch: 4, width: 64, depth: 2, heads: 4 },
        { kind: "ar", patch: 1, width: 48, depth: 1, heads: 3 },
        { kind: "pixel", width: 32, depth: 1, heads: 2 },
      ],
      ...recipes.default.model,
    },
    "the model to train",
  );

/** The default recipe with a short warm-up, a constant rate, and an average that forgets quickly. */
const trainingSettings = (): TrainingConfig =>
  parseTrainingConfig(
    {
      ...recipes.default.training,
      innerShare: [0.5],
      steps: 10_000,
      batch: 8,
      microBatch: 8,
      learningRate: 0.008,
      warmup: 20,
      schedule: "constant",
      ema: 0.99,
      labelDrop: 0,
      // Pictures are drawn, and held-out ones measured, at checkpoints.
      checkpointSeconds: drawSeconds,
      evaluateSteps: 1_000_000,
      evaluateImages: 16,
    },
    "the training settings",
  );

/** Trains until the steps are done or the signal aborts. The next step waits until the consumer asks for it. */
export async function* learn(
  lesson: Lesson,
  { training: engine, sampling }: LessonEngines,
  { seed = 0, signal }: { seed?: number; signal?: AbortSignal } = {},
): AsyncGenerator<LessonProgress> {
  const model = tinyModel(lesson.name);
  const training = { ...trainingSettings(), seed };
  const state = startingState(model, seed, training);
  const samples = async (): Promise<LessonProgress> => {
    const started = performance.now();
    const images = await drawn(sampling, model, state.average);
    // Slow machines draw less often, so that they spend most of their time on training.
    training.checkpointSeconds = Math.max(drawSeconds, (4 * (performance.now() - started)) / 1000);
    return { kind: "samples", step: state.step, images };
  };
  yield await samples();
  for await (const record of train(engine, { model, training, dataset: datasetOf(lesson), state, signal }))
    if (record.kind === "checkpoint") {
      if (!signal?.aborted) yield await samples();
    } else if (record.kind === "evaluation") yield { kind: "heldOut", step: record.step, bits: record.bits };
    else yield { kind: "step", step: record.step, bits: record.bits, seconds: record.seconds };
}

function datasetOf({ name, train, heldOut }: Lesson): Dataset {
  const split = (images: Uint8Array): Split => {
    const count = images.length / (side * side * 3);
    return splitOf({
      images,
      labels: new Int32Array(count),
      names: Array.from({ length: count }, (_, i) => String(i)),
    });
  };
  return {
    name,
    source: name,
    classes: [name],
    size: side,
    channels: 3,
    train: split(train),
    heldOut: split(heldOut),
    skipped: [],
    notes: [],
    fingerprint: "",
  };
}

/** Compiles the model with its current weights and draws from it. */
async function drawn(
  sampling: LessonEngines["sampling"],
  config: ModelConfig,
  values: ReadonlyMap<string, Float32Array>,
): Promise<Uint8Array> {
  const file = "weights";
  const sampler = createSampler(await sampling({ [file]: new Uint8Array(packed(config, values).buffer) }), {
    config,
    folder: "",
    weights: placesIn(file, config),
  });
  try {
    const labels = Array.from({ length: drawnAtOnce }, () => 0);
    const frames = sampler.sample({ labels, seed: 1, guidance: 1, temperature: 1 });
    for (;;) {
      const next = await frames.next();
      if (next.done) return next.value;
    }
  } finally {
    await sampler.dispose();
  }
}

/** Where the parameters are in a file of `packed` values. */
function placesIn(file: string, config: ModelConfig): SampledModel["weights"] {
  const places = new Map<string, { offset: number; bytes: number }>();
  let offset = 0;
  for (const { name, shape } of modelParameters(config)) {
    const bytes = product(shape) * Float32Array.BYTES_PER_ELEMENT;
    places.set(name, { offset, bytes });
    offset += bytes;
  }
  return (name) => ({ file, ...places.get(name)! });
}
