/** Records what the images in an unfinished folder depend on, so that only the same command resumes. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { recordedSampling } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import type { Written } from "./drawn-files.ts";

/** The file with this record, which is removed when the folder is complete. */
export const unfinishedName = ".unfinished.json";

interface Unfinished {
  labels: readonly number[];
  written: Written;
  seed: number;
  /** Other devices and precisions draw other bytes. */
  device: Provider;
  precision?: "float16";
  signal: AbortSignal;
}

/** Whether the folder has images from an earlier, stopped run of the same command. */
export async function openUnfinished(
  each: string,
  { written, labels, seed, device, precision, signal }: Unfinished,
): Promise<boolean> {
  const path = join(each, unfinishedName);
  const weights = await checksum(written.model.weights.path, { signal });
  const classes = createHash("sha256").update(labels.join()).digest("hex");
  const depends = { weights, classes, names: written.names.length, seed, device, precision };
  const wanted = `${JSON.stringify({ ...depends, ...recordedSampling(written.settings), ...written.options })}\n`;
  if (!existsSync(path)) {
    await writeFileAtomic(path, wanted);
    return false;
  }
  if (readFileSync(path, "utf8") === wanted) return true;
  throw new UserError({
    subject: { setting: "each" },
    problem: `${each} holds images made with a different model, seed, device or options`,
    hint: "choose another folder, or repeat the original options to resume",
  });
}
