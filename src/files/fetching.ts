/** Fetches files with progress. Independent of their content. */

import { joined } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";

/** The combined progress of several downloads. */
export interface SharedProgress {
  /** Adds a download of `total` bytes. Call the result with the number of bytes received so far. */
  part(total: number): (bytes: number) => void;
}

export function sharedProgress(onShare: (share: number) => void): SharedProgress {
  const parts: { total: number; bytes: number }[] = [];
  return {
    part(total) {
      const part = { total, bytes: 0 };
      parts.push(part);
      return (bytes) => {
        part.bytes = bytes;
        const [all, received] = [parts.map((one) => one.total), parts.map((one) => Math.min(one.total, one.bytes))].map(
          (each) => each.reduce((a, b) => a + b, 0),
        );
        if (all > 0) onShare(received / all);
      };
    },
  };
}

/** Milliseconds without data after which a download fails. */
const silence = 60_000;

/** Rejects if nothing comes for too long. */
async function heard<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${silence / 1000} s`)), silence);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const reconnect = "check the connection and reload the page";

/** Fetches a file. Throws a `UserError`, in which `what` names the file, if that fails. */
export async function fetched(url: string, what: string): Promise<Response> {
  const problem = `${what} could not be fetched`;
  const response = await heard(fetch(url)).catch(() => undefined);
  if (!response) throw new UserError({ problem, hint: reconnect });
  const hint = "reload the page";
  if (!response.ok) throw new UserError({ problem: `${problem}: the server answered ${response.status}`, hint });
  // Some hosts, and networks that want a login, answer with a page of their own.
  if (response.headers.get("content-type")?.startsWith("text/html"))
    throw new UserError({ problem: `${problem}: the server answered with a web page`, hint });
  return response;
}

/** Fetches a whole file. `bytes` is its size if known, because a server may report the length of the compressed file. */
export async function fetchBytes(
  url: string,
  { what, progress, bytes }: { what: string; progress: SharedProgress; bytes?: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const report = bytes === undefined ? undefined : progress.part(bytes);
  const response = await fetched(url, what);
  const onReceived = report ?? progress.part(Number(response.headers.get("content-length")));
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = response.body!.getReader();
    for (let next = await heard(reader.read()); !next.done; next = await heard(reader.read())) {
      parts.push(next.value);
      length += next.value.length;
      onReceived(length);
    }
  } catch {
    throw new UserError({ problem: `the download of ${what} stopped after ${length} bytes`, hint: reconnect });
  }
  return joined(parts);
}
