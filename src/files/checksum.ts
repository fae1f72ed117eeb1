/** SHA-256 of files, recorded next to each file in the format that `sha256sum --check` reads. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { writeFileAtomic } from "./atomic.ts";

/** Yields the number of bytes read so far; returns 64 hexadecimal digits. */
export async function* sha256Of(
  path: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<number, string> {
  const hash = createHash("sha256");
  let done = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    hash.update(piece as Buffer);
    done += (piece as Buffer).length;
    yield done;
  }
  return hash.digest("hex");
}

/** Where the checksum of a file is recorded. */
export const recordOf = (path: string): string => `${path}.sha256`;

/** The recorded checksum of a file; undefined if there is no readable record. */
export async function recordedSha256(path: string): Promise<string | undefined> {
  const text = await readFile(recordOf(path), "latin1").catch(() => "");
  return /^([0-9a-f]{64})(\s|$)/i.exec(text)?.[1].toLowerCase();
}

/** Records a file's checksum atomically. */
export const recordSha256 = (path: string, sha256: string): Promise<void> =>
  writeFileAtomic(recordOf(path), `${sha256}  ${basename(path)}\n`);

/** `sha256Of` without progress. */
export async function checksum(path: string, options: { signal?: AbortSignal } = {}): Promise<string> {
  const hashing = sha256Of(path, options);
  for (;;) {
    const { done, value } = await hashing.next();
    if (done) return value;
  }
}
