/** One training step: loss and gradients of a batch, in micro-batches. Knows no optimiser, data sets or threads. */

import { guidingPixelRedWeight, type ModelConfig, placedLevels, prefixTokens } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { float32, int32, product } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, runTree, type Tree } from "../graph/tree.ts";
import type { ChannelWeights, TrainingFeeds } from "../model/feeds.ts";
import { modelParameters } from "../model/parameters.ts";
import {
  type Batch,
  channelWeights,
  inGroups,
  masksOfPart,
  type Masks,
  type Plan,
  type Share,
  partOf,
  planFeeds,
  planPass,
} from "../model/plan.ts";
import { type Nats, type TrainingOptions, trainingParts } from "../model/training.ts";

/** Loss and gradients of a batch. */
export interface StepResult {
  /** The training loss: the mean over predicted pixels, with the weight for red, plus the loss of guiding pixels. */
  loss: number;
  /**
   * Mean bits per predicted value, with equal weights for all channels, without guiding pixels. If only some patches are
   * passed down, an estimate from these, by their weights.
   */
  bits: number;
}

/** Everything a training step depends on besides its batch. */
export interface StepOptions {
  /** Number of the batch, for steps that are computed elsewhere. */
  number?: number;
  masks: Masks;
  /** Chooses which of the batch's predicted patches are passed down; by default all. */
  share?: (config: ModelConfig, batch: Batch) => Share;
  /** Seed of dropout. */
  seed?: number;
  microBatch?: number;
}

/** Computes the loss of a batch and its gradients. */
export interface TrainingStep {
  /** The gradients of the last call, by parameter name; overwritten by the next. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  /** Computes one step. `values` may change between calls. */
  run(values: ReadonlyMap<string, Float32Array>, batch: Batch, options: StepOptions): Promise<StepResult>;
  /** Frees memory and threads. The step cannot be used afterwards. */
  dispose(): Promise<void>;
}

/**
 * The part of a batch that one lane (a thread's share of the work) computes; plain data, so that it can be sent to
 * another thread.
 */
export interface LaneTask {
  batch: Batch;
  /** Which patches are predicted and which of them are passed down, level by level. */
  plan: Pick<Plan, "masks" | "down">;
  /** Number of rows of each level, then of pixels, in the whole batch, and how many of them precede this part. */
  totals: number[];
  before: number[];
  seed: number;
  microBatch: number;
}

/**
 * Sums over a part of a batch: the loss, whose weights average over the whole batch, and the nats of all channels, by the
 * weights of their patches.
 */
export interface LaneResult {
  loss: number;
  nats: number;
}

export interface TrainingLane {
  readonly gradients: ReadonlyMap<string, Float32Array>;
  run(values: ReadonlyMap<string, Float32Array>, task: LaneTask): Promise<LaneResult>;
  dispose(): Promise<void>;
}

/** The widest intermediate values of a group should fit into this much of a core's cache. */
const cacheBytes = 1e6;

/** Number of squares of the last level above the pixels that are computed together. */
export function groupSize(config: ModelConfig): number {
  const level = placedLevels(config).at(-1)!;
  const widest = 4 * level.width * (level.tokens + prefixTokens(level)) * Float32Array.BYTES_PER_ELEMENT;
  return Math.max(4, Math.round(cacheBytes / widest));
}

/** Compiles the graphs of loss and gradients: with the loop on the CPU, without it on a GPU. */
export async function openLane(
  engine: Engine,
  config: ModelConfig,
  options: TrainingOptions = {},
): Promise<TrainingLane> {
  // With checkpointing, several large sessions run in turn; they must not all keep their memory.
  const keepMemory = !options.checkpointing;
  const loop = engine.provider === "cpu";
  const group = loop ? groupSize(config) : undefined;
  const open = (graph: Tree<Tensor>) => engine.session(writeOnnx(named(graph), formFor(engine)), { keepMemory });
  const parts = await Promise.all(
    trainingParts(config, { ...options, loop }).map(async ({ forward, backward }, i, { length }) => ({
      forward: i + 1 < length ? { outputs: forward, session: await open(forward) } : undefined,
      backward: { outputs: backward, session: await open(backward) },
    })),
  );
  const shapes = new Map(modelParameters(config).map(({ name, shape }) => [name, shape]));
  const gradients = new Map([...shapes].map(([name, shape]) => [name, new Float32Array(product(shape))]));
  const tensorsOf = (data: ReadonlyMap<string, Float32Array>, names: Iterable<string>): Record<string, HostTensor> =>
    Object.fromEntries([...names].map((name) => [name, float32(data.get(name)!, shapes.get(name)!)]));

  return {
    gradients,
    async dispose() {
      for (const { forward, backward } of parts) {
        await forward?.session.dispose();
        await backward.session.dispose();
      }
    },
    async run(values, task) {
      const parameters = tensorsOf(values, shapes.keys());
      const sums = { loss: 0, nats: 0 };
      let first = true;
      for (const feeds of microBatches(config, task, group)) {
        for (const { forward } of parts) {
          if (!forward) continue;
          const { checkpoint } = await runTree(forward.session, forward.outputs, { ...parameters, ...feeds });
          Object.assign(feeds.checkpoint, checkpoint);
        }
        for (const { backward } of parts.toReversed()) {
          const { session, outputs } = backward;
          const into = first ? { d: tensorsOf(gradients, Object.keys(outputs.d)) } : {};
          const { d, dCheckpoint, ...nats } = await runTree(session, outputs, { ...parameters, ...feeds }, into);
          if (!first)
            for (const [name, { data }] of Object.entries(d)) addInto(gradients.get(name)!, data as Float32Array);
          feeds.dCheckpoint = dCheckpoint;
          addNats(sums, nats, feeds.weights);
        }
        first = false;
      }
      return sums;
    },
  };
}

