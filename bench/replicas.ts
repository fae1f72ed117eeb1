/**
 * `npm run bench -- replicas`: what training by rounds costs in likelihood. One machine and several replicas see the same
 * number of images in batches of the same size overall.
 */

import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordsOf, trained } from "./train-command.ts";

export interface ReplicasBench {
  replicas: number;
  images: number;
  batch: number;
  imageSize: number;
  /** A model to go on from. */
  initFrom?: string;
  threads?: number;
  cache: string;
  json?: boolean;
}

interface Result {
  name: string;
  /** Held-out bits per dimension. */
  bits: number;
}

/** `variants` are options of `fractalgen train`, separated by spaces. */
export async function benchReplicas(variants: readonly string[], options: ReplicasBench): Promise<void> {
  const { replicas, images, batch, imageSize, initFrom, threads, cache, json } = options;
  const steps = Math.ceil(images / (batch * replicas));
  const start = initFrom === undefined ? ["--kind", "ar"] : ["--init-from", initFrom, "--recipe", "default"];
  const common = ["--image-size", String(imageSize), ...start];
  if (threads !== undefined) common.push("--threads", String(threads));
  const results: Result[] = [];
  let current: ChildProcess | undefined;
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => current?.kill(signal));

  async function measure(name: string, args: readonly string[]): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "fractalgen-bench-"));
    const out = join(folder, "run");
    try {
      await trained({ out, steps, cache }, [...common, ...args], (child) => (current = child));
      const result = { name, bits: recordsOf<Result>(out, "evaluation").at(-1)!.bits };
      results.push(result);
      if (!json) console.log(`${name}: ${result.bits.toFixed(3)} (${signed(result.bits - results[0].bits)})`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  if (!json)
    console.log(`held-out bits per dimension after ${steps * batch * replicas} images of ${imageSize}x${imageSize}`);
  await measure(`one machine, batches of ${batch * replicas}`, ["--batch", String(batch * replicas)]);
  const rounds = ["--replicas", String(replicas), "--batch", String(batch)];
  for (const variant of variants)
    await measure(`${replicas} replicas, batches of ${batch}, ${variant}`, [...rounds, ...variant.split(" ")]);
  if (json) console.log(JSON.stringify({ images: steps * batch * replicas, imageSize, results }));
}

const signed = (value: number): string => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(3)}`;
