/** Streams of events (text/event-stream), and a job's, which can be taken up again where it broke. */

import type { Context } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import type { Job } from "./jobs.ts";

/** Proxies close what is silent for longer. */
export const heartbeatMs = 15_000;
/** A comment, which readers of events pass over. */
export const stillHere = ": still here\n\n";

/** An answer of events, each sent on as it is written: proxies such as nginx would gather them. */
export function eventsOf(c: Context, write: (stream: SSEStreamingApi) => Promise<void>): Response {
  c.header("X-Accel-Buffering", "no");
  return streamSSE(c, write);
}

/**
 * All events after the one that the client has seen (`Last-Event-ID`), each as soon as it comes; ends after the last one.
 * A client that reads slowly gets the newest of those that it missed. 204, on which EventSource stops asking, where
 * there will be no more.
 */
export function eventStream(c: Context, job: Job, { heartbeat = heartbeatMs } = {}): Response {
  const seen = Number(c.req.header("last-event-id") ?? 0);
  let last = Number.isSafeInteger(seen) ? seen : 0;
  if (job.over() && job.after(last).length === 0) return c.body(null, 204);
  const gone = new AbortController();
  return eventsOf(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    while (!stream.aborted) {
      for (const { id, type, data } of job.after(last)) {
        last = id;
        await stream.writeSSE({ id: String(id), event: type, data: JSON.stringify(data) });
      }
      if (job.after(last).length > 0) continue;
      if (job.over()) return;
      const changed = await job.changed({ ms: heartbeat, signal: gone.signal });
      if (!changed) await stream.write(stillHere);
    }
  });
}
