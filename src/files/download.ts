/** Downloads files as a stream of progress records: resumed after an interruption, verified, and only then moved into
 *  place. Knows nothing of models, presets or the command line.
 *
 *  Nothing the server sends is trusted. A download resumes only if the validators, the total size and the last 64 KiB
 *  agree. The size must be right, the first bytes must match the expected kind of file, and the complete file must pass
 *  the kind's own check and match the SHA-256, if one is known. */

import { rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { recordedSha256, recordOf, recordSha256, sha256Of } from "./checksum.ts";
import type { Owner } from "./ownership.ts";
import { claimPartial, type PartialFile } from "./partial.ts";
import { Interrupted, type RangeAnswer, requestFrom } from "./ranged.ts";

export interface FileKind {
  /** With its article, as it follows "expected": "a PyTorch checkpoint". */
  name: string;
  /** Whether a file of this kind can begin with these bytes. */
  begins: (head: Buffer) => boolean;
  /** Final check of the complete file; throws a UserError about it if it is another kind of file or is truncated. */
  check?: (path: string) => Promise<void>;
}

export interface DownloadOptions {
  kind?: FileKind;
  /** In hexadecimal digits, if known. */
  sha256?: string;
  /** Download again even if the file exists. */
  force?: boolean;
  /** Contact no server: use the cached file, or throw a UserError if there is none. */
  offline?: boolean;
  /** Sent with every request; `authorization` goes only to the first host, never to the target of a redirect. */
  headers?: Record<string, string>;
  /** How messages name the download (default: its address). */
  subject?: string;
  /** What the user can do if the server refuses. */
  hint?: string;
  /** Give up after this many consecutive attempts without progress. */
  attempts?: number;
  /** How long the server may send nothing. */
  stallMs?: number;
  /** Delay before the second attempt; doubled after each further attempt without progress. */
  backoffMs?: number;
  signal?: AbortSignal;
}

export type DownloadRecord =
  /** Another process is downloading the same file; its result will be used. */
  | { kind: "waiting"; owner: Owner }
  /** `have` bytes were downloaded earlier. */
  | { kind: "begin"; have: number; total?: number }
  | { kind: "bytes"; done: number; total?: number }
  | { kind: "retry"; reason: string; seconds: number }
  | { kind: "checking"; done: number; total: number }
  /** The cached file was damaged and has been deleted; it is downloaded again. */
  | { kind: "damaged"; reason: string };

export interface Downloaded {
  path: string;
  bytes: number;
  sha256: string;
  /** Whether the file was already there. */
  cached: boolean;
}

/** Bytes requested again when a download resumes, to compare them with those already stored. */
const overlapBytes = 1 << 16;
/** Enough to recognise a web page. */
const headBytes = 512;
const longestBackoffMs = 60_000;
const pollMs = 500;

/**
 * Downloads `url` to `path` and records its checksum in `path.sha256`. An existing file that matches its record is not
 * downloaded again. Bytes are kept in `path.partial` until the file is complete, so the same call resumes after an
 * error, an abort or a kill. Several processes may safely download to the same path.
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
      throw new UserError({
        problem: `${subject} is not in the cache (${path}) and downloading is switched off`,
        hint: "run the command once while online, or put the file there yourself",
      });
    const partial = await claimPartial(path, { signal });
    if ("owner" in partial) {
      yield { kind: "waiting", owner: partial.owner };
      // Jittered, so that waiting processes do not keep colliding with each other.
      await sleep(pollMs * (0.5 + Math.random()), undefined, { signal });
      continue;
    }
    try {
      // Another process may have finished between the check and the claim.
      const arrived = options.force ? undefined : yield* cached(path, options);
      if (arrived) return arrived;
      yield* fill(partial, url, options);
      return yield* settle(partial, path, options);
    } finally {
      await partial.release();
    }
  }
}

/** The existing file, if it still matches its recorded checksum. */
async function* cached(path: string, options: DownloadOptions): AsyncGenerator<DownloadRecord, Downloaded | undefined> {
  const bytes = await sizeOf(path);
  if (bytes === undefined) return undefined;
  const sha256 = yield* checksumOf(path, options);
  const recorded = await recordedSha256(path);
  const expected = options.sha256?.toLowerCase() ?? recorded;
  if (recorded === sha256 && expected !== sha256)
    throw new UserError({
      problem: `${path} is unchanged since it was downloaded, but its SHA-256 is ${sha256}, expected ${expected}`,
      hint: {
        do: "if the expected value is right, the file has changed at its source: download it again",
        setting: "force",
      },
    });
  if (expected === undefined) {
    // The user put it there.
    await options.kind?.check?.(path);
    await recordSha256(path, sha256);
  } else if (sha256 !== expected) {
    const reason = `${path} is damaged: its SHA-256 is ${sha256}, expected ${expected}`;
    if (options.offline)
      throw new UserError({
        problem: reason,
        hint: "downloading is switched off, so run the command once while online to replace it",
      });
    await rm(path, { force: true });
    await rm(recordOf(path), { force: true });
    yield { kind: "damaged", reason };
    return undefined;
  } else if (recorded !== sha256) await recordSha256(path, sha256);
  return { path, bytes, sha256, cached: true };
}

/** Retries until all bytes have arrived. */
async function* fill(partial: PartialFile, url: string, options: DownloadOptions): AsyncGenerator<DownloadRecord> {
  const { subject = url, attempts = 6, backoffMs = 1000, signal } = options;
  const size = async () => (partial.state?.url === url ? (await partial.handle.stat()).size : 0);
  let best = await size();
  let failures = 0;
  for (let reached = false; ;) {
    let answer: RangeAnswer | undefined;
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
        const hint = have > 0 ? `${byteCount(have)} are kept; run the same command to resume` : "try again";
        const times = failures > 1 ? `, ${failures} times in a row` : "";
        throw new UserError({ subject, problem: `${error.message}${times}`, hint }, { cause: error });
      }
      const ms = error.waitMs ?? Math.min(longestBackoffMs, backoffMs * 2 ** (failures - 1));
      yield { kind: "retry", reason: error.message, seconds: ms / 1000 };
      await sleep(ms, undefined, { signal });
    } finally {
      answer?.close();
    }
  }
}

