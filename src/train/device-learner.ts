/**
 * Applies training steps to a state in the memory of a GPU. Weights, their average, moments, gradients and checkpoints
 * stay there; a step copies only images, indices and the loss. The state is copied to the host for checkpoints.
 */

import { learningRateAt } from "../config/training.ts";
import { type DeviceTensor, float32, type HostTensor, type Value } from "../core/arrays.ts";
import type { Engine, Session } from "../engine/engine.ts";
import { add, input } from "../graph/build.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { nameAt, named, type Tree, valuesOf } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { ChannelWeights } from "../model/feeds.ts";
import { modelParameters } from "../model/parameters.ts";
import { type Nats, type TrainingPart, trainingParts } from "../model/training.ts";
import { averageDecay, type Learned, type Learner, type Learning } from "./learner.ts";
import { lossScaleAt } from "./loss-scale.ts";
import { stepOptions } from "./one-step.ts";
import {
  type Group,
  groupInput,
  optimizerGraph,
  optimizerGroups,
  optimizerScalars,
  separated,
  type StatePart,
} from "./optimizer-graph.ts";
import { addNats, laneTasks, type LaneTask, microBatches } from "./step.ts";

/** Values by the name of their parameter or group, some of which may be on the device. */
type ByName = Record<string, Value>;

/** A session whose results are divided: one tree of outputs on the host, and one that stays on the device. */
interface Divided<H, D> {
  session: Session;
  onHost: H;
  onDevice: D;
}

