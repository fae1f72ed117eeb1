/** Fetches files with their progress. Knows nothing of what is in them. */

import { joined } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";

/** How much of several files has come, as one share. */
export interface Progress {
  /** A part of the whole that has `total` bytes; call the result with the bytes that have come. */
  part(total: number): (bytes: number) => void;
}

export function sharedProgress(onShare: (share: number) => void): Progress {
  const parts: { total: number; bytes: number }[] = [];
  return {
    part(total) {
      const part = { total, bytes: 0 };
      parts.push(part);
      return (bytes) => {
        part.bytes = bytes;
        const [all, come] = [parts.map((one) => one.total), parts.map((one) => Math.min(one.total, one.bytes))].map(
          (each) => each.reduce((a, b) => a + b, 0),
        );
        if (all > 0) onShare(come / all);
      };
    },
  };
}

/** The answer for one of the page's files; UserError where there is none. `what` names it in a sentence. */
export async function fetched(url: string, what: string): Promise<Response> {
  const response = await fetch(url).catch(() => undefined);
  if (!response) throw new UserError(`${what} could not be fetched; check the connection and reload the page`);
  if (!response.ok)
    throw new UserError(`${what} could not be fetched: the server answered ${response.status}; reload the page`);
  return response;
}

/** The whole file. `bytes` is its size where that is known: the length that a server gives may be that of its compressed form. */
export async function fetchBytes(
  url: string,
  { what, progress, bytes }: { what: string; progress: Progress; bytes?: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const report = bytes === undefined ? undefined : progress.part(bytes);
  const response = await fetched(url, what);
  const come = report ?? progress.part(Number(response.headers.get("content-length")));
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = response.body!.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      parts.push(next.value);
      length += next.value.length;
      come(length);
    }
  } catch {
    throw new UserError(`${what} stopped coming after ${length} bytes; check the connection and reload the page`);
  }
  return joined(parts);
}
