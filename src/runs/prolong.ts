/**
 * Extends a run to more steps. With a schedule that is constant until its decay, training continues from where the decay
 * began, so that the extended run is bit-identical to one that had the larger number of steps from its start.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { decayBegins, learningRateAt, type TrainingConfig } from "../config/training.ts";
import { loadCheckpoint, type Resumed } from "../train/checkpoint.ts";
import type { TrainingState } from "../train/state.ts";

/** Name, in a run's folder, of the checkpoint saved just before the learning rate decays. */
export const stableName = "stable";

/** The state from which a resumed run continues with new settings, and notes for the user. */
export async function goingOn(
  out: string,
  { state, training: before }: Resumed,
  training: TrainingConfig,
): Promise<{ state: TrainingState; notes: string[] }> {
  const decayed = before.schedule === "wsd" && state.step > decayBegins(before);
  if (decayed && training.schedule !== "cosine" && decayBegins(training) > decayBegins(before)) {
    const stable = await stableState(join(out, stableName));
    if (stable && stable.step <= Math.min(state.step, decayBegins(training)))
      return { state: stable, notes: [`continuing from step ${stable.step}, before the learning rate decayed`] };
  }
  return { state, notes: risesAgain(state.step, before, training) };
}

async function stableState(folder: string): Promise<TrainingState | undefined> {
  return existsSync(folder) ? (await loadCheckpoint(folder)).state : undefined;
}

/** Returns a note if extending the run raises a learning rate that has already fallen. */
function risesAgain(step: number, before: TrainingConfig, training: TrainingConfig): string[] {
  const [last, next] = [learningRateAt(step - 1, before), learningRateAt(step, training)];
  const prolonged = training.steps > before.steps && step > training.warmup;
  if (!prolonged || training.learningRate !== before.learningRate || next <= last) return [];
  return [
    `the learning rate rises again, from ${last.toPrecision(2)} to ${next.toPrecision(2)}: its schedule now ends at step ${training.steps}`,
  ];
}
