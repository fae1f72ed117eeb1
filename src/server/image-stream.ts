/** Streams images in OpenAI's format (`stream: true`): partial images first, then each finished image. */

import type { Context } from "hono";
import { aboutImages, base64Images } from "./answers.ts";
import { apiError, errorBody } from "./errors.ts";
import { eventsOf, heartbeatMs, stillHere } from "./events.ts";
import type { DrawingProgress, DrawingQueue } from "./queue.ts";
import type { Asked } from "./requests.ts";
import type { ImagesAnswer } from "./schemas.ts";

interface StreamOptions {
  queue: DrawingQueue;
  finish: (asked: Asked, images: Uint8Array) => Promise<ImagesAnswer>;
  /** Milliseconds without an event after which the stream sends a heartbeat comment. */
  heartbeat?: number;
}

/** Throws immediately if the queue is full. If the client disconnects, its images leave the queue. */
export function imageStream(
  c: Context,
  asked: Asked,
  { queue, finish, heartbeat = heartbeatMs }: StreamOptions,
): Response {
  const { order, partial, look } = asked;
  const gone = new AbortController();
  const kind = order.known ? "image_edit" : "image_generation";
  let write: (type: string, data: object) => void = () => {};
  let told = 0;
  let shown: Promise<void> = Promise.resolve();
  const onProgress = ({ done, images }: DrawingProgress) => {
    // The requested number of partial images, evenly spaced.
    if (told >= partial || done < (told + 1) / (partial + 1) || done === 1) return;
    const partial_image_index = told++;
    const encoded = base64Images(images().slice(), order, { look });
    shown = Promise.all([encoded, shown]).then(([all]) =>
      all.forEach((b64_json, index) => write("partial_image", { b64_json, partial_image_index, index })),
    );
    shown.catch(() => {}); // awaited below
  };
  const drawn = queue.draw(order, { signal: gone.signal, onProgress });
  return eventsOf(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    let written = Promise.resolve();
    const send = (event: string, data: object) => {
      beating.refresh();
      written = written.then(() => stream.writeSSE({ event, data: JSON.stringify(data) }));
    };
    const beating = setInterval(() => {
      written = written.then(async () => void (await stream.write(stillHere)));
    }, heartbeat);
    const about = { ...aboutImages(order, look), background: "auto", quality: "auto" };
    write = (name, data) => {
      const type = `${kind}.${name}`;
      send(type, { type, created_at: Math.floor(Date.now() / 1000), ...about, ...data });
    };
    try {
      const { data } = await finish({ ...asked, asUrl: false }, await drawn); // events have no url field
      await shown;
      for (const image of data) write("completed", image);
    } catch (error) {
      send("error", errorBody(apiError(error)));
    } finally {
      clearInterval(beating);
    }
    write = () => {};
    await written;
  });
}
