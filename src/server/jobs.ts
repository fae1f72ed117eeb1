/** Jobs: requests that run in the background, with an event log. Finished jobs are kept for a while. Independent of HTTP. */

import { randomUUID } from "node:crypto";
import { base64Images } from "./answers.ts";
import { apiError, cancelled, errorBody } from "./errors.ts";
import type { DrawingProgress, DrawingQueue } from "./queue.ts";
import type { Asked } from "./requests.ts";
import type { ImagesAnswer, JobAnswer } from "./schemas.ts";

/** Numbered from 1. Only the latest progress and preview events are kept, because each supersedes the ones before it. */
export interface JobEvent {
  id: number;
  type: "progress" | "preview" | "done" | "error";
  data: unknown;
}

export interface BackgroundJob {
  id: string;
  answer(): JobAnswer;
  /** Returns the events after event `id` that are still kept. */
  after(id: number): JobEvent[];
  over(): boolean;
  /** Resolves to true at the next event, or to false after `ms` milliseconds or when aborted. */
  changed(options: { ms: number; signal: AbortSignal }): Promise<boolean>;
  cancel(): void;
}

export interface JobStore {
  /** Throws immediately if the queue is full. */
  start(asked: Asked): BackgroundJob;
  find(id: string): BackgroundJob | undefined;
  /** The number of jobs by status. */
  counts(): Record<JobAnswer["status"], number>;
}

interface JobStoreOptions {
  queue: DrawingQueue;
  finish: (asked: Asked, images: Uint8Array) => Promise<ImagesAnswer>;
  /** How many finished jobs are kept, and for how many milliseconds. */
  most: number;
  mostMs: number;
}

/** Total size of the finished jobs kept, because images can be large. */
const keptBytes = 128e6;
const progressMs = 100;
/** Previews are encoded only while a client is following the events. */
const previewMs = 500;

interface Kept {
  job: BackgroundJob;
  until: number;
  bytes: number;
}

export function jobStore({ queue, finish, most, mostMs }: JobStoreOptions): JobStore {
  const jobs = new Map<string, BackgroundJob>();
  let finished: Kept[] = []; // in the order in which they ended

  function keep(job: BackgroundJob, bytes: number): void {
    finished.push({ job, until: Date.now() + mostMs, bytes });
    forget();
    setTimeout(forget, mostMs + 1).unref();
  }

  function forget(): void {
    let bytes = finished.reduce((sum, one) => sum + one.bytes, 0);
    const kept = finished.filter((one, i) => {
      const fits = finished.length - i <= most && bytes <= keptBytes && one.until > Date.now();
      bytes -= one.bytes;
      if (!fits) jobs.delete(one.job.id);
      return fits;
    });
    finished = kept;
  }

  return {
    start(asked) {
      const job = startJob(asked, { queue, finish, onEnd: (bytes) => keep(job, bytes) });
      jobs.set(job.id, job);
      return job;
    },
    find: (id) => jobs.get(id),
    counts() {
      const counts = { queued: 0, running: 0, done: 0, failed: 0, cancelled: 0 };
      for (const job of jobs.values()) counts[job.answer().status]++;
      return counts;
    },
  };
}

interface JobRun extends Pick<JobStoreOptions, "queue" | "finish"> {
  onEnd: (bytes: number) => void;
}

function startJob(asked: Asked, { queue, finish, onEnd }: JobRun): BackgroundJob {
  const { order } = asked; // do not capture it in the job: it holds an edit's pictures
  const { model, labels } = order;
  const controller = new AbortController();
  const listeners = new Set<() => void>();
  let events: JobEvent[] = [];
  let last = 0;
  let told = { progress: 0, preview: 0 };
  const state: JobAnswer = {
    id: randomUUID(),
    object: "job",
    kind: order.known ? "edit" : "generation",
    status: "queued",
    created: Math.floor(Date.now() / 1000),
    model: model.name,
    n: labels.length,
    progress: 0,
  };
  const over = () => !["queued", "running"].includes(state.status);

  function tell(type: JobEvent["type"], data: unknown): void {
    events = [...events.filter((event) => event.type !== type), { id: ++last, type, data }];
    for (const wake of listeners) wake();
  }

  function onProgress({ done, images }: DrawingProgress): void {
    if (over()) return;
    state.status = "running";
    state.progress = done;
    const now = performance.now();
    if (now - told.progress >= progressMs) {
      told.progress = now;
      tell("progress", { progress: done });
    }
    if (listeners.size > 0 && now - told.preview >= previewMs) {
      told.preview = now;
      base64Images(images().slice(), { model, labels })
        .then((pngs) => over() || tell("preview", { images: pngs }))
        .catch(() => {}); // encoding the final images reports the same error
    }
  }

  function end(bytes: number): void {
    // The final images supersede the previews.
    events = events.filter(({ type }) => type !== "preview");
    onEnd(bytes);
  }

  function fail(cause: unknown): void {
    if (over()) return;
    const failed = apiError(cause);
    state.status = failed.details.code === "cancelled" ? "cancelled" : "failed";
    state.error = errorBody(failed).error;
    tell("error", { error: state.error });
    end(0);
  }

  async function run(asked: Asked, drawn: Promise<Uint8Array>): Promise<void> {
    try {
      const result = await finish(asked, await drawn);
      if (over()) return;
      Object.assign(state, { status: "done", progress: 1, result });
      tell("done", { ...state });
      end(result.data.reduce((sum, { b64_json = "", url = "" }) => sum + b64_json.length + url.length, 0));
    } catch (error) {
      fail(error);
    }
  }

  // If the queue is full, this throws before the job exists.
  void run(asked, queue.draw(order, { signal: controller.signal, onProgress }));

  return {
    id: state.id,
    answer: () => ({ ...state }),
    after: (id) => events.filter((event) => event.id > id),
    over,
    changed: ({ ms, signal }) =>
      new Promise((resolve) => {
        const settle = (changed: boolean) => {
          listeners.delete(wake);
          clearTimeout(timer);
          signal.removeEventListener("abort", gone);
          resolve(changed);
        };
        const wake = () => settle(true);
        const gone = () => settle(false);
        const timer = setTimeout(gone, ms);
        listeners.add(wake);
        signal.addEventListener("abort", gone);
        if (signal.aborted) gone();
      }),
    cancel() {
      if (over()) return;
      fail(cancelled());
      controller.abort();
    },
  };
}
