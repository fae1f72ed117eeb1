/** The options of every command that runs graphs: --device, --threads and, in one group with them, --help. */

import { Option } from "commander";
import type { Engine, Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import type { Precision } from "../graph/form.ts";
import { oneOf, whole } from "./values.ts";

const providers = ["cpu", "webgpu", "cuda"] as const satisfies readonly Provider[];
const precisions = ["float32", "float16"] as const satisfies readonly Precision[];

export const deviceOption = () =>
  new Option("--device <name>", "device that runs the graphs; falls back to the CPU if unavailable")
    .choices(providers)
    .default("cpu")
    .argParser(oneOf(providers));
export const precisionOption = () =>
  new Option("--precision <name>", "type of products; float16 is faster on GPUs that support it")
    .choices(precisions)
    .default("float32")
    .argParser(oneOf(precisions));
export const threadsOption = () =>
  new Option("--threads <n>", "CPU threads (default: FRACTALGEN_THREADS, or one per core)").argParser(
    whole({ least: 1, most: 1024 }),
  );
export const helpOption = () => new Option("-h, --help", "show this help");

/** The precision as jobs and records have it: undefined for float32. */
export const unusual = (precision?: Precision): "float16" | undefined =>
  precision === "float16" ? precision : undefined;

/**
 * Opens an engine on the requested device; prints a line to stderr if it falls back to the CPU, or to float32.
 */
export async function openEngine({
  device,
  threads,
  precision,
}: {
  device: Provider;
  threads?: number;
  precision?: Precision;
}): Promise<Engine> {
  const engine = await nodeEngine({ provider: device, threads, precision });
  const instead = engine.provider === device ? "float32" : "the CPU";
  if (engine.fallback) console.error(`${engine.fallback}; using ${instead} instead`);
  return engine;
}
