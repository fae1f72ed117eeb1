/** Identifies processes and tells whether another one is still running. Knows nothing of what they do. */

import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/**
 * Identifies a process uniquely. Process IDs are reused and repeat across containers, and so do host names. On Linux
 * the boot ID, the PID namespace and the start time of the process tell them apart.
 */
export interface ProcessId {
  pid: number;
  host: string;
  /** The boot ID: changes with every restart and differs on every machine. */
  boot?: string;
  /** The PID namespace: each container has its own. */
  namespace?: string;
  /** Its start time, in clock ticks since boot. */
  started?: string;
}

/** This process. */
export function thisProcess(): ProcessId {
  const status = statusOf("self");
  const readable = status?.pid === process.pid; // /proc may belong to another namespace
  return {
    pid: process.pid,
    host: hostname(),
    ...(readable && {
      boot: attempt(() => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()),
      namespace: attempt(() => readlinkSync("/proc/self/ns/pid")),
      started: status.started,
    }),
  };
}

/**
 * Whether a process is still running. "unknown" for one on another machine or in another container, and if a process
 * with its ID exists but cannot be identified as the same one.
 */
export function stateOf(other: ProcessId): "running" | "ended" | "unknown" {
  const own = thisProcess();
  const known = own.boot !== undefined && own.namespace !== undefined;
  if (own.boot !== other.boot || own.namespace !== other.namespace || (!known && own.host !== other.host))
    return "unknown";
  if (!isRunning(other.pid)) return "ended";
  if (!known || other.started === undefined) return "unknown";
  const status = statusOf(other.pid);
  return status?.started === other.started && !status.over ? "running" : "ended";
}

/** Whether a process with this ID exists on this machine or in this container. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Parses Linux's /proc/PID/stat: "PID (name) state …"; the 22nd field is the start time. */
function statusOf(pid: number | "self"): { pid: number; over: boolean; started: string } | undefined {
  const text = attempt(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // A killed process that its parent has not waited for is still listed, as a zombie.
  return { pid: Number.parseInt(text, 10), over: /^[ZX]/.test(fields[0]), started: fields[19] };
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
