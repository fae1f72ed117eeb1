/** One training step: loss and gradients of a batch, in micro-batches. Knows no optimiser and no data sets. */

import type { HostTensor } from "../core/arrays.ts";
import { float32, int32, product } from "../core/arrays.ts";
import { guidingPixelRedWeight, type ModelConfig } from "../config/model.ts";
import type { Engine } from "../engine/engine.ts";
import { gradients } from "../graph/gradient.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { lossGraph } from "../model/loss.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Batch, lossFeeds, type Masks, partOf, planPass } from "../model/plan.ts";

export interface StepResult {
  /** The training loss: the mean over predicted pixels, red weighted, guiding pixels added. */
  loss: number;
  /** Mean bits per predicted value, all channels alike, without guiding pixels. */
  bits: number;
}

export interface TrainingStep {
  /** The gradients of the last call, by parameter name; overwritten by the next. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  run(
    parameters: ReadonlyMap<string, Float32Array>,
    batch: Batch,
    options: { masks: Masks; seed?: number; microBatch?: number },
  ): Promise<StepResult>;
  dispose(): Promise<void>;
}

export interface StepOptions {
  attentionDropout?: number;
  projectionDropout?: number;
}

/** Compiles the graph of loss and gradients. A step's result does not depend on how it is cut into micro-batches. */
export async function trainingStep(
  engine: Engine,
  config: ModelConfig,
  options: StepOptions = {},
): Promise<TrainingStep> {
  const { loss, nats, parameters } = lossGraph(config, options);
  const names = [...parameters.keys()];
  const wanted = gradients(loss, [...parameters.values()]);
  const session = await engine.session(
    writeOnnx({ loss, nats, ...Object.fromEntries(wanted.map((tensor, i) => [`d.${names[i]}`, tensor])) }),
  );
  const shapes = new Map(modelParameters(config).map(({ name, shape }) => [name, shape]));
  const total = zeros(shapes);
  let part: Map<string, Float32Array> | undefined;
  const outputsInto = (arrays: Map<string, Float32Array>): Record<string, HostTensor> =>
    Object.fromEntries(names.map((name) => [`d.${name}`, float32(arrays.get(name)!, shapes.get(name)!)]));

  return {
    gradients: total,
    dispose: () => session.dispose(),
    async run(values, batch, { masks, seed = 0, microBatch = batch.labels.length }) {
      const weights: Record<string, HostTensor> = {};
      for (const [name, shape] of shapes) weights[name] = float32(values.get(name)!, shape);
      const count = batch.labels.length;
      const starts = Array.from({ length: Math.ceil(count / microBatch) }, (_, i) => i * microBatch);
      const plans = starts.map((from) =>
        planPass(config, Math.min(count, from + microBatch) - from, shifted(masks, from)),
      );
      const totals = plans[0].rows.map((_, l) => plans.reduce((sum, { rows }) => sum + rows[l], 0));
      let lossSum = 0;
      let natSum = 0;
      for (const [i, plan] of plans.entries()) {
        const into = i === 0 ? total : (part ??= zeros(shapes));
        const slice = partOf(batch, starts[i], Math.min(count, starts[i] + microBatch));
        const feeds = lossFeeds(config, slice, plan, {
          totals,
          redWeight: config.redWeight,
          guidingRedWeight: guidingPixelRedWeight,
        });
        const result = await session.run(
          { ...weights, ...feeds, seed: int32([seed + 7919 * i], []) },
          outputsInto(into),
        );
        lossSum += Number(result.loss.data[0]);
        natSum += (result.nats.data as Float32Array).reduce((a, b) => a + b, 0);
        if (i > 0) for (const name of names) addInto(total.get(name)!, into.get(name)!);
      }
      return { loss: lossSum, bits: natSum / Math.LN2 / (totals.at(-1)! * config.channels) };
    },
  };
}

/** Masks of a part of a batch that starts at image `from`. */
const shifted =
  (masks: Masks, from: number): Masks =>
  (level, { image, place }, tokens) =>
    masks(level, { image: image.map((i) => i + from), place }, tokens);

const zeros = (shapes: Map<string, number[]>): Map<string, Float32Array> =>
  new Map([...shapes].map(([name, shape]) => [name, new Float32Array(product(shape))]));

function addInto(total: Float32Array, part: Float32Array): void {
  for (let i = 0; i < total.length; i++) total[i] += part[i];
}
