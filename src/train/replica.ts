/** A replica's part of a training round: some optimiser steps from the round's weights, on batches of its own. */

import type { TrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import { batchSource } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { gradientsOf, update } from "./one-step.ts";
import type { Optimizer } from "./optimizer.ts";
import type { OptimizerState } from "./optimizer-step.ts";
import type { TrainingStep } from "./step.ts";
import { notFinite } from "./trainer.ts";

/** What a replica does in a round. */
export interface ReplicaTask {
  training: TrainingConfig;
  dataset: Dataset;
  /** Updated in place. */
  state: OptimizerState;
  /** Computes loss and gradients. */
  step: TrainingStep;
  optimizer: Optimizer;
  replica: number;
  /** Steps `from` to `from + count - 1` of the training. */
  from: number;
  count: number;
  signal?: AbortSignal;
}

/** The loss, bits per dimension and gradient norm of one step. */
export interface ReplicaRecord {
  loss: number;
  bits: number;
  gradientNorm: number;
}

/**
 * The batch that a replica takes at a step. Together, the replicas take the batches that one machine takes in as many
 * steps.
 */
export const batchNumber = (step: number, replica: number, { replicas }: Pick<TrainingConfig, "replicas">): number =>
  step * replicas + replica;

/** Takes the steps. Throws if the signal stops it, or a UserError if a number is no longer finite. */
export async function replicaSteps(task: ReplicaTask): Promise<ReplicaRecord[]> {
  const { training, dataset, state, step, optimizer, replica, from, count, signal } = task;
  const batches = batchSource(dataset, training);
  const records: ReplicaRecord[] = [];
  for (let number = from; number < from + count; number++) {
    signal?.throwIfAborted();
    const batch = batchNumber(number, replica, training);
    const { loss, bits } = await gradientsOf(step, state.values, batches, { training, number: batch });
    const tensors = [state.values, step.gradients];
    const onNotFinite = () => new UserError(notFinite(number + 1, { loss, saved: true, tensors }));
    const { gradients } = step;
    const { gradientNorm } = await update(optimizer, state, { gradients, loss }, { training, number, onNotFinite });
    records.push({ loss, bits, gradientNorm });
  }
  return records;
}
