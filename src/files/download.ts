/** Files from the web, as a stream of what happens: gone on with after a break, checked, and only then put in place.
 *  Knows nothing of models, presets or the command line.
 *
 *  A server is believed in nothing: bytes go on where the last ones ended only where validators, the total and the last
 *  64 KiB agree; the size has to be right, the first bytes those of the kind of file expected, and the whole has to pass
 *  the kind's own check and the SHA-256, where one is known. */

import { rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { recordedSha256, recordOf, recordSha256, sha256Of } from "./checksum.ts";
import type { Owner } from "./ownership.ts";
import { claimPartial, type PartialFile } from "./partial.ts";
import { type Answer, Interrupted, requestFrom } from "./ranged.ts";

export interface FileKind {
  /** As in "expected ...": "a PyTorch checkpoint". */
  name: string;
  /** Whether the first bytes are those of the kind. */
  begins: (head: Buffer) => boolean;
  /** A last look at the complete file; throws a UserError where it is none of the kind, or cut short. */
  check?: (path: string) => Promise<void>;
}

export interface DownloadOptions {
  kind?: FileKind;
  /** In hexadecimal digits, where it is known. */
  sha256?: string;
  /** Download again even where the file is there. */
  force?: boolean;
  /** Ask no server: give what is there, or say what is missing. */
  offline?: boolean;
  /** Sent with every request; `authorization` goes to the first host only, not where that leads on to. */
  headers?: Record<string, string>;
  /** What is downloaded, in the words of whoever asked for it (default: the address). */
  subject?: string;
  /** What to do where the server refuses. */
  hint?: string;
  /** How many times in a row nothing new may come. */
  attempts?: number;
  /** How long a server may be silent. */
  stallMs?: number;
  /** Before the second attempt; twice as long before each further one that gained nothing. */
  backoffMs?: number;
  signal?: AbortSignal;
}

export type DownloadRecord =
  /** Another process downloads the same file; what it gets is used. */
  | { kind: "waiting"; owner: Owner }
  /** `have` bytes are there already. */
  | { kind: "begin"; have: number; total?: number }
  | { kind: "bytes"; done: number; total?: number }
  | { kind: "retry"; reason: string; seconds: number }
  | { kind: "checking"; done: number; total: number }
  /** What was there was damaged and is gone; it is downloaded again. */
  | { kind: "damaged"; reason: string };

export interface Downloaded {
  path: string;
  bytes: number;
  sha256: string;
  /** It was there before. */
  cached: boolean;
}

/** Compared with what the server sends when a download goes on. */
const overlapBytes = 1 << 16;
/** Enough to recognise a web page. */
const headBytes = 512;
const longestBackoffMs = 60_000;
const pollMs = 500;

/**
 * Downloads `url` to `path`, whose checksum is recorded in `path.sha256`; a file that is there and agrees with its record
 * is not downloaded again. Bytes are kept in `path.partial` until the file is complete, so that after an error, an abort
 * or a kill the same call goes on. Calls for the same path in several processes are safe.
 */
export async function* download(
  url: string,
  path: string,
  options: DownloadOptions = {},
): AsyncGenerator<DownloadRecord, Downloaded> {
  const { subject = url, signal } = options;
  for (;;) {
    signal?.throwIfAborted();
    const kept = options.force ? undefined : yield* cached(path, options);
    if (kept) return kept;
    if (options.offline)
      throw new UserError(
        `${subject} is not in the cache (${path}) and downloading is switched off; run the command once while online, or put the file there`,
      );
    const partial = await claimPartial(path, { signal });
    if ("owner" in partial) {
      yield { kind: "waiting", owner: partial.owner };
      // Not all at the same time, or those that make way for each other do so again and again.
      await sleep(pollMs * (0.5 + Math.random()), undefined, { signal });
      continue;
    }
    try {
      // Another process may have finished between the look and the claim.
      const arrived = options.force ? undefined : yield* cached(path, options);
      if (arrived) return arrived;
      yield* fill(partial, url, options);
      return yield* settle(partial, path, options);
    } finally {
      await partial.release();
    }
  }
}

/** The file that is there, if it is what it was when it was recorded. */
async function* cached(path: string, options: DownloadOptions): AsyncGenerator<DownloadRecord, Downloaded | undefined> {
  const bytes = await sizeOf(path);
  if (bytes === undefined) return undefined;
  const sha256 = yield* checksumOf(path, options);
  const recorded = await recordedSha256(path);
  const expected = options.sha256?.toLowerCase() ?? recorded;
  if (recorded === sha256 && expected !== sha256)
    throw new UserError({
      problem: `${path} is as it was downloaded, but its SHA-256 is ${sha256}, expected ${expected}`,
      hint: { do: "if that is right, the file has changed at its source: download it again", setting: "force" },
    });
  if (expected === undefined) {
    // Put there by hand.
    await options.kind?.check?.(path);
    await recordSha256(path, sha256);
  } else if (sha256 !== expected) {
    const reason = `${path} is not the file it should be: its SHA-256 is ${sha256}, expected ${expected}`;
    if (options.offline)
      throw new UserError(`${reason}; it has to be downloaded again, and downloading is switched off`);
    await rm(path, { force: true });
    await rm(recordOf(path), { force: true });
    yield { kind: "damaged", reason };
    return undefined;
  } else if (recorded !== sha256) await recordSha256(path, sha256);
  return { path, bytes, sha256, cached: true };
}

/** Attempt after attempt until all bytes are there. */
async function* fill(partial: PartialFile, url: string, options: DownloadOptions): AsyncGenerator<DownloadRecord> {
  const { subject = url, attempts = 6, backoffMs = 1000, signal } = options;
  const size = async () => (partial.state?.url === url ? (await partial.handle.stat()).size : 0);
  let best = await size();
  let failures = 0;
  for (let reached = false; ;) {
    let answer: Answer | undefined;
    try {
      const have = await size();
      const from = Math.max(0, have - overlapBytes);
      answer = await requestFrom(url, { stallMs: 30_000, ...options, from, state: partial.state });
      reached = true;
      return yield* receive(answer, partial, { have, options });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Interrupted)) throw full(error, subject);
      if (error.startOver) await partial.restart();
      const have = await size();
      failures = have > best ? 1 : failures + 1;
      best = Math.max(best, have);
      if (failures >= attempts || (error.unreachable && !reached)) {
        const keeps = have > 0 ? `${byteCount(have)} are kept, and the same command goes on from there` : "try again";
        const times = failures > 1 ? `, ${failures} times in a row` : "";
        throw new UserError(`${subject}: ${error.message}${times}; ${keeps}`, { cause: error });
      }
      const ms = error.waitMs ?? Math.min(longestBackoffMs, backoffMs * 2 ** (failures - 1));
      yield { kind: "retry", reason: error.message, seconds: ms / 1000 };
      await sleep(ms, undefined, { signal });
    } finally {
      answer?.close();
    }
  }
}