/** Learns on the engine's device. After `store`, the state on the host equals the one on the device. */
export async function deviceLearner(engine: Engine, learning: Learning): Promise<Learner> {
  const sessions: Session[] = [];
  const dispose = async () => {
    for (const session of sessions.splice(0)) await session.dispose();
  };
  try {
    return await learnerWith(engine, learning, { sessions, dispose });
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function learnerWith(
  engine: Engine,
  { model, training, state, onNotFinite }: Learning,
  { sessions, dispose }: { sessions: Session[]; dispose: () => Promise<void> },
): Promise<Learner> {
  const parameters = modelParameters(model);
  async function open<H, D>(
    { onHost, onDevice }: { onHost: H; onDevice: D },
    form = formFor(engine),
  ): Promise<Divided<H, D>> {
    const kept = named(onDevice as Tree<Tensor>);
    const session = await engine.session(writeOnnx({ ...named(onHost as Tree<Tensor>), ...kept }, form), {
      keep: (name) => name in kept,
      keepMemory: !training.checkpointing,
    });
    sessions.push(session);
    return { session, onHost, onDevice };
  }
  const graphs = trainingParts(model, { ...training, loop: false });
  const forwards: Divided<object, TrainingPart["forward"]>[] = [];
  const backwards: Divided<Nats, Omit<TrainingPart["backward"], keyof Nats>>[] = [];
  for (const [i, { forward, backward }] of graphs.entries()) {
    if (i + 1 < graphs.length) forwards.push(await open({ onHost: {}, onDevice: forward }));
    const { d, dCheckpoint, ...nats } = backward;
    backwards.unshift(await open({ onHost: nats, onDevice: { d, dCheckpoint } }));
  }
  // Muon's iterations on Gram matrices need float32: the rounding of each is multiplied in the next.
  const inFloat32 = { ...formFor(engine), precision: undefined };
  const { norm, next } = optimizerGraph(model, training);
  const update = await open({ onHost: { norm }, onDevice: { next } }, inFloat32);
  const d = Object.fromEntries(
    parameters.map(({ name, shape }) => {
      const [sum, part] = ["sum", "part"].map((which) => input(nameAt(which, name), "float32", shape));
      return [name, add(sum, part)];
    }),
  );
  let accumulate: Divided<object, { d: Record<string, Tensor> }> | undefined;
  const copiers = new Map<number, Session>();
  /** Copies a tensor of a rank to the host, which no runtime does without a graph. */
  async function copier(rank: number): Promise<Session> {
    const x = input("x", "float32", ["A", "B", "C", "D"].slice(0, rank));
    const found = copiers.get(rank) ?? (await open({ onHost: { y: x }, onDevice: {} })).session;
    copiers.set(rank, found);
    return found;
  }

  /** Everything on the device, so that whatever fails, nothing of it stays there. */
  const held = new Set<DeviceTensor>();
  function free(tree: Tree<Value>): void {
    for (const value of Object.values(named(tree))) if ("held" in value && held.delete(value)) value.dispose();
  }
  async function run<H, D>({ session, onHost, onDevice }: Divided<H, D>, feeds: Tree<Value>) {
    const { outputs, kept } = await session.runKept(named(feeds));
    for (const tensor of Object.values(kept)) held.add(tensor);
    return { found: valuesOf(onHost, outputs), kept: valuesOf(onDevice, kept) };
  }

  const arraysOf = (part: StatePart): ReadonlyMap<string, Float32Array | undefined> => {
    if (part === "value") return state.values;
    if (part === "average") return training.ema > 0 ? state.average : new Map();
    return new Map([...state.moments].map(([name, moments]) => [name, moments[part]]));
  };
  const groups = optimizerGroups(model, training);
  /** The arrays of a group's parameters, one after another; none if the state has no such part of them. */
  const together = (part: StatePart, { name, parameters, length }: Group): [string, HostTensor][] => {
    const arrays = parameters.flatMap((parameter) => arraysOf(part).get(parameter.name) ?? []);
    if (arrays.length === 0) return [];
    const all = new Float32Array(length);
    arrays.reduce((at, array) => (all.set(array, at), at + array.length), 0);
    return [[name, float32(all, [length])]];
  };
  const byGroup = (part: StatePart) => Object.fromEntries(groups.flatMap((group) => together(part, group)));
  /** The state, at first on the host: values by parameter, the rest by group. */
  let current: Record<StatePart, ByName> = {
    value: Object.fromEntries(parameters.map(({ name, shape }) => [name, float32(state.values.get(name)!, shape)])),
    first: byGroup("first"),
    second: byGroup("second"),
    average: byGroup("average"),
  };
  let changed = false;
  /** The session that separates the average into its parameters, and its result since the last step. */
  let separate: Divided<object, { parts: Record<string, Tensor> }> | undefined;
  let averages: ByName | undefined;

  /** Sums the gradients of all micro-batches on the device, and the loss on the host. */
  async function gradientsOf(task: LaneTask, lossScale: number): Promise<{ d: ByName; loss: number; nats: number }> {
    const sums = { loss: 0, nats: 0 };
    let total: ByName | undefined;
    for (const feeds of microBatches(model, task)) {
      const given: Tree<Value> = { ...feeds, weights: scaled(feeds.weights, lossScale) };
      const checkpoint: (Value | undefined)[] = [];
      let dCheckpoint: readonly (Value | undefined)[] = [];
      const inputs = () => ({ ...current.value, ...named({ ...given, checkpoint, dCheckpoint } as Tree<Value>) });
      for (const forward of forwards) Object.assign(checkpoint, (await run(forward, inputs())).kept.checkpoint);
      const part: ByName = {};
      for (const backward of backwards) {
        const { found, kept } = await run(backward, inputs());
        addNats(sums, found, feeds.weights);
        Object.assign(part, kept.d);
        free([...dCheckpoint]);
        dCheckpoint = kept.dCheckpoint;
      }
      free(checkpoint);
      if (total) {
        accumulate ??= await open({ onHost: {}, onDevice: { d } });
        const both = { sum: total, part };
        total = (await run(accumulate, both)).kept.d;
        free(both);
      } else total = part;
    }
    return { d: total!, ...sums };
  }

  async function learn(
    batches: Parameters<Learner["learn"]>[0],
    number: number,
  ): Promise<{ learned: Learned; next: Record<StatePart, ByName> }> {
    const batch = batches(number);
    const { microBatch = batch.labels.length, ...options } = stepOptions(training, number);
    const { tasks, predicted } = laneTasks(model, batch, { ...options, microBatch, lanes: 1 });
    const learningRate = learningRateAt(number, training);
    const follow = 1 - averageDecay(training.ema, number);
    let lossScale = engine.precision === "float16" ? lossScaleAt(number, state.lossScale) : 1;
    for (;;) {
      const { d, loss, nats } = await gradientsOf(tasks[0], lossScale);
      const settings = { step: number + 1, learningRate, follow, lossScale };
      const scalars = Object.fromEntries(
        Object.entries(optimizerScalars(training, settings)).map(([name, value]) => [name, float32([value], [])]),
      );
      const { found, kept } = await run(update, { ...current, d, ...scalars });
      free(d);
      const gradientNorm = Number(found.norm.data[0]);
      const lost = loss === 0 && gradientNorm === 0; // a device that stopped working returns zeros
      if (Number.isFinite(loss) && Number.isFinite(gradientNorm) && !lost) {
        if (engine.precision === "float16") state.lossScale = lossScale;
        return { learned: { loss, bits: nats / Math.LN2 / predicted, gradientNorm, learningRate }, next: kept.next };
      }
      free(kept);
      if (lost || !Number.isFinite(loss) || lossScale === 1) throw onNotFinite({ number, loss });
      lossScale /= 2; // a gradient was too large for float16: the same step again
    }
  }

  return {
    async learn(batches, number) {
      averages = undefined;
      try {
        const { learned, next } = await learn(batches, number);
        free(current);
        current = next;
        changed = true;
        return learned;
      } finally {
        const state = new Set<Value>(Object.values(named(current)));
        free([...held].filter((tensor) => !state.has(tensor)));
      }
    },
    async averages() {
      if (training.ema === 0) return new Map(Object.entries(current.value));
      const joined = () => Object.fromEntries(groups.map((group) => [group.name, groupInput("average", group)]));
      separate ??= await open({ onHost: {}, onDevice: { parts: separated(groups, joined()) } }, inFloat32);
      averages ??= (await run(separate, { average: current.average })).kept.parts;
      return new Map(Object.entries(averages));
    },
    async store() {
      if (!changed) return;
      for (const { name, shape } of parameters)
        await (
          await copier(shape.length)
        ).run({ x: current.value[name] }, { y: float32(state.values.get(name)!, shape) });
      for (const part of ["first", "second", "average"] as const)
        for (const group of groups) {
          const tensor = current[part][group.name];
          if (!tensor) continue;
          const all = new Float32Array(group.length);
          await (await copier(1)).run({ x: tensor }, { y: float32(all, [group.length]) });
          let at = 0;
          for (const { name } of group.parameters) {
            const own = arraysOf(part).get(name)!;
            own.set(all.subarray(at, (at += own.length)));
          }
        }
      changed = false;
    },
    async dispose() {
      free([...held]);
      await dispose();
    },
  };
}

/** The weights of the channels in the loss, from which all gradients start, multiplied by the loss scale. */
function scaled({ pixels, guiding }: ChannelWeights<HostTensor>, lossScale: number): ChannelWeights<HostTensor> {
  const times = ({ data, shape }: HostTensor) =>
    float32(
      (data as Float32Array).map((x) => x * lossScale),
      shape,
    );
  return { pixels: times(pixels), guiding: guiding.map((one) => one && times(one)) };
}
