/** `npm run parity -- DIR ...`: compares everything recorded in each folder; exit 1 where anything differs. */

import { endsOnClosedPipe, reported } from "../cli/mistakes.ts";
import { UserError } from "../core/errors.ts";
import { nodeEngine } from "../engine/node.ts";
import { readCase } from "./case.ts";
import type { Comparison } from "./compare.ts";
import { compareSamples } from "./samples.ts";
import { compareEvaluation, compareResumed, compareTraining } from "./teacher.ts";

const usage = `Usage: npm run parity -- DIR ...

Compares this program with the published implementation. Each DIR holds case.json, checkpoint-last.pth and
expected.safetensors, laid out as in fixtures/parity (its README says how), and may hold
checkpoint-after-step0.pth, from which training then has to resume. Prints a line per comparison: name, worst
absolute error, tolerance, ok or FAIL.

Example: npm run parity -- fixtures/parity/*`;

const line = ({ name, error, tolerance, ok }: Comparison): string =>
  `${ok ? "ok  " : "FAIL"} ${error.toExponential(2).padStart(9)}  (tolerance ${tolerance.toExponential(0)})  ${name}`;

async function main(folders: string[]): Promise<number> {
  if (folders.length === 0 || folders.includes("--help") || folders.includes("-h")) {
    console.log(usage);
    return folders.length === 0 ? 2 : 0;
  }
  const engine = await nodeEngine();
  let compared = 0;
  let failed = 0;
  // The example's glob takes in the README beside the folders.
  for (const folder of folders.filter((path) => !path.endsWith(".md"))) {
    const recorded = await readCase(folder);
    console.log(`${recorded.name}:`);
    for (const compare of [compareEvaluation, compareTraining, compareResumed, compareSamples])
      for (const result of await outcome(compare(engine, recorded), compare.name)) {
        console.log(`  ${line(result)}`);
        compared++;
        if (!result.ok) failed++;
      }
  }
  console.log(`${compared - failed} agree, ${failed} differ`);
  return failed > 0 ? 1 : 0;
}

/** What cannot even be replayed (draws in another order, say) differs too. */
async function outcome(comparisons: Promise<Comparison[]>, what: string): Promise<Comparison[]> {
  try {
    return await comparisons;
  } catch (error) {
    if (error instanceof UserError) throw error;
    return [{ name: `${what}: ${(error as Error).message}`, error: Number.POSITIVE_INFINITY, tolerance: 0, ok: false }];
  }
}

endsOnClosedPipe();
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = reported(error, { help: "npm run parity -- --help" });
}
