/** AdamW's state and settings in a checkpoint of the published trainer. Knows nothing of files. */

import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { decays, type Parameter } from "../model/parameters.ts";
import { blockwise } from "./blockwise.ts";
import { isTensorRef, type TensorRef } from "./tensors.ts";

export interface TorchOptimizer {
  /** The number of steps taken, stored per parameter as a number or a one-element tensor; all are equal. */
  steps: (number | TensorRef)[];
  moments: Map<string, { first: TensorRef; second: TensorRef }>;
  /** The settings of the last group, the one with weight decay. */
  settings: Map<unknown, unknown>;
}

/**
 * Returns the optimiser's state, or undefined if there is none. It refers to parameters by number: first those without
 * weight decay, then those with it, each group in the order of the model (`add_weight_decay` of the published code).
 * Mismatches are added to `problems`.
 */
export function torchOptimizer(
  root: unknown,
  parameters: readonly Parameter[],
  problems: string[],
): TorchOptimizer | undefined {
  const optimizer = mapAt(root, "optimizer");
  const states = mapAt(optimizer, "state");
  if (!states?.size) return undefined;
  const given = optimizer!.get("param_groups");
  const groups = Array.isArray(given) ? given.filter((group) => group instanceof Map) : [];
  const wanted = [parameters.filter((parameter) => !decays(parameter)), parameters.filter(decays)];
  const sizes = groups.map((group) => listAt(group, "params").length);
  if (String(sizes) !== String(wanted.map(({ length }) => length))) {
    problems.push(
      `its optimiser has ${sizes.join(" and ") || "no"} parameters in its groups, expected ${wanted[0].length} without weight decay and ${wanted[1].length} with it`,
    );
    return undefined;
  }
  const unfit: string[] = [];
  const found: TorchOptimizer = { steps: [], moments: new Map(), settings: groups[1] };
  wanted.forEach((group, g) =>
    group.forEach(({ name, shape }, i) => {
      const state = mapAt(states, listAt(groups[g], "params")[i]);
      const [step, first, second] = ["step", "exp_avg", "exp_avg_sq"].map((key) => state?.get(key));
      const fits = (moment: unknown): moment is TensorRef =>
        isTensorRef(moment) && moment.dtype === "float32" && String(moment.shape) === String(shape);
      if (!fits(first) || !fits(second) || !isStep(step)) unfit.push(name);
      else {
        found.steps.push(step);
        found.moments.set(name, { first, second });
      }
    }),
  );
  if (unfit.length > 0)
    problems.push(
      `its optimiser state lacks a step and two matching moments for ${unfit.length} parameters (${blockwise(unfit)})`,
    );
  return found;
}

const isStep = (step: unknown): step is number | TensorRef =>
  typeof step === "number" || (isTensorRef(step) && step.dtype === "float32" && product(step.shape) === 1);

/**
 * Settings for resuming the training: the optimiser's own and, if the checkpoint has them, the published trainer's
 * arguments. That trainer counts in epochs; `step` steps correspond to `epoch` + 1 of them. Without arguments the
 * learning rate stays constant, and whoever resumes decides on the number of further steps.
 */
export function resumedSettings(
  root: unknown,
  { step, settings, source }: { step: number; settings: Map<unknown, unknown>; source: string },
): TrainingConfig {
  const args = mapAt(root, "args");
  const number = (from: Map<unknown, unknown> | undefined, name: string): number | undefined => {
    const value = from?.get(name);
    return typeof value === "number" ? value : undefined;
  };
  const epoch = number(root instanceof Map ? root : undefined, "epoch");
  const perEpoch = epoch === undefined ? undefined : step / (epoch + 1);
  const steps = (name: string): number | undefined => {
    const epochs = number(args, name);
    return epochs === undefined || perEpoch === undefined ? undefined : Math.round(epochs * perEpoch);
  };
  const planned = steps("epochs");
  const batch = number(args, "batch_size");
  const images = batch && batch * (number(args, "world_size") ?? 1);
  const known = {
    steps: Math.max(step, planned ?? 0),
    warmup: planned === undefined ? 0 : (steps("warmup_epochs") ?? 0),
    schedule: planned === undefined ? "constant" : (args?.get("lr_schedule") ?? "constant"),
    learningRate: (planned === undefined ? undefined : number(args, "lr")) ?? number(settings, "lr"),
    minLearningRate: number(args, "min_lr"),
    weightDecay: number(settings, "weight_decay"),
    betas: settings.get("betas"),
    eps: number(settings, "eps"),
    batch: images,
    microBatch: images && Math.min(8, images),
    clip: number(args, "grad_clip"),
    labelDrop: number(args, "label_drop_prob"),
    attentionDropout: number(args, "attn_dropout"),
    projectionDropout: number(args, "proj_dropout"),
    seed: number(args, "seed"),
    ema: 0,
    // The published trainer always flips. A checkpoint of another trainer does not say.
    augment: planned === undefined ? [] : ["flip"],
  };
  return parseTrainingConfig(
    Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)),
    source,
  );
}

/** Where the published trainer read its images. Whoever resumes says where they are now. */
export function trainingData(root: unknown): string {
  const path = mapAt(root, "args")?.get("data_path");
  return typeof path === "string" ? path : "unknown";
}

function mapAt(value: unknown, key: unknown): Map<unknown, unknown> | undefined {
  const found = value instanceof Map ? value.get(key) : undefined;
  return found instanceof Map ? found : undefined;
}

function listAt(value: Map<unknown, unknown>, key: string): unknown[] {
  const found = value.get(key);
  return Array.isArray(found) ? found : [];
}
