/** Progress of a training run on the terminal: loss, bits per dimension, rate and time left. */

import type { TrainingConfig } from "../config/training.ts";
import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import type { LogRecord } from "../runs/log.ts";
import { kernelName } from "../runs/quality.ts";
import type { Progress } from "./progress.ts";

/** How far a round of replicas is. */
interface Replicas {
  kind: "replicas";
  done: number;
  /** Undefined if they run in this process. */
  workers?: number;
}

/** Shows a record, or how far a round is. */
export type Report = (record: LogRecord | Replicas) => void;

/** Averages over about the last twenty steps. The time left includes evaluations and checkpoints. */
export function reporter({ batch, replicas, steps }: TrainingConfig, progress: Progress): Report {
  const means = { seconds: 0, bits: 0, loss: 0 };
  let seen = 0;
  /** The latest measurements, and the line of the latest step, in words. */
  const latest = { heldOut: "", quality: "", step: "" };
  const started = performance.now();
  return (record) => {
    if (record.kind === "evaluation") latest.heldOut = `  held out ${record.bits.toFixed(3)}`;
    if (record.kind === "quality")
      latest.quality = `  ${kernelName(record)} ${record.kernelDistance.mean.toPrecision(3)}`;
    if (record.kind === "replicas") {
      const { done, workers } = record;
      const by = workers === undefined ? "" : `, ${counted(workers, "worker")}`;
      progress.update(`${done} of ${counted(replicas, "replica")} done${by}${latest.step}`);
    }
    if (record.kind !== "step") return;
    const weight = Math.max(0.05, 1 / ++seen);
    for (const name of ["seconds", "bits", "loss"] as const) means[name] += weight * (record[name] - means[name]);
    const { seconds, bits, loss } = means;
    const left = steps - record.step;
    const whole = (performance.now() - started) / 1000 / seen;
    const ahead = left > 0 ? `${duration(left * Math.max(seconds, whole))} left` : "evaluating all held-out images";
    // A narrow terminal cuts off the end, so the most important figures come first.
    const line = `step ${record.step} of ${steps}, ${ahead}  loss ${loss.toFixed(4)}  ${bits.toFixed(3)} bits/dim${latest.heldOut}${latest.quality}  ${rateOf((batch * replicas) / seconds)}`;
    progress.update(line);
    latest.step = `  ${line}`;
  };
}
