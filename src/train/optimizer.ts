/** The optimiser: AdamW for everything, or Muon for the matrices inside blocks and AdamW for the rest. */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { adamw, type Moments } from "../core/adamw.ts";
import type { Engine } from "../engine/engine.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import { decays, modelParameters, muonMatrices, type Parameter, rateGroup } from "../model/parameters.ts";
import { muonGraph, openMuon } from "./muon.ts";
import type { OptimizerState, OptimizerStep } from "./optimizer-step.ts";

export interface Optimizer {
  /** Updates the state in place. */
  update(state: OptimizerState, gradients: ReadonlyMap<string, Float32Array>, step: OptimizerStep): Promise<void>;
  dispose(): Promise<void>;
}

/** Whether Muon updates a parameter. */
export const usesMuon = (parameter: Parameter, { optimizer }: Pick<TrainingConfig, "optimizer">): boolean =>
  optimizer === "muon" && muonMatrices(parameter) > 0;

/** A parameter's moments, each obtained from `part`: two for AdamW, only the first (the momentum) for Muon. */
export const momentsOf = (
  parameter: Parameter,
  config: Pick<TrainingConfig, "optimizer">,
  part: (which: "first" | "second") => Float32Array,
): Moments =>
  usesMuon(parameter, config) ? { first: part("first") } : { first: part("first"), second: part("second") };

/** The factor on the learning rate of a group of parameters. */
export const rateIn = (rates: TrainingConfig["rates"], group: ReturnType<typeof rateGroup>): number =>
  group === "other" ? 1 : rates[group];

/** The operations of an update that are matrix products: Muon's. */
export const optimizerOperations = (model: ModelConfig, config: Pick<TrainingConfig, "optimizer">): number =>
  floatingPointOperations(muonGraph(muonParameters(model, config)), new Map());

/** The parameters that Muon updates. */
export const muonParameters = (model: ModelConfig, config: Pick<TrainingConfig, "optimizer">): Parameter[] =>
  modelParameters(model).filter((parameter) => usesMuon(parameter, config));

export async function openOptimizer(engine: Engine, model: ModelConfig, config: TrainingConfig): Promise<Optimizer> {
  const { betas, eps, rates } = config;
  const parameters = modelParameters(model);
  const matrices = muonParameters(model, config);
  const muon = matrices.length > 0 ? await openMuon(engine, matrices, config) : undefined;
  const others = parameters.filter((parameter) => !usesMuon(parameter, config));
  return {
    async update({ values, moments }, gradients, { step, learningRate, scale }) {
      const rateOf = (parameter: Parameter) => learningRate * rateIn(rates, rateGroup(parameter));
      const decayOf = (parameter: Parameter) => (decays(parameter) ? config.weightDecay : 0);
      for (const parameter of others) {
        const { name } = parameter;
        const options = { learningRate: rateOf(parameter), betas, eps, weightDecay: decayOf(parameter) };
        adamw(values.get(name)!, gradients.get(name)!, moments.get(name) as Required<Moments>, options, {
          step,
          scale,
        });
      }
      await muon?.update({ values, moments }, gradients, { learningRate: learningRate * rates.blocks, scale });
    },
    async dispose() {
      await muon?.dispose();
    },
  };
}
