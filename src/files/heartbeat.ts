/** Signs of life in files, by a thread of their own: the main one is inside onnxruntime for minutes at a time. */

import { Worker } from "node:worker_threads";

/** Between two signs of life. */
export const beatMs = 5000;
/** What takes less time than this needs none. */
const quietMs = 1000;

let worker: Worker | undefined;
let next = 0;

/** Writes the file's own text into it every few seconds, for as long as that is still its text, until the end is called. */
export function heartbeat(path: string, text: string): () => void {
  const id = next++;
  let beating: Worker | undefined;
  const timer = setTimeout(() => {
    beating = worker ??= start();
    beating.postMessage({ id, path, text });
  }, quietMs);
  timer.unref();
  return () => {
    clearTimeout(timer);
    beating?.postMessage({ id });
  };
}

function start(): Worker {
  const started = new Worker(code, { eval: true, execArgv: [], workerData: { beatMs } });
  started.unref();
  started.on("error", () => (worker = undefined)); // a process that gives no signs is taken for a dead one, as it would be
  return started;
}

/**
 * Writing gives a file the time of the disk's own clock, and its changes to all who share the disk once it is synced. The
 * file is opened once: after its name has gone to another owner, what is written reaches nobody.
 */
const code = `
  const { openSync, readFileSync, writeSync, fsyncSync, closeSync } = require("node:fs");
  const { parentPort, workerData } = require("node:worker_threads");
  const held = new Map();
  const tried = (work) => { try { return work(); } catch { return undefined; } };
  parentPort.on("message", ({ id, path, text }) => {
    if (path === undefined) {
      const one = held.get(id);
      held.delete(id);
      if (one) tried(() => closeSync(one.file));
      return;
    }
    const file = tried(() => openSync(path, "r+"));
    if (file === undefined) return;
    if (tried(() => readFileSync(file, "utf8")) !== text) return tried(() => closeSync(file));
    held.set(id, { file, text });
  });
  setInterval(() => {
    for (const { file, text } of held.values())
      tried(() => { writeSync(file, text, 0); fsyncSync(file); });
  }, workerData.beatMs);
`;
