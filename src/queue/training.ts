/** Distributed training for `trainRun`: by rounds, or with gradients averaged at every step. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { RunContext } from "../runs/train.ts";
import type { TrainingState } from "../train/state.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { configName } from "../files/model.ts";
import type { Executor } from "./executor.ts";
import { distributedStep } from "./gradients.ts";
import { firstRound, resumedRound, roundFile, saveRound } from "./round-state.ts";
import { trainRounds } from "./rounds.ts";

/** A training run that is ready to be distributed. */
export interface Distributed {
  model: ModelConfig;
  training: TrainingConfig;
  /** Updated to the state in which an earlier command stopped. */
  state: TrainingState;
  dataset: Dataset;
  /** The run's folder. */
  out: string;
  /** Whether `round.json` contains a state to resume from: not in a new run, or from a checkpoint before the last. */
  resumes: boolean;
  /** Called with lines for the user. */
  onNote: (line: string) => void;
  /** Told how many replicas of the round are done. */
  onReplicas?: (count: number) => void;
  signal?: AbortSignal;
}

/** Prepares the training on an executor. The result is a part of `trainRun`'s context. */
export async function distributed(executor: Executor, given: Distributed): Promise<Pick<RunContext, "elsewhere">> {
  const { model, training, state, dataset, out, resumes, onNote, onReplicas, signal } = given;
  const { store } = executor;
  if (training.sync && training.differences !== "float32")
    throw new UserError({
      subject: { setting: "differences" },
      problem: "with gradients at every step there are no differences to round",
      hint: "leave it out",
    });
  for (const name of training.sync ? [] : (["saveSteps", "kidSteps"] as const))
    if (training[name] % training.roundSteps !== 0)
      throw new UserError({
        subject: { setting: name },
        expected: `a multiple of the ${training.roundSteps} steps of a round, since only its end can be saved`,
        got: String(training[name]),
        hint: { do: "change it, or the length of rounds", setting: "roundSteps" },
      });
  const file = join(out, `.${configName}`);
  await writeFileAtomic(file, JSON.stringify(model));
  const named = { config: await store.addFile(file, { signal }), data: await executor.data(dataset) };
  await rm(file, { force: true });
  if (training.sync) return { elsewhere: { step: distributedStep(executor, named, { model, training, signal }) } };
  const path = join(out, roundFile);
  const resumed = resumes ? await resumedRound(store, path, { model, training, state, onNote }) : undefined;
  const round = resumed ?? (await firstRound(store, { model, training, state }));
  if (!resumed) await saveRound(store, path, { round, model, state });
  const rounds = { executor, ...named, path, round, onReplicas };
  return { elsewhere: { train: (engine, run) => trainRounds(engine, run, rounds) } };
}
