/** One training step: loss and gradients of a batch, in micro-batches. Knows no optimiser and no data sets. */

import type { HostTensor } from "../core/arrays.ts";
import { float32, int32, product } from "../core/arrays.ts";
import { guidingPixelRedWeight, type ModelConfig } from "../config/model.ts";
import type { Engine } from "../engine/engine.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Batch, inGroups, lossFeeds, type Masks, partOf, planPass } from "../model/plan.ts";
import { trainingGraph } from "../model/training.ts";

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

const group = Number(process.env["GROUP"] ?? 32);

/** Compiles the graph of loss and gradients. A step's result does not depend on how it is cut into micro-batches. */
export async function trainingStep(
  engine: Engine,
  config: ModelConfig,
  options: StepOptions = {},
): Promise<TrainingStep> {
  const session = await engine.session(writeOnnx(trainingGraph(config, options)));
  const shapes = new Map(modelParameters(config).map(({ name, shape }) => [name, shape]));
  const names = [...shapes.keys()];
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
      const firsts = plans.map((_, i) =>
        plans[0].rows.slice(0, -1).map((_, l) => plans.slice(0, i).reduce((sum, { rows }) => sum + rows[l], 0)),
      );
      const totals = plans[0].rows.map((_, l) => plans.reduce((sum, { rows }) => sum + rows[l], 0));
      let lossSum = 0;
      let natSum = 0;
      for (const [i, plan] of plans.entries()) {
        const into = i === 0 ? total : (part ??= zeros(shapes));
        const slice = partOf(batch, starts[i], Math.min(count, starts[i] + microBatch));
        const feeds: Record<string, HostTensor> = {
          ...lossFeeds(config, slice, plan, {
            totals,
            redWeight: config.redWeight,
            guidingRedWeight: guidingPixelRedWeight,
          }),
          ...inGroups(config, plan, group),
          seed: int32([seed], []),
          first: int32(firsts[i], [firsts[i].length]),
        };
        const result = await session.run({ ...weights, ...feeds }, outputsInto(into));
        const nats = result.nats.data as Float32Array;
        natSum += nats.reduce((a, b) => a + b, 0);
        for (const [name, { data }] of Object.entries(result)) {
          const channelWeights = feeds[name === "nats" ? "weights.pixels" : name.replace("guidingNats", "weights.guiding")];
          if (/nats/i.test(name)) (data as Float32Array).forEach((n, c) => (lossSum += n * Number(channelWeights.data[c])));
        }
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
