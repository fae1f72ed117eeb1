/** A folder of images that is not finished: what they depend on, so that only the same command goes on. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { recordedSampling } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import type { Written } from "./drawn-files.ts";

/** What the images of an unfinished folder depend on; the file goes when all are there. */
export const unfinishedName = ".unfinished.json";

interface Unfinished {
  labels: readonly number[];
  written: Written;
  seed: number;
  signal: AbortSignal;
}

/** Whether the folder has images of the same command that was stopped. */
export async function openUnfinished(each: string, { written, labels, seed, signal }: Unfinished): Promise<boolean> {
  const path = join(each, unfinishedName);
  const weights = await checksum(written.model.weights.path, { signal });
  const classes = createHash("sha256").update(labels.join()).digest("hex");
  const depends = { weights, classes, names: written.names.length, seed, ...recordedSampling(written.settings) };
  const wanted = `${JSON.stringify({ ...depends, ...written.options })}\n`;
  if (!existsSync(path)) {
    await writeFileAtomic(path, wanted);
    return false;
  }
  if (readFileSync(path, "utf8") === wanted) return true;
  throw new UserError({
    subject: { setting: "each" },
    problem: `${each} holds unfinished images of another model, seed or options`,
    hint: "choose another folder, or repeat the original options to go on",
  });
}
