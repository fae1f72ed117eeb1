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
    for (const { name, version: other, arch } of all) {
      if ((other === version && arch === process.arch) || refused.has(name)) continue;
      refused.add(name);
      const differs =
        other === version
          ? `${arch} processors and this command ${process.arch} ones`
          : `version ${other} and this command ${version}`;
      onNote(`the worker ${name} has ${differs}; it gets no jobs of this command`);
    }
    const fitting = all.filter((one) => one.version === version && one.device === device && one.arch === process.arch);
    const models = [...new Set(fitting.map(({ cpu }) => cpu))];
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