/** Writes the body of an answer behind what is there. */
async function* receive(
  { from, state, body }: Answer,
  partial: PartialFile,
  { have, options }: { have: number; options: DownloadOptions },
): AsyncGenerator<DownloadRecord> {
  const { handle } = partial;
  const { total } = state;
  if (from === 0) {
    have = 0;
    await partial.restart(state);
  } else partial.state = state;
  const known = Buffer.alloc(have - from);
  await handle.read(known, 0, known.length, from);
  await checkSpace(partial.data, { missing: (total ?? have) - have, options });
  yield { kind: "begin", have, total };
  let position = from;
  let head = have > 0 ? undefined : Buffer.alloc(0);
  for await (const piece of body) {
    if (total !== undefined && position + piece.length > total)
      throw new Interrupted("the server sent more than the file has", { startOver: true });
    const old = Math.min(piece.length, Math.max(0, have - position));
    const before = known.subarray(position - from, position - from + old);
    if (!before.equals(piece.subarray(0, old)))
      throw new Interrupted("the server sent a part of another file", { startOver: true });
    await writeAt(partial, piece.subarray(old), position + old);
    position += piece.length;
    if (head && head.length < headBytes) {
      head = Buffer.concat([head, piece]).subarray(0, headBytes);
      if (head.length === headBytes) await refuseOthers(head, partial, options);
    }
    if (position > have) yield { kind: "bytes", done: position, total };
  }
  if (position < Math.max(have, total ?? 0)) throw new Interrupted("the server ended before the file did");
  if (head && head.length < headBytes) await refuseOthers(head, partial, options);
}

