/** Asks the thread that decodes Parquet, and ends it where an answer takes longer than the bytes are worth. */

import { fstatSync, closeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { FileMetaData } from "hyparquet";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { openRegularSync, pathText } from "../files/regular.ts";
import { computedSince } from "../files/stoppable.ts";

/** Rows of some columns; without `utf8`, bytes that are not said to be text stay bytes. */
export interface RowsWanted {
  columns: string[];
  rowStart?: number;
  rowEnd?: number;
  utf8?: boolean;
}

export type ParquetQuestion = { descriptor: number } & (
  | { kind: "metadata" | "close" }
  | ({ kind: "rows" } & RowsWanted)
);
export type ParquetAnswer = { id: number; value: unknown } | { id: number; error: string };

export interface ParquetFile {
  metadata: FileMetaData;
  /** `bytes` is about how many the answer is read from. */
  rows(wanted: RowsWanted, bytes: number): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export interface ParquetDecoder {
  /** Every fault of the file is a UserError; close it after use. */
  open(path: string): Promise<ParquetFile>;
  end(): Promise<void>;
}

/** Values on the thread's own heap; the bytes of pages are not there. */
const heapMegabytes = 512;

interface Waiting {
  path: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

const damaged = (path: string, why: string) =>
  new UserError(`${pathText(path)}: the Parquet file is cut short or damaged (${shown(why, 200)}); fetch it again`);

/** Starts a thread that decodes the files of a data set; end it after use. */
export function startParquetDecoder(): ParquetDecoder {
  const worker = start(new URL("./parquet-decoder", import.meta.url));
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let over: string | undefined;
  let ready: () => void;
  const started = new Promise<void>((resolve) => (ready = resolve));
  const stop = (why: string) => {
    over ??= why;
    ready();
    for (const { path, reject } of waiting.values()) reject(damaged(path, over));
    waiting.clear();
  };
  worker.on("message", (message: ParquetAnswer | "ready") => {
    if (message === "ready") return ready();
    const { path, resolve, reject } = waiting.get(message.id)!;
    waiting.delete(message.id);
    if ("error" in message) reject(damaged(path, message.error));
    else resolve(message.value);
  });
  // Out of memory, or an error that the decoder threw where nobody waited for it.
  worker.on("error", (error) => stop(error instanceof Error ? error.message : String(error)));
  worker.on("exit", () => stop("its decoder ended"));

  async function ask(path: string, question: ParquetQuestion, bytes: number): Promise<unknown> {
    await started;
    if (over !== undefined) throw damaged(path, over);
    const ms = limits.parquetMs * (1 + bytes / 1e6);
    const id = next++;
    const answer = new Promise<unknown>((resolve, reject) => waiting.set(id, { path, resolve, reject }));
    const [begun, before] = [performance.now(), process.cpuUsage()];
    // Other threads compute meanwhile, so the process may compute for twice as long; one that waits for ever computes nothing.
    const timer = setInterval(() => {
      const wall = performance.now() - begun;
      if (wall < ms || (computedSince(before) < 2 * ms && wall < 100 * ms)) return;
      stop(`decoding takes more than ${(ms / 1000).toFixed(1)} s`);
      void worker.terminate();
    }, 50);
    worker.postMessage({ id, question });
    return answer.finally(() => clearInterval(timer));
  }

  return {
    async open(path) {
      const descriptor = openRegularSync(path);
      const close = async () => {
        if (over === undefined) await ask(path, { kind: "close", descriptor }, 0);
        closeSync(descriptor);
      };
      try {
        const bytes = Math.min(fstatSync(descriptor).size, limits.parquetFooterBytes);
        const metadata = (await ask(path, { kind: "metadata", descriptor }, bytes)) as FileMetaData;
        return {
          metadata,
          rows: async (wanted, size) =>
            (await ask(path, { kind: "rows", descriptor, ...wanted }, size)) as Record<string, unknown>[],
          close,
        };
      } catch (error) {
        await close();
        throw error;
      }
    },
    end: async () => void (await worker.terminate()),
  };
}

/** A worker that runs from source needs the loader of TypeScript first. */
function start({ href }: URL): Worker {
  // Options of Node that began the process are not for a thread.
  const options = { resourceLimits: { maxOldGenerationSizeMb: heapMegabytes }, execArgv: [] };
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(`${href}.js`), options);
  const tsx = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(`${href}.ts`)}); });`;
  return new Worker(code, { ...options, eval: true });
}
