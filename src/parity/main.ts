/** `npm run parity -- DIR ...`: compares everything recorded in each folder; exits with 1 if anything differs. */

import { parseArgs } from "node:util";
import { endsOnClosedPipe, reported } from "../cli/mistakes.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import type { Comparison } from "./compare.ts";
import { type CaseComparison, caseComparisons, compareFolder, openFolder } from "./folder.ts";

const usage = `Usage: npm run parity -- [--device cpu|webgpu|cuda] [--only ${caseComparisons.join(",")}] DIR ...

Compares this program with the published implementations. DIR is one of two kinds:

- laid out like the folders in fixtures/parity (see its README): case.json, checkpoint-last.pth and
  expected.safetensors of a fractal model, and optionally checkpoint-after-step0.pth to test resuming of training;
- laid out like fixtures/metrics and fixtures/crop: any of inception.safetensors with inception-parameters.json (features
  of FID's network), metrics.safetensors with metrics.json (FID, Inception Score, KID, precision and recall) and with
  stats.npz (mean and covariance), and crop.safetensors (centre crops).

--only names the comparisons of fractal models; whole samples take long on a software driver.

Prints one line per comparison: ok or FAIL, worst error, tolerance, name. Errors of metrics and features are relative.

Example: npm run parity -- fixtures/parity/* fixtures/metrics fixtures/crop`;

const line = ({ name, error, tolerance, ok }: Comparison): string =>
  `${ok ? "ok  " : "FAIL"} ${error.toExponential(2).padStart(9)}  (tolerance ${tolerance.toExponential(0)})  ${name}`;

interface ParityOptions {
  device: Provider;
  only: CaseComparison[];
  folders: string[];
}

/** Throws a UserError for an unknown option or value. */
function parsed(args: string[]): ParityOptions & { help: boolean } {
  try {
    const { values, positionals: folders } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        device: { type: "string", default: "cpu" },
        only: { type: "string", default: caseComparisons.join() },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const one = <T extends string>(text: string, of: readonly T[]): T => {
      const found = of.find((name) => name === text);
      if (found === undefined) throw new UserError(`expected one of ${of.join(", ")}, got "${text}"`);
      return found;
    };
    return {
      device: one(values.device, ["cpu", "webgpu", "cuda"]),
      only: values.only.split(",").map((name) => one(name, caseComparisons)),
      folders,
      help: values.help,
    };
  } catch (error) {
    throw error instanceof UserError ? error : new UserError((error as Error).message);
  }
}

async function main(args: string[]): Promise<number> {
  const { help, ...asked } = parsed(args);
  if (asked.folders.length === 0 || help) {
    console.log(usage);
    return help ? 0 : 2;
  }
  const { device: provider, only, folders } = asked;
  const engine = await nodeEngine({ provider });
  if (engine.fallback) throw new UserError(engine.fallback); // the CPU's results would say nothing about the device
  let agree = 0;
  let differ = 0;
  // The example's glob also matches the README next to the folders.
  for (const path of folders.filter((path) => !path.endsWith(".md"))) {
    const folder = await openFolder(path, { only });
    console.log(`${folder.name}:`);
    const before = agree + differ;
    for await (const result of compareFolder(engine, folder)) {
      console.log(`  ${line(result)}`);
      if (result.ok) agree++;
      else differ++;
    }
    if (agree + differ === before)
      throw new UserError(`${path}: its files contain no results to compare with; check the path`);
  }
  console.log(`${agree} agree, ${differ} differ`);
  return differ > 0 ? 1 : 0;
}

endsOnClosedPipe();
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = reported(error, { help: "npm run parity -- --help" });
}
