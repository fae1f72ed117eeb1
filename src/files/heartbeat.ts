/** Heartbeats in files, written by a separate thread because onnxruntime can block the main one for minutes. */

import { Worker } from "node:worker_threads";

/** Milliseconds between two heartbeats. */
export const beatMs = 5000;
/** Tasks shorter than this need no heartbeat. */
const quietMs = 1000;

let worker: Worker | undefined;
let next = 0;

/**
 * Rewrites the file's own text every few seconds, if the file still has that text. Call the returned function to stop.
 */
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
  started.on("error", () => (worker = undefined)); // without heartbeats this process counts as dead, as documented
  return started;
}

/**
 * Writing sets the file's time by the disk's own clock, and syncing makes the change visible to everyone who shares the
 * disk. The file is opened only once: after another owner replaces it, these writes affect no one.
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
