/** Which process this is, and whether another one still runs. Knows nothing of what they do. */

import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/**
 * A process, told apart from every other. Numbers of processes are given out again and are the same in several containers;
 * so are host names. On Linux the start of the machine, the namespace of the number and the start of the process are known.
 */
export interface ProcessId {
  pid: number;
  host: string;
  /** Of the machine's start: another one after a restart, and on every other machine. */
  boot?: string;
  /** What the number holds in: each container has its own. */
  namespace?: string;
  /** When it started, in ticks since the machine did. */
  started?: string;
}

/** This process. */
export function thisProcess(): ProcessId {
  const status = statusOf("self");
  const readable = status?.pid === process.pid; // /proc may be that of another namespace
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
 * Whether a process still runs. "unknown" for one on another machine or in another container, and where there is a process
 * of its number but nothing to tell whether it is the same one.
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

/** Whether this machine, or this container, has a process of this number. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** From Linux's /proc/PID/stat: "PID (name) state …", where the 22nd field is the start. */
function statusOf(pid: number | "self"): { pid: number; over: boolean; started: string } | undefined {
  const text = attempt(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // A killed process that its parent has not asked about is still listed, as a zombie.
  return { pid: Number.parseInt(text, 10), over: /^[ZX]/.test(fields[0]), started: fields[19] };
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
