/**
 * Applies training steps to a state in the memory of a GPU. Weights, their average, moments, gradients and checkpoints
 * stay there; a step copies only images, indices and the loss. The state is copied to the host for evaluations and
 * checkpoints.
 */

import { learningRateAt } from "../config/training.ts";
import { float32, freeOnDevice, type HostTensor, type Value } from "../core/arrays.ts";
import type { Engine, Session } from "../engine/engine.ts";
import { add, input } from "../graph/build.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { nameAt, named, type Tree, valuesOf } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { ChannelWeights } from "../model/feeds.ts";
import { modelParameters } from "../model/parameters.ts";
import { trainingParts } from "../model/training.ts";
import { averageDecay, type Learner, type Learning } from "./learner.ts";
import { lossScaleAt } from "./loss-scale.ts";
import { stepOptions } from "./one-step.ts";
import { optimizerGraph, optimizerScalars, type StatePart, stateParts } from "./optimizer-graph.ts";
import { addNats, laneTasks, type LaneTask, microBatches } from "./step.ts";

/** Tensors by name, some of which may be on the device. */
type Values = Record<string, Value>;

/** Learns on the engine's device. After `store`, the state on the host equals the one on the device. */
export async function deviceLearner(
  engine: Engine,
  { model, training, state, onNotFinite }: Learning,
): Promise<Learner> {
  const parameters = modelParameters(model);
  const shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
  const isNats = (name: string) => /^(guidingNats|nats|lastGuidingNats)\b/.test(name);
  const open = (graph: Tree<Tensor>, copied: (name: string) => boolean, form = formFor(engine)) =>
    engine.session(writeOnnx(named(graph), form), {
      keep: (name) => !copied(name),
      keepMemory: !training.checkpointing,
    });
  const parts: { forward?: Session; backward: Session; outputs: Tree<Tensor> }[] = [];
  const graphs = trainingParts(model, { ...training, loop: false });
  for (const { forward, backward } of graphs)
    parts.push({
      forward: parts.length + 1 < graphs.length ? await open(forward, () => false) : undefined,
      backward: await open(backward, isNats),
      outputs: backward,
    });
  // Muon's iterations on Gram matrices need float32: the rounding of each is multiplied in the next.
  const inFloat32 = { ...formFor(engine), precision: undefined };
  const update = await open(optimizerGraph(model, training), (name) => name === "norm", inFloat32);
  const accumulated = Object.fromEntries(
    parameters.map(({ name, shape }) => {
      const [sum, part] = ["sum", "part"].map((which) => input(nameAt(which, name), "float32", shape));
      return [name, add(sum, part)];
    }),
  );
  let accumulate: Session | undefined;
  const copiers = new Map<number, Session>();
  /** Copies a tensor of a rank to the host, which no runtime does without a graph. */
  async function copier(rank: number): Promise<Session> {
    const x = input("x", "float32", ["A", "B", "C", "D"].slice(0, rank));
    const session = copiers.get(rank) ?? (await engine.session(writeOnnx({ y: x })));
    copiers.set(rank, session);
    return session;
  }

  const onHost = (part: StatePart, name: string): Float32Array | undefined =>
    part === "value"
      ? state.values.get(name)
      : part === "average"
        ? training.ema > 0
          ? state.average.get(name)
          : undefined
        : state.moments.get(name)![part];
  /** The state by part and name, at first on the host. */
  let current: Values = {};
  for (const part of stateParts)
    for (const [name, shape] of shapes) {
      const data = onHost(part, name);
      if (data) current[nameAt(part, name)] = float32(data, shape);
    }
  let changed = false;

  /** Sums the gradients of all micro-batches on the device, and the loss on the host. */
  async function gradientsOf(task: LaneTask, lossScale: number): Promise<{ d: Values; loss: number; nats: number }> {
    const sums = { loss: 0, nats: 0 };
    const values = Object.fromEntries([...shapes.keys()].map((name) => [name, current[nameAt("value", name)]]));
    let total: Values = {};
    for (const feeds of microBatches(model, task)) {
      const weights = scaled(feeds.weights, lossScale);
      const given: Values = { ...values, ...named({ ...feeds, weights } as Tree<HostTensor>) };
      const passing: Values = {}; // checkpoints and their gradients
      const d: Values = {};
      for (const { forward } of parts)
        if (forward) Object.assign(passing, (await forward.runKept({ ...given, ...passing })).kept);
      for (const { backward, outputs } of parts.toReversed()) {
        const { outputs: found, kept } = await backward.runKept({ ...given, ...passing });
        const { d: _, dCheckpoint: __, ...nats } = outputs as (typeof graphs)[number]["backward"];
        addNats(sums, valuesOf(nats, found), feeds.weights);
        Object.assign(d, unprefixed("d", kept));
        for (const name of Object.keys(kept)) if (!name.startsWith("d.")) passing[name] = kept[name];
      }
      freeOnDevice(passing);
      if (Object.keys(total).length === 0) total = d;
      else {
        accumulate ??= await open(accumulated, () => false);
        const { kept } = await accumulate.runKept({ ...prefixed("sum", total), ...prefixed("part", d) });
        freeOnDevice(total);
        freeOnDevice(d);
        total = kept;
      }
    }
    return { d: total, ...sums };
  }

  return {
    async learn(batches, number) {
      const batch = batches(number);
      const { microBatch = batch.labels.length, ...options } = stepOptions(training, number);
      const { tasks, predicted } = laneTasks(model, batch, { ...options, microBatch, lanes: 1 });
      const learningRate = learningRateAt(number, training);
      const follow = 1 - averageDecay(training.ema, number);
      let lossScale = engine.precision === "float16" ? lossScaleAt(number, state.lossScale) : 1;
      for (;;) {
        const { d, loss, nats } = await gradientsOf(tasks[0], lossScale);
        const scalars = optimizerScalars(training, { step: number + 1, learningRate, follow, lossScale });
        const { outputs, kept } = await update.runKept({
          ...current,
          ...prefixed("d", d),
          ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, float32([value], [])])),
        });
        freeOnDevice(d);
        const gradientNorm = Number(outputs.norm.data[0]);
        if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
          freeOnDevice(kept);
          if (!Number.isFinite(loss) || lossScale === 1) throw onNotFinite({ number, loss });
          lossScale /= 2; // a gradient was too large for float16: the same step again
          continue;
        }
        freeOnDevice(current);
        current = unprefixed("next", kept);
        changed = true;
        if (engine.precision === "float16") state.lossScale = lossScale;
        return { loss, bits: nats / Math.LN2 / predicted, gradientNorm, learningRate };
      }
    },
    async store() {
      if (!changed) return;
      for (const part of stateParts)
        for (const [name, shape] of shapes) {
          const tensor = current[nameAt(part, name)];
          if (!tensor) continue;
          const copy = await copier(shape.length);
          await copy.run({ x: tensor }, { y: float32(onHost(part, name)!, shape) });
        }
      changed = false;
    },
    async dispose() {
      freeOnDevice(current);
      for (const { forward, backward } of parts) {
        await forward?.dispose();
        await backward.dispose();
      }
      await update.dispose();
      await accumulate?.dispose();
      for (const session of copiers.values()) await session.dispose();
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

/** The same tensors with names below `part`. */
const prefixed = (part: string, values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [nameAt(part, name), value]));

/** The tensors below `part`, without it in their names. */
const unprefixed = (part: string, values: Values): Values =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      name.startsWith(`${part}.`) ? [[name.slice(part.length + 1), value]] : [],
    ),
  );
