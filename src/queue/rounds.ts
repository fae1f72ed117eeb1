/** Training by rounds (DiLoCo, arXiv 2311.08105): replicas train independently, and an outer step combines them. */

import { rm } from "node:fs/promises";
import { learningRateAt } from "../config/training.ts";
import { isStop } from "../core/stopped.ts";
import type { Engine } from "../engine/engine.ts";
import { isLastStable, type TrainingConfig } from "../config/training.ts";
import { evenly, type Split } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import { likelihoodSession } from "../evaluate/likelihood.ts";
import { decodeDifference } from "../train/differences.ts";
import { meanDifference, outerStep } from "../train/outer.ts";
import { packedLength, unpacked, unpackedMoments } from "../train/packed.ts";
import { averageDecay } from "../train/learner.ts";
import { bitsOf, type RoundRecord, type TrainingRecord, type TrainingRun } from "../train/trainer.ts";
import type { Executor } from "./executor.ts";
import type { DataName, JobOf, Results } from "./jobs.ts";
import { bytesOf, floatsOf, type RoundState, saveRound, setMoments } from "./round-state.ts";

/** The inputs of training by rounds, in addition to the run. */
export interface Rounds {
  executor: Executor;
  /** The model's configuration and the data in the shared folder. */
  config: string;
  data: DataName;
  /** The path of the run's `round.json`. */
  path: string;
  round: RoundState;
  /** Told how many replicas of the round are done. */
  onReplicas?: (count: number) => void;
}

/** The mean of the replicas' records of one step. */
function joinedSteps(results: readonly Results["replica"][], step: number) {
  const mean = (of: (steps: Results["replica"]["steps"][number]) => number) =>
    results.reduce((sum, { steps }) => sum + of(steps[step]), 0) / results.length;
  return {
    loss: mean(({ loss }) => loss),
    bits: mean(({ bits }) => bits),
    gradientNorm: mean(({ gradientNorm }) => gradientNorm),
  };
}

/** The jobs of a round. */
export const roundJobs = (
  { config, data }: Pick<Rounds, "config" | "data">,
  training: TrainingConfig,
  {
    values,
    states,
    step,
    count,
  }: { values: string; states: readonly (string | undefined)[]; step: number; count: number },
): JobOf<"replica">[] =>
  Array.from({ length: training.replicas }, (_, replica) => ({
    kind: "replica" as const,
    config,
    training: { ...training },
    data,
    values,
    state: states[replica],
    replica,
    step,
    count,
  }));

/** Yields the records of `train`, with all steps of a round at its end. At a checkpoint the state is consistent. */
export async function* trainRounds(
  engine: Engine,
  run: TrainingRun,
  rounds: Rounds,
): AsyncGenerator<TrainingRecord | RoundRecord> {
  const { model, training, dataset, state, signal } = run;
  const { executor, path } = rounds;
  const { store } = executor;
  let { round } = rounds;
  const { area } = round;
  checkDataset(model, dataset);
  const averaged = { config: model, values: state.average };
  const session = await likelihoodSession(engine, averaged, { keepMemory: !training.checkpointing });
  const count = packedLength(model);
  const outer = { rate: training.outerRate, momentum: training.outerMomentum };
  let saved = performance.now();

  /** Takes the outer step, on copies. */
  async function join(results: readonly Results["replica"][]) {
    const [values, momentum] = [round.values.slice(), round.momentum.slice()];
    const sum = meanDifference(count);
    for (const { difference } of results)
      sum.add(decodeDifference(await store.get(area, difference), count, training.differences));
    outerStep(values, momentum, sum.mean(), outer);
    return { results, values, momentum };
  }

  async function* evaluation(split: Split): AsyncGenerator<TrainingRecord> {
    const bits = await bitsOf(engine, run, { split, session, values: state.average });
    if (bits !== undefined) yield { kind: "evaluation", step: state.step, bits, images: split.count };
  }

  /** A checkpoint has the moments of the first replica. */
  async function* checkpoint(): AsyncGenerator<TrainingRecord> {
    const [first] = round.states;
    if (first !== undefined) {
      const all = floatsOf(await store.get(area, first));
      const residuals = training.differences === "float32" ? 0 : count;
      setMoments(state, unpackedMoments(model, training, { all, count: residuals }).moments);
    }
    yield { kind: "checkpoint", step: state.step };
  }

  try {
    while (state.step < training.steps && !signal?.aborted) {
      const [started, traffic] = [performance.now(), executor.traffic];
      const from = state.step;
      const steps = Math.min(training.roundSteps - (from % training.roundSteps), training.steps - from);
      const values = await store.put(area, bytesOf(round.values));
      const jobs = roundJobs(rounds, training, { values, states: round.states, step: from, count: steps });
      const joined = await executor
        .round(jobs, { area, signal, join, onDone: rounds.onReplicas })
        .catch((error: unknown) => {
          if (!isStop(error, signal)) throw error;
        });
      if (!joined) break;
      const { results, ...next } = joined;
      round = { area, ...next, states: results.map((result) => result.state) };
      for (const [name, value] of unpacked(model, round.values)) state.values.get(name)!.set(value);
      if (training.ema > 0) follow(state, training, from, steps);
      state.step = from + steps;
      const seconds = (performance.now() - started) / 1000;
      for (let i = 0; i < steps; i++) {
        const learningRate = learningRateAt(from + i, training);
        const step = from + i + 1;
        yield { kind: "step", step, ...joinedSteps(results, i), learningRate, seconds: seconds / steps };
      }
      const { read, written } = executor.traffic;
      const bytes = { read: read - traffic.read, written: written - traffic.written };
      yield { kind: "round", step: state.step, seconds, ...bytes };
      const crossed = (every: number) => every > 0 && Math.floor(state.step / every) > Math.floor(from / every);
      const last = state.step === training.steps;
      if (last) yield* evaluation(dataset.heldOut);
      else if (crossed(training.evaluateSteps) || crossed(training.kidSteps))
        yield* evaluation(evenly(dataset.heldOut, training.evaluateImages));
      await saveRound(store, path, { round, model, state });
      const due = (performance.now() - saved) / 1000 >= training.checkpointSeconds;
      const stable = isLastStable(state.step, training, training.roundSteps);
      const keep = crossed(training.saveSteps) || crossed(training.kidSteps) || stable;
      if (!last && !due && !keep) continue;
      yield* checkpoint();
      saved = performance.now();
    }
    if (state.step < training.steps) yield* checkpoint();
    else {
      await rm(path, { force: true });
      await store.clear(area);
    }
  } finally {
    await session.dispose();
  }
}

/** Updates the moving average as `steps` steps with these values would. */
function follow(
  { values, average }: TrainingRun["state"],
  { ema }: Pick<TrainingConfig, "ema">,
  from: number,
  steps: number,
): void {
  let keep = 1;
  for (let step = from; step < from + steps; step++) keep *= averageDecay(ema, step);
  for (const [name, value] of values) {
    const follows = average.get(name)!;
    for (let i = 0; i < follows.length; i++) follows[i] += (1 - keep) * (value[i] - follows[i]);
  }
}
