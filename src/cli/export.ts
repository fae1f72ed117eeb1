/** `fractalgen export`: writes a model's step graphs as ONNX files for other programs. */

import { createReadStream, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { Command } from "commander";
import { counted } from "../core/counted.ts";
import { byteCount } from "../core/byte-count.ts";
import { replaceFolder, writeFileAtomic, type Replacing } from "../files/atomic.ts";
import { externalModel } from "../files/external.ts";
import type { ModelFolder } from "../files/model.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { manifest, stepGraphs } from "../model/manifest.ts";
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

/** Writes the graphs, a copy of the weights and the manifest, all or nothing. `onProgress` receives the bytes of weights copied, and their total. */
export async function exportOnnx(
  folder: ModelFolder,
  out: string,
  {
    onProgress,
    signal,
    owned,
  }: { onProgress?: (done: number, total: number) => void; signal?: AbortSignal } & Replacing = {},
): Promise<{ graphs: number; bytes: number }> {
  const { path } = folder.weights;
  const { config, weights } = externalModel({ ...folder, weights: { ...folder.weights, realPath: path } });
  const graphs = stepGraphs(config);
  const totalBytes = statSync(path).size;
  let bytes = totalBytes;
  await replaceFolder(
    out,
    async (temporary) => {
      const write = async (name: string, content: Uint8Array | string) => {
        signal?.throwIfAborted();
        await writeFileAtomic(join(temporary, name), content);
        bytes += Buffer.byteLength(content);
      };
      for (const { file, outputs } of graphs) await write(file, writeOnnx(outputs, { weights }).bytes);
      await write("manifest.json", `${JSON.stringify(manifest(config, { weights: basename(path) }), null, 1)}\n`);
      let copied = 0;
      const copy = async (piece: (bytes: Uint8Array) => Promise<void>) => {
        for await (const chunk of createReadStream(path, { highWaterMark: 1 << 22, signal })) {
          await piece(chunk);
          onProgress?.((copied += chunk.length), totalBytes);
        }
      };
      await writeFileAtomic(join(temporary, basename(path)), copy, { totalBytes });
    },
    { owned },
  );
  return { graphs: graphs.length, bytes };
}
