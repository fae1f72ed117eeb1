/** `fractalgen quantize`: a model folder with its large weights in eight or four bits. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { weightsName } from "../files/model.ts";
import { quantizeFolder } from "../files/quantize.ts";
import type { Quantized } from "../model/quantize.ts";
import { helpOption } from "./engine.ts";
import { findModel } from "./models.ts";
import { checkFolder } from "./outputs.ts";
import { interruptible } from "./interrupt.ts";
import { progressOn } from "./progress.ts";
import { filled, oneOf } from "./values.ts";

const dtypes = ["q8", "q4"] as const satisfies readonly Quantized[];

interface QuantizeFlags {
  dtype: Quantized;
  json?: boolean;
}

export function addQuantize(program: Command): void {
  program
    .command("quantize")
    .summary("store a model's large weights in eight or four bits")
    .description(
      "Write a model folder whose linear layers above the pixels are in eight bits (q8) or four (q4); it is used like any other. Smaller, and with q8 faster, for a little likelihood.",
    )
    .argument("<dir|name>", "a model folder, or one that ships", filled)
    .argument("<out>", "a new folder", filled)
    .addOption(new Option("--dtype <name>", "q8 or q4").choices(dtypes).default("q8").argParser(oneOf(dtypes)))
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExample:\n  fractalgen quantize runs/photos runs/photos-q8\n  fractalgen sample --model runs/photos-q8",
    )
    .action(async (from: string, out: string, { dtype, json }: QuantizeFlags) => {
      checkFolder(out, { option: "<out>" });
      await recoverFolder(out);
      if (existsSync(out)) throw new UserError(`${out} is there already; give the name of a new folder`);
      const model = await findModel(from, { option: "<dir|name>" });
      const progress = progressOn(process.stderr, { quiet: json });
      const { signal, met, done } = interruptible();
      try {
        await quantizeFolder(model, out, {
          dtype,
          signal,
          onProgress: (made, total) => progress.update(`quantising: ${made} of ${total} tensors`),
        });
      } catch (error) {
        progress.clear();
        return met(error);
      } finally {
        done();
      }
      progress.clear();
      const size = (folder: string) => statSync(join(folder, weightsName)).size;
      const [before, after] = [size(model.folder), size(out)];
      if (json) console.log(JSON.stringify({ out, dtype, bytesBefore: before, bytes: after }));
      else {
        console.error(`${(before / 1e6).toFixed(1)} MB in float32, ${(after / 1e6).toFixed(1)} MB in ${dtype}`);
        console.log(out);
      }
    });
}
