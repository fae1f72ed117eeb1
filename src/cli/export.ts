/** `fractalgen export`: writes a model's step graphs as ONNX files for other programs. */

import { statSync } from "node:fs";
import type { Command } from "commander";
import { counted } from "../core/counted.ts";
import { byteCount } from "../core/byte-count.ts";
import { exportOnnx } from "../files/export.ts";
import { helpOption } from "./engine.ts";
import { findModel } from "./models.ts";
import { ownNew } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled } from "./values.ts";

interface ExportFlags {
  onnx: string;
  json?: boolean;
}

export function addExport(program: Command): void {
  program
    .command("export")
    .summary("write a model's step graphs as ONNX files")
    .description(
      "Write the graphs used for sampling as .onnx files, with their weights in one model.safetensors file next to them, and manifest.json, which describes how to generate images with them and which onnxruntime they require: 1.23 for models with AR levels, 1.18 for others.",
    )
    .argument("<dir|name>", "a model folder, or a bundled model", filled)
    .requiredOption("--onnx <out>", "a new folder", filled)
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText("after", "\nExample:\n  fractalgen export emoji --onnx emoji-onnx")
    .action(exportModel);
}

async function exportModel(from: string, { onnx: out, json }: ExportFlags): Promise<void> {
  const written = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const owned = closing(await ownNew(out, { option: "--onnx", signal }), ({ release }) => release());
    const model = await findModel(from, { subject: "<dir|name>" });
    await checkSpace(out, statSync(model.weights.path).size);
    const onProgress = (at: number, total: number) =>
      progress.update(`copying weights: ${byteCount(at)} of ${byteCount(total)}`);
    return exportOnnx(model, out, { signal, onProgress, owned });
  });
  if (!written) return;
  const { graphs, bytes } = written;
  if (!json) console.error(`${counted(graphs, "graph")}, ${byteCount(bytes)} including their weights`);
  console.log(json ? JSON.stringify({ out, graphs, bytes }) : out);
}
