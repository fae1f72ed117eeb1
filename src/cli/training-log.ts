/** The log of a training run, a record of JSON a line. */

import { existsSync, readFileSync } from "node:fs";
import { appendLine, writeFileAtomic } from "../files/atomic.ts";
import type { TrainingRecord } from "../train/trainer.ts";

export const appendRecord = (path: string, record: TrainingRecord): Promise<void> =>
  appendLine(path, JSON.stringify(record));

/** Takes away what a killed run wrote after its last checkpoint: those steps come again, and the last line may be half. */
export async function trimLog(path: string, { step }: { step: number }): Promise<void> {
  if (!existsSync(path)) return;
  const text = readFileSync(path, "utf8");
  const kept = text.split(/(?<=\n)/).filter((line) => stepOf(line) <= step);
  if (kept.join("") !== text) await writeFileAtomic(path, kept.join(""));
}

/** Infinity for what is no whole record. */
function stepOf(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return line.endsWith("\n") && typeof step === "number" ? step : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
