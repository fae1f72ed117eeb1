/** Determines the comparisons for a folder from the files in it. */

import { existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { readCase } from "./case.ts";
import type { Comparison } from "./compare.ts";
import { compareCrops } from "./crops.ts";
import { compareFeatures } from "./features.ts";
import { compareMetrics, compareMoments, compareStatistics } from "./metrics.ts";
import { compareSamples } from "./samples.ts";
import { compareEvaluation, compareResumed, compareTraining } from "./teacher.ts";

export interface ParityFolder {
  name: string;
  /** To be run one after another; `what` names each comparison. */
  comparisons: { what: string; run: (engine: Engine) => Promise<Comparison[]> }[];
}

/** The comparisons of a fractal model's case by name. */
const ofCase = {
  evaluation: compareEvaluation,
  training: compareTraining,
  resumed: compareResumed,
  samples: compareSamples,
};
export type CaseComparison = keyof typeof ofCase;
export const caseComparisons = Object.keys(ofCase) as CaseComparison[];

/** The comparison for each file; it reports any other file that it needs and does not find. */
const ofFiles = {
  "inception.safetensors": compareFeatures,
  "metrics.json": compareMetrics,
  "metrics.safetensors": compareMoments,
  "stats.npz": compareStatistics,
  "crop.safetensors": compareCrops,
};

/**
 * Opens a folder laid out like fixtures/parity/*, fixtures/metrics or fixtures/crop; throws a UserError for any other. Of a
 * fractal model's comparisons only those in `only` are made.
 */
export async function openFolder(folder: string, { only = caseComparisons } = {}): Promise<ParityFolder> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new UserError(`${folder}: there is no such folder; check the path`);
  const comparisons: ParityFolder["comparisons"] = [];
  if (existsSync(join(folder, "case.json"))) {
    const recorded = await readCase(folder);
    for (const what of only) comparisons.push({ what, run: (engine) => ofCase[what](engine, recorded) });
  }
  for (const [file, compare] of Object.entries(ofFiles))
    if (existsSync(join(folder, file)))
      comparisons.push({ what: compare.name, run: (engine) => compare(engine, folder) });
  if (comparisons.length === 0)
    throw new UserError(
      `${folder}: it contains neither case.json nor any of ${Object.keys(ofFiles).join(", ")}; give a folder laid out like those in fixtures/parity, or like fixtures/metrics`,
    );
  return { name: basename(resolve(folder)), comparisons };
}

/**
 * Runs all comparisons of a folder. One that fails (for example because draws come in a different order) counts as a
 * difference.
 */
export async function* compareFolder(engine: Engine, { comparisons }: ParityFolder): AsyncGenerator<Comparison> {
  for (const { what, run } of comparisons) {
    try {
      yield* await run(engine);
    } catch (error) {
      if (error instanceof UserError) throw error;
      yield { name: `${what}: ${(error as Error).message}`, error: Number.POSITIVE_INFINITY, tolerance: 0, ok: false };
    }
  }
}
