/** What a folder asks to be compared, by the files that it holds. */

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
  /** To be run one after another; `what` says what each compares. */
  comparisons: { what: string; run: (engine: Engine) => Promise<Comparison[]> }[];
}

const ofCase = [compareEvaluation, compareTraining, compareResumed, compareSamples];

/** What compares the results of each file; the reader of one says where another that it needs is missing. */
const ofFiles = {
  "inception.safetensors": compareFeatures,
  "metrics.json": compareMetrics,
  "metrics.safetensors": compareMoments,
  "stats.npz": compareStatistics,
  "crop.safetensors": compareCrops,
};

/** Takes a folder laid out as in fixtures/parity, or as fixtures/metrics and fixtures/crop. A UserError where it is neither. */
export async function openFolder(folder: string): Promise<ParityFolder> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new UserError(`${folder}: there is no such folder; check the path`);
  const comparisons: ParityFolder["comparisons"] = [];
  if (existsSync(join(folder, "case.json"))) {
    const recorded = await readCase(folder);
    for (const compare of ofCase) comparisons.push({ what: compare.name, run: (engine) => compare(engine, recorded) });
  }
  for (const [file, compare] of Object.entries(ofFiles))
    if (existsSync(join(folder, file)))
      comparisons.push({ what: compare.name, run: (engine) => compare(engine, folder) });
  if (comparisons.length === 0)
    throw new UserError(
      `${folder}: there is neither a case.json nor any of ${Object.keys(ofFiles).join(", ")}; give a folder laid out as in fixtures/parity, or as fixtures/metrics`,
    );
  return { name: basename(resolve(folder)), comparisons };
}

/** All comparisons of a folder. What cannot even be computed (draws in another order, say) differs too. */
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
