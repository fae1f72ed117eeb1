/** Server metrics in Prometheus text format. Independent of routes. */

import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { QueueState } from "./queue.ts";

export interface Metrics {
  request(labels: { method: string; route: string; status: number }, seconds: number): void;
  text(state: { queue: QueueState; jobs: Record<string, number>; models: readonly string[] }): string;
  dispose(): void;
}

const bounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
/** Sampling interval of the event loop. The delay is the time beyond it. */
const resolutionMs = 10;

interface Durations {
  counts: number[];
  sum: number;
  count: number;
}

type Sample = [labels: Record<string, string | number>, value: number];

export function serverMetrics({ version }: { version: string }): Metrics {
  const started = Date.now() / 1000;
  const requests = new Map<string, number>();
  const durations = new Map<string, Durations>();
  const loop = monitorEventLoopDelay({ resolution: resolutionMs });
  loop.enable();
  return {
    request({ method, route, status }, seconds) {
      const key = JSON.stringify({ method, route, status });
      requests.set(key, (requests.get(key) ?? 0) + 1);
      const own = durations.get(route) ?? { counts: bounds.map(() => 0), sum: 0, count: 0 };
      durations.set(route, own);
      bounds.forEach((bound, i) => (own.counts[i] += Number(seconds <= bound)));
      own.sum += seconds;
      own.count++;
    },
    text: ({ queue, jobs, models }) =>
      [
        metric("fractalgen_info", "gauge", "Version and names of the models.", [
          [{ version, models: models.join(" ") }, 1],
        ]),
        metric(
          "fractalgen_http_requests_total",
          "counter",
          "Answered requests.",
          [...requests].map(([key, count]) => [JSON.parse(key), count]),
        ),
        histogram("fractalgen_http_request_seconds", "Time from a request to the start of its response.", durations),
        metric("fractalgen_queue_requests", "gauge", "Unfinished requests and jobs.", [[{}, queue.requests]]),
        metric("fractalgen_queue_images", "gauge", "Images waiting and images being drawn.", [
          [{ state: "waiting" }, queue.waiting],
          [{ state: "running" }, queue.running],
        ]),
        metric("fractalgen_images_total", "counter", "Images drawn.", [[{}, queue.images]]),
        metric("fractalgen_batches_total", "counter", "Batches drawn.", [[{}, queue.batches]]),
        metric(
          "fractalgen_jobs",
          "gauge",
          "Jobs by status.",
          Object.entries(jobs).map(([status, count]) => [{ status }, count]),
        ),
        delays(loop),
        metric("process_resident_memory_bytes", "gauge", "Resident memory of the process.", [
          [{}, process.memoryUsage.rss()],
        ]),
        metric("process_start_time_seconds", "gauge", "Start time of the process, in seconds since 1970.", [
          [{}, started],
        ]),
      ].join(""),
    dispose: () => loop.disable(),
  };
}

function delays(loop: IntervalHistogram): string {
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1e3);
  const name = "fractalgen_event_loop_delay_seconds";
  const { count } = loop;
  const known = count === 0 ? [] : [0.5, 0.9, 0.99, 1]; // no measurements right after the start
  const lines = [
    ...known.map((quantile) => line(name, [{ quantile }, late(loop.percentile(100 * quantile))])),
    line(`${name}_sum`, [{}, count === 0 ? 0 : late(loop.mean) * count]),
    line(`${name}_count`, [{}, count]),
  ];
  return `# HELP ${name} Event loop delay since the start.\n# TYPE ${name} summary\n${lines.join("")}`;
}

function metric(name: string, type: string, help: string, samples: readonly Sample[]): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.map((sample) => line(name, sample)).join("")}`;
}

function histogram(name: string, help: string, all: ReadonlyMap<string, Durations>): string {
  const lines = [...all].flatMap(([route, { counts, sum, count }]) => [
    ...bounds.map((le, i) => line(`${name}_bucket`, [{ route, le }, counts[i]])),
    line(`${name}_bucket`, [{ route, le: "+Inf" }, count]),
    line(`${name}_sum`, [{ route }, sum]),
    line(`${name}_count`, [{ route }, count]),
  ]);
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${lines.join("")}`;
}

const escaped = (value: string | number): string =>
  String(value)
    .replaceAll("\\", String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll("\n", String.raw`\n`);

function line(name: string, [labels, value]: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
}
