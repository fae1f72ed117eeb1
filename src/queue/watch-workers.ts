/** Which workers a command has, and what to say of those that do not fit. */

import type { Redis } from "ioredis";
import type { Provider } from "../engine/engine.ts";
import { present } from "./presence.ts";

interface WatchOptions {
  version: string;
  device: Provider;
  /** Called when jobs have been waiting for a worker for some seconds. */
  onLonely: () => void;
  onNote: (line: string) => void;
  /** Whether there are jobs to be done. */
  busy: () => boolean;
}

const lookMs = 1000;
const patienceMs = 5000;

/** Looks every second, and says once who does not fit, and that there is nobody. */
export function watchWorkers(
  client: Redis,
  { version, device, onLonely, onNote, busy }: WatchOptions,
): { readonly workers: number; end(): void } {
  let workers = 0;
  let alone = performance.now();
  let lonely = false;
  const refused = new Set<string>();
  async function look(): Promise<void> {
    const all = await present(client, "worker");
    for (const { name, version: other } of all) {
      if (other === version || refused.has(name)) continue;
      refused.add(name);
      onNote(`the worker ${name} has version ${other} and this command ${version}; it gets no jobs of this command`);
    }
    workers = all.filter((one) => one.version === version && one.device === device).length;
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
