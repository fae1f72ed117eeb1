/** Request bodies as chunks: decompressed, limited individually and in total, dropped when they stall. Independent of routes. */

import { ApiError } from "./errors.ts";

export interface BodyLimits {
  /** Total bytes of all bodies being read. */
  bodies: number;
  /** Timeouts in milliseconds: without a byte, for a whole body, and waiting for space that other bodies occupy. */
  silenceMs: number;
  bodyMs: number;
  roomMs: number;
}

export interface Bodies {
  /**
   * Passes a body of at most `most` bytes to `use`, chunk by chunk. Its bytes count until `use` is finished. Throws 413 for
   * more bytes (immediately if the length is declared), 415 for an encoding other than gzip, 408 for a body that stalls,
   * and 503 if there is no space.
   */
  read<T>(request: Request, most: number, use: (chunks: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T>;
  /** Bytes still available for bodies. */
  free(): number;
}

/** A refused body is not read to its end, so its connection cannot be reused. */
const refused = (status: number, message: string, details = {}) => new ApiError(status, message, details);

export function bodyReader({ bodies, silenceMs, bodyMs, roomMs }: BodyLimits): Bodies {
  const room = sharedRoom(bodies);
  return {
    free: room.free,
    async read(request, most, use) {
      const gzipped = isGzipped(request);
      const declared = Number(request.headers.get("content-length") ?? Number.NaN);
      const tooLarge = () => refused(413, `the body is too large: this route accepts at most ${most} bytes`);
      if (declared > most) throw tooLarge();
      const bytes = Math.min(bodies, gzipped || Number.isNaN(declared) ? most : declared);
      const release = await room.take(bytes, { ms: roomMs, signal: request.signal });
      try {
        return await use(bounded(chunksOf(request, { gzipped, silenceMs, bodyMs }), most, tooLarge));
      } finally {
        release();
      }
    },
  };
}

function isGzipped({ headers }: Request): boolean {
  const encoding = (headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding === "identity" || encoding === "") return false;
  if (encoding === "gzip" || encoding === "x-gzip") return true;
  throw refused(415, `Content-Encoding: expected gzip or none, got ${JSON.stringify(encoding.slice(0, 40))}`, {
    headers: { "Accept-Encoding": "gzip" },
  });
}

async function* bounded(chunks: AsyncIterable<Uint8Array>, most: number, tooLarge: () => ApiError) {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > most) throw tooLarge();
    yield chunk;
  }
}

interface Reading extends Pick<BodyLimits, "silenceMs" | "bodyMs"> {
  gzipped: boolean;
}

/** Abandons the stream but never cancels it: cancelling would close the connection before the response is written. */
async function* chunksOf(request: Request, { gzipped, silenceMs, bodyMs }: Reading): AsyncGenerator<Uint8Array> {
  const { body } = request;
  if (!body) return;
  const plain = gzipped ? body.pipeThrough(new DecompressionStream("gzip"), { preventCancel: true }) : body;
  const reader = (plain as ReadableStream<Uint8Array>).getReader();
  const end = performance.now() + bodyMs;
  for (;;) {
    const left = Math.min(silenceMs, end - performance.now());
    const next = await within(reader.read(), left).catch((error: unknown) => {
      if (error instanceof ApiError) throw error;
      if (gzipped && !request.signal.aborted)
        throw new ApiError(400, "the body is not valid gzip, which its Content-Encoding declares, or it is truncated");
      throw refused(400, "the body ended before its declared length");
    });
    if (next.done) return;
    yield next.value;
    // Yield to other work between chunks, even when they are already in memory.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(refused(408, "the body arrived too slowly; send it again")), Math.max(0, ms));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Waiting {
  bytes: number;
  enter(): void;
}

/** A shared budget. Requests that fit enter in order of arrival, so small bodies overtake large ones that wait. */
function sharedRoom(size: number) {
  let free = size;
  let waiting: Waiting[] = [];
  const leave = (bytes: number) => {
    free += bytes;
    for (const one of waiting) if (one.bytes <= free) one.enter();
  };
  const release = (bytes: number) => {
    let held = true;
    return () => {
      if (held) leave(bytes);
      held = false;
    };
  };
  return {
    free: () => free,
    take(bytes: number, { ms, signal }: { ms: number; signal: AbortSignal }): Promise<() => void> {
      if (bytes <= free) {
        free -= bytes;
        return Promise.resolve(release(bytes));
      }
      return new Promise((resolve, reject) => {
        const end = (settle: () => void) => {
          waiting = waiting.filter((other) => other !== one);
          clearTimeout(timer);
          signal.removeEventListener("abort", full);
          settle();
        };
        const full = () =>
          end(() =>
            reject(refused(503, "other requests use all the memory for bodies; try again in 5 s", { retryAfter: 5 })),
          );
        const one: Waiting = {
          bytes,
          enter() {
            free -= bytes;
            end(() => resolve(release(bytes)));
          },
        };
        const timer = setTimeout(full, ms);
        signal.addEventListener("abort", full);
        waiting.push(one);
      });
    },
  };
}

/** Joins all chunks into one array, for bodies with a small limit. */
export async function joinedChunks(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
