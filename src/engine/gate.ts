/**
 * Keeps a worker thread from being terminated inside onnxruntime, which would end the whole process: its native code
 * cannot return to a JavaScript that is gone. A thread enters the gate before native code and leaves it afterwards;
 * whoever terminates the thread meanwhile waits until then.
 */

import { getEnvironmentData, isMainThread, setEnvironmentData, Worker, type WorkerOptions } from "node:worker_threads";

const key = "fractalgen.gate";
/** Indices of the shared array. */
const [place, wish] = [0, 1];
/** Where the thread is; closed means that it may not enter any more. */
const [outside, inside, closed] = [0, 1, 2];

const own = isMainThread ? undefined : (getEnvironmentData(key) as Int32Array | undefined);
// A thread that this one starts must not use the same gate.
if (own) setEnvironmentData(key, undefined);
let entered = 0;

/** Calls native code that a thread must not be terminated in. */
export async function throughGate<T>(native: () => Promise<T>): Promise<T> {
  if (!own) return native();
  if (entered === 0 && Atomics.compareExchange(own, place, outside, inside) !== outside) process.exit(1);
  entered++;
  try {
    return await native();
  } finally {
    entered--;
    if (entered === 0) {
      Atomics.store(own, place, outside);
      Atomics.notify(own, place);
      // If the wish comes later than this, `terminate` finds the thread outside.
      if (Atomics.load(own, wish) === 1) process.exit(1);
    }
  }
}

/** Whether a thread is inside. If not, it cannot enter any more. */
const isInside = (gate: Int32Array): boolean => Atomics.compareExchange(gate, place, outside, closed) === inside;

/** The gates of all threads that have not ended. */
const gates = new Set<Int32Array>();
/** How long the process's exit waits for a thread: longer than any run of a model that people wait for. */
const exitMs = 60_000;

/** Before the process exits and ends its threads, waits until each is outside. */
function onExit(): void {
  for (const gate of gates) Atomics.store(gate, wish, 1);
  for (const gate of gates) while (isInside(gate)) if (Atomics.wait(gate, place, inside, exitMs) === "timed-out") break;
}

/** A worker that ends only outside of the gate, when it is terminated or the process exits. */
export class GatedWorker extends Worker {
  readonly #gate: Int32Array;

  constructor(filename: string | URL, options: WorkerOptions) {
    const gate = new Int32Array(new SharedArrayBuffer(8));
    setEnvironmentData(key, gate);
    try {
      super(filename, options);
    } finally {
      setEnvironmentData(key, undefined);
    }
    this.#gate = gate;
    if (gates.size === 0) process.on("exit", onExit);
    gates.add(gate);
    this.once("exit", () => {
      gates.delete(gate);
      if (gates.size === 0) process.off("exit", onExit);
    });
  }

  /** Ends the thread as soon as it is outside of the gate. Resolves with its exit code. */
  override async terminate(): Promise<number> {
    if (this.threadId === -1) return super.terminate();
    const exited = new Promise<number>((resolve) => this.once("exit", resolve));
    Atomics.store(this.#gate, wish, 1);
    return isInside(this.#gate) ? exited : super.terminate();
  }
}
