/** The --device option: which execution provider runs the graphs. */

import { Option } from "commander";
import { whole } from "./values.ts";
import type { Engine, Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";

export const deviceOption = () =>
  new Option("--device <name>", "what runs the graphs").choices(["cpu", "webgpu", "cuda"]).default("cpu");
export const threadsOption = () => new Option("--threads <n>", "threads (default: one per core)").argParser(whole({ least: 1, most: 1024 }));

/** An engine on the device asked for; says on the error stream when it had to fall back. */
export async function openEngine({ device, threads }: { device: Provider; threads?: number }): Promise<Engine> {
  const engine = await nodeEngine({ provider: device, threads });
  if (engine.fallback) console.error(`${engine.fallback}; using the CPU instead`);
  return engine;
}
