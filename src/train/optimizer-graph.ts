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

/** Values by the name of their parameter. */
type ByName = Record<string, Tensor>;

/** The parts of a training state on the device. `second` lacks the parameters that Muon updates. */
export const stateParts = ["value", "first", "second", "average"] as const;
export type StatePart = (typeof stateParts)[number];

/** The outputs of the graph: the norm of all gradients before clipping, and the new state. */
export type UpdateGraph = { norm: Tensor; next: Record<StatePart, ByName> };

/**
 * The graph. Its inputs are the old state, the gradients `d`, and scalars: `unscale`, which undoes the loss scale in the
 * gradients; `rate`, the learning rate; `bias.first` and `bias.second`, AdamW's corrections 1 / (1 - b1^t) and
 * 1 / sqrt(1 - b2^t); and `follow`, one minus the decay of the average. Without an average, `average` is empty.
 */
export function optimizerGraph(model: ModelConfig, config: TrainingConfig): UpdateGraph {
  const parameters = modelParameters(model);
  const scalar = (name: string) => input(name, "float32", []);
  const [unscale, rate, firstBias, secondBias, follow] = ["unscale", "rate", "bias.first", "bias.second", "follow"].map(
    scalar,
  );
  const of = (part: StatePart | "d", { name, shape }: Parameter) => input(nameAt(part, name), "float32", shape);
  const gradients = new Map(parameters.map((parameter) => [parameter, of("d", parameter)]));
  const squares = [...gradients.values()].map((d) => sum(mul(d, d), [...d.shape.keys()]));
  const norm = mul(sqrt(squares.reduce((a, b) => add(a, b))), unscale);
  const scale = mul(clip(mul(div(1, add(norm, 1e-6)), config.clip), 0, 1), unscale);
  const next: UpdateGraph["next"] = { value: {}, first: {}, second: {}, average: {} };

  /** Applies an update with the learning rate of a parameter: value (1 - rate decay) - rate update. */
  const apply = (parameter: Parameter, update: Tensor): void => {
    const own = mul(rate, rateIn(config.rates, rateGroup(parameter)));
    const old = of("value", parameter);
    const decayed = decays(parameter) ? mul(old, sub(1, mul(own, config.weightDecay))) : old;
    const value = sub(decayed, mul(update, own));
    next.value[parameter.name] = value;
    if (config.ema === 0) return;
    const average = of("average", parameter);
    next.average[parameter.name] = add(average, mul(sub(value, average), follow));
  };
  const moment = (old: Tensor, x: Tensor, decay: number): Tensor => add(mul(old, decay), mul(x, 1 - decay));

  const [beta1, beta2] = config.betas;
  const matrices = new Map<string, { parameter: Parameter; momentum: Tensor; parts: number }[]>();
  for (const parameter of parameters) {
    const gradient = mul(gradients.get(parameter)!, scale);
    if (usesMuon(parameter, config)) {
      const first = moment(of("first", parameter), gradient, config.muonMomentum);
      next.first[parameter.name] = first;
      const parts = muonMatrices(parameter);
      const [height, columns] = parameter.shape;
      const momentum = reshape(moment(first, gradient, config.muonMomentum), [parts, height / parts, columns]);
      const key = `${height / parts}x${columns}`;
      matrices.set(key, [...(matrices.get(key) ?? []), { parameter, momentum, parts }]);
      continue;
    }
    const first = moment(of("first", parameter), gradient, beta1);
    const second = moment(of("second", parameter), mul(gradient, gradient), beta2);
    next.first[parameter.name] = first;
    next.second[parameter.name] = second;
    const size = add(mul(sqrt(second), secondBias), config.eps);
    apply(parameter, div(mul(first, firstBias), size));
  }
  for (const batch of matrices.values()) {
    const all = orthogonalizedAny(
      concat(
        batch.map(({ momentum }) => momentum),
        0,
      ),
    );
    let at = 0;
    for (const { parameter, parts } of batch) {
      const own = reshape(slice(all, 0, at, at + parts), parameter.shape);
      at += parts;
      apply(parameter, mul(own, muonScale(product(parameter.shape) / parts / parameter.shape[1], parameter.shape[1])));
    }
  }
  return { norm, next };
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
