/** The log of a training run: one JSON record per line. */

import { existsSync, readFileSync } from "node:fs";
import type { ReferencePoint } from "../data/references.ts";
import { appendLine, writeFileAtomic } from "../files/atomic.ts";
import type { RoundRecord, TrainingRecord } from "../train/trainer.ts";
import type { QualityRecord } from "./quality.ts";

/** Training records, quality measurements of samples and, at the start, reference points for the data. */
export type LogRecord =
  | TrainingRecord
  | RoundRecord
  | QualityRecord
  | { kind: "references"; step: 0; references: ReferencePoint[] };

export const appendRecord = (path: string, record: LogRecord): Promise<void> =>
  appendLine(path, JSON.stringify(record));

/** Returns the complete records of a log; none if the file does not exist. */
export function readLog(path: string): LogRecord[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split(/(?<=\n)/)
    .flatMap((line) => recordOf(line) ?? []);
}

/** Removes what a killed run wrote after its last checkpoint: those steps are repeated, and the last line may be incomplete. */
export async function trimLog(path: string, { step }: { step: number }): Promise<void> {
  if (!existsSync(path)) return;
  const text = readFileSync(path, "utf8");
  const kept = text.split(/(?<=\n)/).filter((line) => (recordOf(line)?.step ?? Infinity) <= step);
  if (kept.join("") !== text) await writeFileAtomic(path, kept.join(""));
}

/** Returns undefined for an incomplete record. */
function recordOf(line: string): LogRecord | undefined {
  try {
    const record = JSON.parse(line) as LogRecord;
    return line.endsWith("\n") && typeof record.step === "number" ? record : undefined;
  } catch {
    return undefined;
  }
}
