/** Progress of a training run on the terminal: loss, bits per dimension, rate and time left. */

import type { TrainingConfig } from "../config/training.ts";
import { duration, rateOf } from "../core/duration.ts";
import type { LogRecord } from "../runs/log.ts";
import { kernelName } from "../runs/quality.ts";
import type { Progress } from "./progress.ts";

/** Averages over about the last twenty steps. The time left includes evaluations and checkpoints. */
export function reporter({ batch, replicas, steps }: TrainingConfig, progress: Progress): (record: LogRecord) => void {
  const means = { seconds: 0, bits: 0, loss: 0 };
  let seen = 0;
  /** The latest measurements, in words. */
  const latest = { heldOut: "", quality: "" };
  const started = performance.now();
  return (record) => {
    if (record.kind === "evaluation") latest.heldOut = `  held out ${record.bits.toFixed(3)}`;
    if (record.kind === "quality")
      latest.quality = `  ${kernelName(record)} ${record.kernelDistance.mean.toPrecision(3)}`;
    if (record.kind !== "step") return;
    const weight = Math.max(0.05, 1 / ++seen);
    for (const name of ["seconds", "bits", "loss"] as const) means[name] += weight * (record[name] - means[name]);
    const { seconds, bits, loss } = means;
    const left = steps - record.step;
    const whole = (performance.now() - started) / 1000 / seen;
    const ahead = left > 0 ? `${duration(left * Math.max(seconds, whole))} left` : "evaluating all held-out images";
    // A narrow terminal cuts off the end, so the most important figures come first.
    progress.update(
      `step ${record.step} of ${steps}, ${ahead}  loss ${loss.toFixed(4)}  ${bits.toFixed(3)} bits/dim${latest.heldOut}${latest.quality}  ${rateOf((batch * replicas) / seconds)}`,
    );
  };
}
