/** `fractalgen quantize`: a model folder with smaller weights. */

import { statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { weightsName } from "../files/model.ts";
import { quantizeFolder, type SmallerType } from "../files/quantize.ts";
import { helpOption } from "./engine.ts";
import { findModel } from "./models.ts";
import { ownNew } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { choice, filled } from "./values.ts";

const dtypes = ["float16", "q8", "q4"] as const satisfies readonly SmallerType[];

interface QuantizeFlags {
  dtype: SmallerType;
  json?: boolean;
}

export function addQuantize(program: Command): void {
  program
    .command("quantize")
    .summary("store a model's weights in sixteen, eight or four bits")
    .description(
      "Write a copy of a model with smaller weights. The copy is used like any other model. float16 stores every weight in sixteen bits, which halves the size, and computes in float32. q8 and q4 store the linear layers above the pixels in eight or four bits, which costs a little likelihood; q8 is also faster.",
    )
    .argument("<dir|name>", "a model folder, or a bundled model", filled)
    .argument("<out>", "a new folder", filled)
    .addOption(choice("--dtype <name>", "float16, q8 or q4", dtypes).default("q8"))
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExample:\n  fractalgen quantize runs/photos runs/photos-q8\n  fractalgen sample --model runs/photos-q8",
    )
    .action(quantize);
}

async function quantize(from: string, out: string, { dtype, json }: QuantizeFlags): Promise<void> {
  const before = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const owned = closing(await ownNew(out, { option: "<out>", signal }), ({ release }) => release());
    const model = await findModel(from, { subject: "<dir|name>" });
    const onProgress = (made: number, total: number) => progress.update(`quantising: ${made} of ${total} tensors`);
    await quantizeFolder(model, out, { dtype, signal, onProgress, owned });
    return model;
  });
  if (!before) return;
  const size = (folder: string) => statSync(join(folder, weightsName)).size;
  const [bytesBefore, bytes] = [size(before.folder), size(out)];
  if (json) console.log(JSON.stringify({ out, dtype, bytesBefore, bytes }));
  else {
    console.error(`${(bytesBefore / 1e6).toFixed(1)} MB before, ${(bytes / 1e6).toFixed(1)} MB in ${dtype}`);
    console.log(out);
  }
}
