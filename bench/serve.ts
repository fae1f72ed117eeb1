/**
 * `npm run bench -- serve`: load-tests a server with many clients; measures lost requests, memory and event-loop delay.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { byteCount } from "../src/core/byte-count.ts";
import { median } from "./engine.ts";

export interface ServeBench {
  model: string;
  clients: number;
  seconds: number;
  iterations: number[];
  queue: number;
  json?: boolean;
}

interface Tally {
  images: number;
  refused: number;
  /** Counts of other answers, or of no answer, by reason. */
  lost: Record<string, number>;
  /** Response times of images in milliseconds. */
  waits: number[];
}

interface Sample {
  second: number;
  resident: number;
  images: number;
  waiting: number;
}

/** Clients that got 429 retry after this, or sooner if the server says so, to keep the server's queue full. */
const pauseMs = 1000;
const samplesMost = 12;
/** A request that takes longer than this counts as lost. */
const answerMs = 300_000;

export async function benchServe({ clients, seconds, json, ...options }: ServeBench): Promise<void> {
  const { url, stop } = await startServer(options);
  try {
    const body = (seed: number) => JSON.stringify({ prompt: "face,heart", n: 1, seed, iterations: options.iterations });
    await ask(url, body(0)); // loads the model
    const tally: Tally = { images: 0, refused: 0, lost: {}, waits: [] };
    const started = performance.now();
    const end = started + 1000 * seconds;
    const samples: Sample[] = [];
    const sampling = sampleEvery(url, { started, end, samples });
    await Promise.all(Array.from({ length: clients }, (_, i) => client(url, { body: () => body(i), end, tally })));
    await sampling;
    const took = (performance.now() - started) / 1000;
    const final = await metrics(url);
    const delay = (quantile: string) => final(`fractalgen_event_loop_delay_seconds{quantile="${quantile}"}`) * 1000;
    const result = {
      clients,
      seconds: took,
      images: tally.images,
      imagesPerSecond: tally.images / took,
      imagesPerBatch: final("fractalgen_images_total") / final("fractalgen_batches_total"),
      refused: tally.refused,
      lost: Object.values(tally.lost).reduce((sum, count) => sum + count, 0),
      reasons: tally.lost,
      waitMs: { median: median(tally.waits), most: Math.max(...tally.waits) },
      eventLoopDelayMs: { median: delay("0.5"), p99: delay("0.99"), most: delay("1") },
      samples,
    };
    if (json) console.log(JSON.stringify(result));
    else print(result);
    const asked = result.lost === 0 && result.eventLoopDelayMs.p99 < 50;
    if (!asked) process.exitCode = 1;
  } finally {
    await stop();
  }
}

/** Sends requests until the end; counts every answer as an image, a 429, or lost. */
async function client(
  url: string,
  { body, end, tally }: { body: () => string; end: number; tally: Tally },
): Promise<void> {
  const lost = (reason: string) => (tally.lost[reason] = (tally.lost[reason] ?? 0) + 1);
  while (performance.now() < end) {
    const started = performance.now();
    try {
      const answer = await ask(url, body());
      if (answer.status === 429) {
        tally.refused++;
        const after = 1000 * Number(answer.headers.get("retry-after"));
        await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, after)));
      } else if (answer.status === 200) {
        tally.images++;
        tally.waits.push(performance.now() - started);
      } else lost(`status ${answer.status}`);
    } catch (error) {
      const { message, cause } = error as Error;
      lost(cause instanceof Error ? cause.message : message);
    }
  }
}

/** Sends a request and reads the whole answer; an image must be a PNG. */
async function ask(url: string, body: string): Promise<Response> {
  const answer = await fetch(`${url}/v1/images/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
    signal: AbortSignal.timeout(answerMs),
  });
  const found = (await answer.json()) as { data?: { b64_json: string }[] };
  if (answer.status === 200 && !found.data?.[0].b64_json.startsWith("iVBORw0KGgo")) throw new Error("no PNG");
  return answer;
}

async function metrics(url: string): Promise<(name: string) => number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
  return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length));
}

async function sampleEvery(
  url: string,
  { started, end, samples }: { started: number; end: number; samples: Sample[] },
): Promise<void> {
  const every = Math.max(1000, (end - started) / samplesMost);
  while (performance.now() < end) {
    const read = await metrics(url);
    samples.push({
      second: Math.round((performance.now() - started) / 1000),
      resident: read("process_resident_memory_bytes"),
      images: read("fractalgen_images_total"),
      waiting: read('fractalgen_queue_images{state="waiting"}'),
    });
    await new Promise((resolve) => setTimeout(resolve, Math.min(every, Math.max(0, end - performance.now()))));
  }
}

/** Starts `fractalgen serve` in a separate process, on loopback and a free port. */
async function startServer({
  model,
  queue,
}: Pick<ServeBench, "model" | "queue">): Promise<{ url: string; stop: () => Promise<void> }> {
  const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
  const args = ["--import", "tsx", main, "serve", "--model", model, "--port", "0", "--queue", String(queue)];
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(server, "exit");
  for await (const line of createInterface(server.stdout)) {
    const url = / at (http:\S+)$/.exec(line)?.[1];
    if (!url) continue;
    const stop = async () => {
      server.kill("SIGTERM");
      await gone;
    };
    return { url, stop };
  }
  throw new Error("the server ended before it was listening; its output is above");
}

interface Result extends Record<"clients" | "seconds" | "images" | "imagesPerSecond" | "imagesPerBatch", number> {
  refused: number;
  lost: number;
  reasons: Record<string, number>;
  waitMs: { median: number; most: number };
  eventLoopDelayMs: { median: number; p99: number; most: number };
  samples: Sample[];
}

function print({ clients, seconds, waitMs: wait, eventLoopDelayMs: delay, samples, ...result }: Result): void {
  const rows: [string, string][] = [
    ["clients", String(clients)],
    ["seconds", seconds.toFixed(1)],
    [
      "images",
      `${result.images}, ${result.imagesPerSecond.toFixed(1)} per second, ${result.imagesPerBatch.toFixed(1)} per batch`,
    ],
    ["answered 429", String(result.refused)],
    ["lost", `${result.lost}${result.lost > 0 ? ` (${JSON.stringify(result.reasons)})` : ""}`],
    ["wait for an image", `${wait.median.toFixed(0)} ms median, ${wait.most.toFixed(0)} ms at most`],
    [
      "event-loop delay",
      `${delay.median.toFixed(1)} ms median, ${delay.p99.toFixed(1)} ms 99th percentile, ${delay.most.toFixed(1)} ms at most`,
    ],
  ];
  for (const [name, value] of rows) console.log(`${name.padEnd(18)} ${value}`);
  console.log("\n second   memory   images  waiting");
  for (const { second, resident, images, waiting } of samples)
    console.log(
      `${String(second).padStart(7)} ${byteCount(resident).padStart(8)} ${String(images).padStart(8)} ${String(waiting).padStart(8)}`,
    );
}