/**
 * The inputs of each micro-batch of a task, except the parameters: in groups of `group` squares for the loop of the last
 * level, or without `group` for the graph without a loop.
 */
export function* microBatches(
  config: ModelConfig,
  { batch, plan: whole, totals, before, seed, microBatch }: LaneTask,
  group?: number,
): Generator<Feeds> {
  const weights = channelWeightsOf(config, totals);
  const count = batch.labels.length;
  let first = before.slice(0, -1);
  for (let from = 0; from < count; from += microBatch) {
    const to = Math.min(count, from + microBatch);
    const part = masksOfPart(config, whole, { from, to });
    const plan = planPass(config, to - from, part.masks, part.share);
    yield {
      ...planFeeds(config, partOf(batch, from, to)),
      ...inGroups(config, plan, group),
      weights,
      seed: int32([seed], []),
      first: int32(first, [first.length]),
      checkpoint: [],
      dCheckpoint: [],
    };
    first = first.map((at, l) => at + plan.rows[l]);
  }
}

type Feeds = TrainingFeeds & Record<"checkpoint" | "dCheckpoint", (HostTensor | undefined)[]>;

/** Adds the loss and the nats of a part of a batch to the sums. */
export function addNats(
  sums: LaneResult,
  { guidingNats, nats, lastGuidingNats }: Nats<HostTensor>,
  { pixels, guiding }: ChannelWeights<HostTensor>,
): void {
  const add = (found?: HostTensor, weights?: HostTensor) =>
    (found?.data as Float32Array | undefined)?.forEach((n, c) => (sums.loss += n * Number(weights!.data[c])));
  guidingNats.forEach((found, l) => add(found, guiding[l]));
  add(nats, pixels);
  add(lastGuidingNats, guiding.at(-1));
  if (nats) sums.nats += (nats.data as Float32Array).reduce((a, b) => a + b, 0);
}

/** The weights of the channels in the training loss. */
const channelWeightsOf = (config: ModelConfig, totals: number[]) =>
  channelWeights(config, totals, { redWeight: config.redWeight, guidingRedWeight: guidingPixelRedWeight });

/** Plans a batch and splits its images among lanes. */
export function laneTasks(
  config: ModelConfig,
  batch: Batch,
  { masks, share, seed = 0, microBatch, lanes }: StepOptions & { microBatch: number; lanes: number },
): { tasks: LaneTask[]; predicted: number } {
  const count = batch.labels.length;
  const plan = planPass(config, count, masks, share?.(config, batch));
  let before = plan.rows.map(() => 0);
  const tasks: LaneTask[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    const from = Math.floor((count * lane) / lanes);
    const to = Math.floor((count * (lane + 1)) / lanes);
    if (from === to) continue;
    const part = masksOfPart(config, plan, { from, to });
    const { rows, masks, down } = planPass(config, to - from, part.masks, part.share);
    tasks.push({ batch: partOf(batch, from, to), plan: { masks, down }, totals: plan.rows, before, seed, microBatch });
    before = before.map((at, l) => at + rows[l]);
  }
  return { tasks, predicted: plan.rows.at(-1)! * config.channels };
}

/** Computes training steps in this thread. The result does not depend on the size of the micro-batches. */
export async function trainingStep(
  engine: Engine,
  config: ModelConfig,
  options: TrainingOptions = {},
): Promise<TrainingStep> {
  const lane = await openLane(engine, config, options);
  return {
    gradients: lane.gradients,
    dispose: lane.dispose,
    async run(values, batch, { microBatch = batch.labels.length, ...options }) {
      const { tasks, predicted } = laneTasks(config, batch, { ...options, microBatch, lanes: 1 });
      const { loss, nats } = await lane.run(values, tasks[0]);
      return { loss, bits: nats / Math.LN2 / predicted };
    },
  };
}

export function addInto(total: Float32Array, part: Float32Array): void {
  for (let i = 0; i < total.length; i++) total[i] += part[i];
}