/** Appends the body of an answer to the stored bytes. */
async function* receive(
  { from, state, body }: RangeAnswer,
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
      throw new Interrupted("the server sent more bytes than it announced", { startOver: true });
    const old = Math.min(piece.length, Math.max(0, have - position));
    const before = known.subarray(position - from, position - from + old);
    if (!before.equals(piece.subarray(0, old)))
      throw new Interrupted("the server sent bytes of a different file", { startOver: true });
    await writeAt(partial, piece.subarray(old), position + old);
    position += piece.length;
    if (head && head.length < headBytes) {
      head = Buffer.concat([head, piece]).subarray(0, headBytes);
      if (head.length === headBytes) await refuseOthers(head, partial, options);
    }
    if (position > have) yield { kind: "bytes", done: position, total };
  }
  if (position < Math.max(have, total ?? 0))
    throw new Interrupted("the server ended the connection before the file was complete");
  if (head && head.length < headBytes) await refuseOthers(head, partial, options);
}

async function writeAt({ handle }: PartialFile, piece: Uint8Array, position: number): Promise<void> {
  // A single call may write fewer bytes than requested, for example on a nearly full disk.
  for (let at = 0; at < piece.length;)
    at += (await handle.write(piece, at, piece.length - at, position + at)).bytesWritten;
}

/** Rejects files of the wrong kind: servers send login and quota pages with status 200, too. */
async function refuseOthers(head: Buffer, partial: PartialFile, options: DownloadOptions): Promise<void> {
  const { kind, subject = partial.state?.url } = options;
  const page = /^\s*(<!doctype html|<html|<head|<\?xml|<!--)/i.test(head.toString("latin1").replace(/^ï»¿/, ""));
  if (kind ? kind.begins(head) : !page) return;
  await partial.restart();
  const received = page ? "a web page" : head.length === 0 ? "an empty file" : "something else";
  throw new UserError({
    subject,
    problem: `expected ${kind?.name ?? "a file"}, but the server sent ${received}`,
    hint: page ? "open the address in a browser to see whether it needs a login" : "check the address",
  });
}

async function checkSpace(
  path: string,
  { missing, options }: { missing: number; options: DownloadOptions },
): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (missing > free)
    throw new UserError({
      problem: `${options.subject ?? "the file"} needs ${byteCount(missing)} more, but only ${byteCount(free)} are free in ${dirname(dirname(path))}`,
      hint: "free some space or choose another folder",
    });
}

/** Verifies the downloaded bytes, records their checksum and moves the file into place. */
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
    throw new UserError({
      subject,
      problem: `the downloaded file has the SHA-256 ${sha256}`,
      expected: options.sha256,
      hint: "it was discarded; try again or use another source",
    });
  }
  try {
    await kind?.check?.(partial.data);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    await partial.restart();
    // Without the path of the unfinished file.
    const about = `${subject}: the downloaded file is not ${kind!.name}`;
    throw new UserError({ ...error.mistake, subject: about }, { cause: error });
  }
  // Record first: a file without a record would later be accepted unverified.
  await recordSha256(path, sha256);
  await partial.moveTo(path);
  return { path, bytes, sha256, cached: false };
}

/** Computes the SHA-256 of a file and yields progress records. */
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

/** The size of a file; undefined if it does not exist. */
async function sizeOf(path: string): Promise<number | undefined> {
  const entry = await stat(path).catch(() => undefined);
  if (entry?.isDirectory())
    throw new UserError({ problem: `${path} is a folder, but a file must be written there`, hint: "move it away" });
  return entry?.size;
}

/** Turns a full disk into a UserError; returns any other error unchanged. */
function full(error: unknown, subject: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new UserError(
    { subject, problem: "the disk is full", hint: "free some space, then run the same command to resume" },
    { cause: error },
  );
}
