/** The options of every command that runs graphs: --device, --threads and, in one group with them, --help. */

import { Option } from "commander";
import type { Engine, Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { oneOf, whole } from "./values.ts";

const providers = ["cpu", "webgpu", "cuda"] as const satisfies readonly Provider[];

export const deviceOption = () =>
  new Option("--device <name>", "device that runs the graphs; falls back to the CPU if unavailable")
    .choices(providers)
    .default("cpu")
    .argParser(oneOf(providers));
export const threadsOption = () =>
  new Option("--threads <n>", "CPU threads (default: FRACTALGEN_THREADS, or one per core)").argParser(
    whole({ least: 1, most: 1024 }),
  );
export const helpOption = () => new Option("-h, --help", "show this help");

/** Opens an engine on the requested device; prints a line to stderr if it falls back to the CPU. */
export async function openEngine({ device, threads }: { device: Provider; threads?: number }): Promise<Engine> {
  const engine = await nodeEngine({ provider: device, threads });
  if (engine.fallback) console.error(`${engine.fallback}; using the CPU instead`);
  return engine;
}
