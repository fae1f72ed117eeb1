/** Event streams (text/event-stream), including those of jobs, which can be resumed after a lost connection. */

import type { Context } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import type { BackgroundJob } from "./jobs.ts";

/** Proxies may close connections that are silent for longer. */
export const heartbeatMs = 15_000;
/** A comment, which event stream parsers ignore. */
export const stillHere = ": still here\n\n";

/** Returns an event stream response that proxies such as nginx do not buffer. */
export function eventsOf(c: Context, write: (stream: SSEStreamingApi) => Promise<void>): Response {
  c.header("X-Accel-Buffering", "no");
  return streamSSE(c, write);
}

/**
 * Streams all events after the last one that the client has seen (`Last-Event-ID`) as they occur, and ends after the
 * final one. A slow reader gets only the newest of the events it missed. Returns 204, which makes EventSource stop
 * reconnecting, if no more events will follow.
 */
export function eventStream(c: Context, job: BackgroundJob, { heartbeat = heartbeatMs } = {}): Response {
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
