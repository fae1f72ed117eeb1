/** Client of the thread that decodes Parquet; stops the thread if an answer takes too long for the amount of data. */

import { fstatSync, closeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { FileMetaData } from "hyparquet";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { openRegularSync, pathText } from "../files/regular.ts";
import { computedSince } from "../files/stoppable.ts";

/** A range of rows of some columns; without `utf8`, byte arrays not declared as text stay bytes. */
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
  /** `bytes` is roughly how much of the file the rows take; it scales the time limit. */
  rows(wanted: RowsWanted, bytes: number): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export interface ParquetDecoder {
  /** Throws a UserError for any fault of the file. Close the file after use. */
  open(path: string): Promise<ParquetFile>;
  end(): Promise<void>;
}

/** Limits the thread's own heap, which does not hold the bytes of pages. */
const heapMegabytes = 512;

interface Waiting {
  path: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

const damaged = (path: string, why: string) =>
  new UserError({
    subject: pathText(path),
    problem: `the Parquet file is truncated or damaged (${shown(why, 200)})`,
    hint: "download it again",
  });

/** Starts a thread that decodes the files of a data set. End it after use. */
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
  // Out of memory, or an unhandled error of the decoder.
  worker.on("error", (error) => stop(error instanceof Error ? error.message : String(error)));
  worker.on("exit", () => stop("its decoder ended"));

  async function ask(path: string, question: ParquetQuestion, bytes: number): Promise<unknown> {
    await started;
    if (over !== undefined) throw damaged(path, over);
    const ms = limits.parquetMs * (1 + bytes / 1e6);
    const id = next++;
    const answer = new Promise<unknown>((resolve, reject) => waiting.set(id, { path, resolve, reject }));
    const [begun, before] = [performance.now(), process.cpuUsage()];
    // Processor time includes other threads, so twice the limit is allowed; the wall-clock limit catches endless
    // waiting.
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

/** A worker that runs from source needs the TypeScript loader first. */
function start({ href }: URL): Worker {
  // The Node options of the main process do not apply to a thread.
  const options = { resourceLimits: { maxOldGenerationSizeMb: heapMegabytes }, execArgv: [] };
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(`${href}.js`), options);
  const tsx = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(`${href}.ts`)}); });`;
  return new Worker(code, { ...options, eval: true });
}
