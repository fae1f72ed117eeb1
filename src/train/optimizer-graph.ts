/**
 * The optimiser as one graph, for a device that keeps weights and moments in its own memory: clipping, AdamW, Muon and
 * the moving average. `optimizer.ts` computes the same on the host.
 */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { add, clip, concat, div, input, mul, reshape, slice, sqrt, sub, sum } from "../graph/build.ts";
import { nameAt } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";
import { decays, modelParameters, muonMatrices, type Parameter, rateGroup } from "../model/parameters.ts";
import { muonScale, orthogonalizedAny } from "./muon.ts";
import { rateIn, usesMuon } from "./optimizer.ts";

/** Values by the name of their parameter or group. */
type ByName = Record<string, Tensor>;

/** The parts of a training state on the device. `second` lacks what Muon updates. */
export type StatePart = "value" | "first" | "second" | "average";

/**
 * Parameters whose values are updated by one rule, and so as one array: a device would need about twenty launches for
 * each of them alone.
 */
export interface Group {
  name: string;
  parameters: Parameter[];
  /** The number of values. */
  length: number;
}

/** Values of a group with several parameters: 256 MB, which fits into a buffer of every GPU. */
const mostValues = 2 ** 26;

/** The groups: equal learning rates and decay, and for Muon also equal shapes. */
export function optimizerGroups(model: ModelConfig, config: TrainingConfig): Group[] {
  const groups: Group[] = [];
  const latest = new Map<string, Group>();
  for (const parameter of modelParameters(model)) {
    const shape = usesMuon(parameter, config) ? matrixShape(parameter) : [];
    const key = [rateGroup(parameter), decays(parameter), ...shape].join();
    const length = product(parameter.shape);
    let group = latest.get(key);
    if (!group || group.length + length > mostValues) {
      group = { name: `group${groups.length}`, parameters: [], length: 0 };
      groups.push(group);
      latest.set(key, group);
    }
    group.parameters.push(parameter);
    group.length += length;
  }
  return groups;
}

/** Height and width of each of the matrices that are stacked in a parameter. */
const matrixShape = (parameter: Parameter): [number, number] => [
  parameter.shape[0] / muonMatrices(parameter),
  parameter.shape[1],
];

const joined = (parts: readonly Tensor[]): Tensor => {
  const flat = parts.map((part) => reshape(part, [product(part.shape as number[])]));
  return flat.length === 1 ? flat[0] : concat(flat, 0);
};

/** The sum of [N], in two steps, because a device computes each sum in one workgroup. */
function total(x: Tensor): Tensor {
  const [length] = x.shape as [number];
  let rows = 1;
  while (rows < 1024 && length % (2 * rows) === 0) rows *= 2;
  return sum(sum(reshape(x, [rows, length / rows]), [1]), [0]);
}

/** The parameters of groups, from the values of each group. */
export function separated(groups: readonly Group[], values: ByName): ByName {
  const found: ByName = {};
  for (const { name, parameters } of groups) {
    let at = 0;
    for (const parameter of parameters) {
      const end = at + product(parameter.shape);
      const own = parameters.length === 1 ? values[name] : slice(values[name], 0, at, end);
      found[parameter.name] = reshape(own, parameter.shape);
      at = end;
    }
  }
  return found;
}

/** A group's part of the state: [N]. */
export const groupInput = (part: Exclude<StatePart, "value">, { name, length }: Group): Tensor =>
  input(nameAt(part, name), "float32", [length]);

/** The outputs of the graph: the norm of all gradients before clipping, and the new state. */
export type UpdateGraph = { norm: Tensor; next: Record<StatePart, ByName> };

/**
 * The graph. Its inputs are the old state, of which `value` is by parameter and the rest by group; the gradients `d`; and
 * scalars: `unscale`, which undoes the loss scale in the gradients; `rate`, the learning rate; `bias.first` and
 * `bias.second`, AdamW's corrections 1 / (1 - b1^t) and 1 / sqrt(1 - b2^t); and `follow`, one minus the decay of the
 * average. Without an average, `average` is empty.
 */
export function optimizerGraph(model: ModelConfig, config: TrainingConfig): UpdateGraph {
  const scalar = (name: string) => input(name, "float32", []);
  const [unscale, rate, firstBias, secondBias, follow] = ["unscale", "rate", "bias.first", "bias.second", "follow"].map(
    scalar,
  );
  const of = (part: "value" | "d", { parameters }: Group) =>
    joined(parameters.map(({ name, shape }) => input(nameAt(part, name), "float32", shape)));
  const groups = optimizerGroups(model, config);
  const gradients = groups.map((group) => of("d", group));
  const squares = gradients.map((d) => total(mul(d, d)));
  const norm = mul(sqrt(squares.reduce((a, b) => add(a, b))), unscale);
  const scale = mul(clip(mul(div(1, add(norm, 1e-6)), config.clip), 0, 1), unscale);
  const next: Omit<UpdateGraph["next"], "value"> = { first: {}, second: {}, average: {} };
  const values: ByName = {};
  const moment = (old: Tensor, x: Tensor, decay: number): Tensor => add(mul(old, decay), mul(x, 1 - decay));
  const [beta1, beta2] = config.betas;

  /** The update of a group before its learning rate: the momentum's nearest orthogonal matrices, or AdamW's. */
  function updateOf(group: Group, gradient: Tensor): Tensor {
    const [parameter] = group.parameters;
    const old = groupInput("first", group);
    if (usesMuon(parameter, config)) {
      const first = (next.first[group.name] = moment(old, gradient, config.muonMomentum));
      const [height, width] = matrixShape(parameter);
      const momentum = moment(first, gradient, config.muonMomentum);
      const matrices = orthogonalizedAny(reshape(momentum, [group.length / height / width, height, width]));
      return mul(reshape(matrices, [group.length]), muonScale(height, width));
    }
    const first = (next.first[group.name] = moment(old, gradient, beta1));
    const squared = mul(gradient, gradient);
    const second = (next.second[group.name] = moment(groupInput("second", group), squared, beta2));
    return div(mul(first, firstBias), add(mul(sqrt(second), secondBias), config.eps));
  }

  groups.forEach((group, i) => {
    const [parameter] = group.parameters;
    const own = mul(rate, rateIn(config.rates, rateGroup(parameter)));
    const old = of("value", group);
    const decayed = decays(parameter) ? mul(old, sub(1, mul(own, config.weightDecay))) : old;
    const value = sub(decayed, mul(updateOf(group, mul(gradients[i], scale)), own));
    values[group.name] = value;
    if (config.ema === 0) return;
    const average = groupInput("average", group);
    next.average[group.name] = add(average, mul(sub(value, average), follow));
  });
  return { norm, next: { value: separated(groups, values), ...next } };
}

/** The scalar inputs for a step, which counts from 1. */
export const optimizerScalars = (
  { betas: [beta1, beta2] }: TrainingConfig,
  { step, learningRate, follow, lossScale }: { step: number; learningRate: number; follow: number; lossScale: number },
): Record<string, number> => ({
  unscale: 1 / lossScale,
  rate: learningRate,
  "bias.first": 1 / (1 - beta1 ** step),
  "bias.second": 1 / Math.sqrt(1 - beta2 ** step),
  follow,
});
