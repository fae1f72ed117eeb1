/** Progress of a training run on the terminal: loss, bits per dimension, rate and time left. */

import type { TrainingConfig } from "../config/training.ts";
import { duration, rateOf } from "../core/duration.ts";
import type { LogRecord } from "../runs/log.ts";
import { kernelName } from "../runs/quality.ts";
import type { Progress } from "./progress.ts";

/** Averages over about the last twenty steps. The time left includes evaluations and checkpoints. */
export function reporter({ batch, replicas, steps }: TrainingConfig, progress: Progress): (record: LogRecord) => void {
  let bits = 0;
  let loss = 0;
  let seconds = 0;
  let heldOut = "";
  let quality = "";
  let seen = 0;
  const started = performance.now();
  return (record) => {
    if (record.kind === "evaluation") heldOut = `  held out ${record.bits.toFixed(3)}`;
    if (record.kind === "quality") quality = `  ${kernelName(record)} ${record.kernelDistance.mean.toPrecision(3)}`;
    if (record.kind !== "step") return;
    const weight = Math.max(0.05, 1 / ++seen);
    const smooth = (before: number, now: number) => before + weight * (now - before);
    seconds = smooth(seconds, record.seconds);
    bits = smooth(bits, record.bits);
    loss = smooth(loss, record.loss);
    const left = steps - record.step;
    const whole = (performance.now() - started) / 1000 / seen;
    const ahead = left > 0 ? `${duration(left * Math.max(seconds, whole))} left` : "evaluating all held-out images";
    // A narrow terminal cuts off the end, so the most important figures come first.
    progress.update(
      `step ${record.step} of ${steps}, ${ahead}  loss ${loss.toFixed(4)}  ${bits.toFixed(3)} bits/dim${heldOut}${quality}  ${rateOf((batch * replicas) / seconds)}`,
    );
  };
}
