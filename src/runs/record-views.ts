/** Views of a run's records besides the log: TensorBoard events and the learning curve. */

import type { TrainingConfig } from "../config/training.ts";
import type { ReferencePoint } from "../data/references.ts";
import type { EventLog } from "../files/tensorboard.ts";
import { curveSvg } from "../pictures/curve.ts";
import type { TrainingRecord } from "../train/trainer.ts";
import type { LogRecord } from "./log.ts";
import { kernelName } from "./quality.ts";

export async function addEvents(events: EventLog, record: TrainingRecord, { batch }: TrainingConfig): Promise<void> {
  if (record.kind === "evaluation") await events.scalars(record.step, { "held out/bits per dimension": record.bits });
  if (record.kind !== "step") return;
  await events.scalars(record.step, {
    "training/loss": record.loss,
    "training/bits per dimension": record.bits,
    "training/gradient norm": record.gradientNorm,
    "training/learning rate": record.learningRate,
    "training/images per second": batch / record.seconds,
  });
}

/** The learning curve as SVG. */
export function curveOf(
  records: readonly LogRecord[],
  { references, training }: { references: readonly ReferencePoint[]; training: TrainingConfig },
): string {
  const points = (kind: "step" | "evaluation") =>
    records.flatMap((record) => (record.kind === kind ? [{ step: record.step, bits: record.bits }] : []));
  const measured = records.filter((record) => record.kind === "quality");
  return curveSvg({
    extra: [...new Set(measured.map(kernelName))].map((name) => ({
      name,
      points: measured
        .filter((record) => kernelName(record) === name)
        .map(({ step, kernelDistance: { mean } }) => ({ step, value: mean })),
    })),
    training: points("step"),
    heldOut: points("evaluation"),
    references,
    totalSteps: training.steps,
  });
}
