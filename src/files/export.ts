/** Writes a model's step graphs as ONNX files for other programs. */

import { statSync } from "node:fs";
import { basename, join } from "node:path";
import { manifest, stepModels } from "../model/manifest.ts";
import { replaceFolder, writeFileAtomic } from "./atomic.ts";
import { externalModel } from "./external.ts";
import type { ModelFolder } from "./model.ts";
import type { Ownership } from "./ownership.ts";
import { openRegular } from "./regular.ts";

/** The options of `exportOnnx`. */
export interface ExportOptions {
  /** Called with the bytes of weights copied, and their total. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
  /** The caller's claim to the folder. By default the folder is claimed while it is written. */
  owned?: Ownership;
}

/**
 * Writes a model's step graphs as ONNX files, a copy of its weights and a manifest that describes how to generate images
 * with them, all or nothing. Returns the number of graphs, and the bytes of all files.
 */
export async function exportOnnx(
  folder: ModelFolder,
  out: string,
  { onProgress, signal, owned }: ExportOptions = {},
): Promise<{ graphs: number; bytes: number }> {
  const { path } = folder.weights;
  const { config, weights } = externalModel({ ...folder, weights: { ...folder.weights, realPath: path } });
  let graphs = 0;
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
      for (const { file, bytes: graph } of stepModels(config, weights)) {
        await write(file, graph);
        graphs++;
      }
      const description = JSON.stringify(manifest(config, { weights: basename(path) }), null, 1);
      await write("manifest.json", `${description}\n`);
      let copied = 0;
      const copy = async (piece: (bytes: Uint8Array) => Promise<void>) => {
        for await (const chunk of (await openRegular(path)).createReadStream({ highWaterMark: 1 << 22, signal })) {
          await piece(chunk);
          onProgress?.((copied += chunk.length), totalBytes);
        }
      };
      await writeFileAtomic(join(temporary, basename(path)), copy, { totalBytes });
    },
    { owned },
  );
  return { graphs, bytes };
}