async function writeAt({ handle }: PartialFile, piece: Uint8Array, position: number): Promise<void> {
  // One call may take fewer bytes than asked, on a nearly full disk.
  for (let at = 0; at < piece.length;)
    at += (await handle.write(piece, at, piece.length - at, position + at)).bytesWritten;
}

/** A login or quota page is sent as if all were well; so are files of other kinds. */
async function refuseOthers(head: Buffer, partial: PartialFile, options: DownloadOptions): Promise<void> {
  const { kind, subject = partial.state?.url } = options;
  const page = /^\s*(<!doctype html|<html|<head|<\?xml|<!--)/i.test(head.toString("latin1").replace(/^ï»¿/, ""));
  if (kind ? kind.begins(head) : !page) return;
  await partial.restart();
  const came = page ? "a web page" : head.length === 0 ? "an empty file" : "something else";
  throw new UserError(
    `${subject}: expected ${kind?.name ?? "a file"}, but the server sent ${came}; ${page ? "open the address in a browser to see what it wants, such as a login" : "check the address"}`,
  );
}

async function checkSpace(
  path: string,
  { missing, options }: { missing: number; options: DownloadOptions },
): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (missing > free)
    throw new UserError(
      `${options.subject ?? "the file"} takes ${byteCount(missing)} more, and ${dirname(dirname(path))} has ${byteCount(free)} free; free some space or choose another place`,
    );
}

/** Checks what has come, records its checksum and puts it in place. */
async function* settle(
  partial: PartialFile,
  path: string,
  options: DownloadOptions,
): AsyncGenerator<DownloadRecord, Downloaded> {
  const { kind, subject = partial.state?.url } = options;
  await partial.handle.sync();
  const bytes = (await partial.handle.stat()).size;
  const sha256 = yield* checksumOf(partial.data, options);
  if (options.sha256 && sha256 !== options.sha256.toLowerCase()) {
    await partial.restart();
    throw new UserError(
      `${subject}: what came is not the file expected: its SHA-256 is ${sha256}, expected ${options.sha256}; nothing is kept, try again or use another source`,
    );
  }
  try {
    await kind?.check?.(partial.data);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    await partial.restart();
    throw new UserError(
      `${subject}: what came is not ${kind!.name}: ${error.message.replaceAll(partial.data, "the file")}`,
      { cause: error },
    );
  }
  // The record comes first: a file without one would later pass unchecked.
  await recordSha256(path, sha256);
  await partial.moveTo(path);
  return { path, bytes, sha256, cached: false };
}

/** The SHA-256 of a file, with records of how far it is. */
export async function* checksumOf(
  path: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<DownloadRecord, string> {
  const total = (await stat(path)).size;
  const hashing = sha256Of(path, { signal });
  for (;;) {
    const next = await hashing.next();
    if (next.done) return next.value;
    yield { kind: "checking", done: next.value, total };
  }
}

/** The size of a file; undefined where there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  const entry = await stat(path).catch(() => undefined);
  if (entry?.isDirectory()) throw new UserError(`${path} is a folder where a file should go; move it away`);
  return entry?.size;
}

/** A disk that fills up on the way; all else as it is. */
function full(error: unknown, subject: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new UserError(
    `${subject}: the disk is full; free some space, and the same command goes on where this one stopped`,
    { cause: error },
  );
}
