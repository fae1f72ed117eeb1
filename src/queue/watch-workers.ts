/** Counts a command's workers, and reports those that are incompatible. */

import type { Redis } from "ioredis";
import type { Provider } from "../engine/engine.ts";
import { present } from "./presence.ts";

interface WatchOptions {
  version: string;
  device: Provider;
  /** Called when jobs have been waiting for a worker for a few seconds. */
  onLonely: () => void;
  onNote: (line: string) => void;
  /** Whether jobs are pending. */
  busy: () => boolean;
}

const lookMs = 1000;
const patienceMs = 5000;

/** Checks every second; reports incompatible workers and a lack of workers once each. */
export function watchWorkers(
  client: Redis,
  { version, device, onLonely, onNote, busy }: WatchOptions,
): { readonly workers: number; end(): void } {
  let workers = 0;
  let alone = performance.now();
  let lonely = false;
  const refused = new Set<string>();
  let mixed = false;
  async function look(): Promise<void> {
    const all = await present(client, "worker");
    for (const { name, version: other } of all) {
      if (other === version || refused.has(name)) continue;
      refused.add(name);
      onNote(`the worker ${name} has version ${other} and this command ${version}; it gets no jobs from this command`);
    }
    const fitting = all.filter((one) => one.version === version && one.device === device);
    const models = [...new Set(fitting.map(({ cpu, arch }) => `${cpu} (${arch})`))];
    if (device === "cpu" && models.length > 1 && !mixed) {
      mixed = true;
      onNote(
        `the workers have different processors (${models.join(", ")}), whose results may differ in the last digits of a number`,
      );
    }
    workers = fitting.length;
    if (workers > 0 || !busy()) alone = performance.now();
    if (workers > 0) lonely = false;
    if (lonely || performance.now() - alone < patienceMs) return;
    lonely = true;
    onLonely();
  }
  const first = look().catch(() => {});
  const timer = setInterval(() => void first.then(look).catch(() => {}), lookMs);
  return {
    get workers() {
      return workers;
    },
    end: () => clearInterval(timer),
  };
}
