/**
 * A run that is prolonged. A schedule that is constant until its decay is continued from where the decay began, so that the
 * longer run is, to the bit, the one that would have been longer from its start.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { decayBegins, learningRateAt, type TrainingConfig } from "../config/training.ts";
import { loadCheckpoint, type Resumed, type TrainingState } from "../train/checkpoint.ts";

/** The checkpoint from before the learning rate decayed, in a run's folder. */
export const stableName = "stable";

/** The state that a resumed run goes on from with new settings, and what to say of it. */
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

/** Says where more steps raise a learning rate that has fallen. */
function risesAgain(step: number, before: TrainingConfig, training: TrainingConfig): string[] {
  const [last, next] = [learningRateAt(step - 1, before), learningRateAt(step, training)];
  const prolonged = training.steps > before.steps && step > training.warmup;
  if (!prolonged || training.learningRate !== before.learningRate || next <= last) return [];
  return [
    `the learning rate goes up again, from ${last.toPrecision(2)} to ${next.toPrecision(2)}: its schedule now ends at step ${training.steps}`,
  ];
}
