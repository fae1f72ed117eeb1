/**
 * Opening and reading files that come from anywhere: regular files alone, never more than they are worth, and what the
 * system says as a sentence. Everything that reads a user's file goes through here.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";

/** A path; as bytes where its name is no UTF-8. */
export type FilePath = string | Buffer;

/** Without the second flag, opening a named pipe waits for a writer. */
const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** A path in a message. */
export const pathText = (path: FilePath): string =>
  shown(typeof path === "string" ? path : path.toString("latin1"), 200);

const kinds: [is: (entry: Stats) => boolean, what: string][] = [
  [(entry) => entry.isDirectory(), "this is a folder, not a file; name the file itself"],
  [(entry) => entry.isFIFO(), "this is a named pipe, not a file; write what comes through it to a file first"],
  [(entry) => entry.isSocket(), "this is a socket, not a file; check the path"],
];

function checkRegular(path: FilePath, entry: Stats): void {
  if (entry.isFile()) return;
  const known = kinds.find(([is]) => is(entry));
  throw new UserError(`${pathText(path)}: ${known?.[1] ?? "this is a device, not a file; check the path"}`);
}

/** Opens a regular file for reading; anything else is a UserError. */
export async function openRegular(path: FilePath): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, flags);
    checkRegular(path, await handle.stat());
    return handle;
  } catch (error) {
    await handle?.close();
    throw refusal(path, error);
  }
}

/** The same as a descriptor, to be closed by the caller. */
export function openRegularSync(path: FilePath): number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, flags);
    checkRegular(path, fstatSync(descriptor));
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw refusal(path, error);
  }
}

/** A UserError where the path names no regular file. */
export async function checkFile(path: FilePath): Promise<void> {
  await (await openRegular(path)).close();
}

/** All bytes of a regular file that has at most `most`; `what` says in an error what such a file is. */
export function readRegularSync(path: FilePath, { most, what }: { most: number; what: string }): Buffer {
  const descriptor = openRegularSync(path);
  try {
    checkSize(path, fstatSync(descriptor).size, { most, what });
    return readFileSync(descriptor);
  } catch (error) {
    throw refusal(path, error);
  } finally {
    closeSync(descriptor);
  }
}

/** The same without blocking. */
export async function readRegular(path: FilePath, { most, what }: { most: number; what: string }): Promise<Buffer> {
  const handle = await openRegular(path);
  try {
    checkSize(path, (await handle.stat()).size, { most, what });
    return await handle.readFile();
  } catch (error) {
    throw refusal(path, error);
  } finally {
    await handle.close();
  }
}

function checkSize(path: FilePath, bytes: number, { most, what }: { most: number; what: string }): void {
  if (bytes > most)
    throw new UserError(
      `${pathText(path)}: it has ${byteCount(bytes)}, but ${what} has at most ${byteCount(most)}; is it another file?`,
    );
}

/** The first bytes of a regular file; fewer where it is shorter. */
export async function firstBytes(path: FilePath, count: number): Promise<Buffer> {
  const handle = await openRegular(path);
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(count), 0, count, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw refusal(path, error);
  } finally {
    await handle.close();
  }
}

const refusals: Record<string, string> = {
  ENOENT: "there is no such file; check the path",
  ENOTDIR: "there is no such file; check the path",
  EISDIR: kinds[0][1],
  ENXIO: kinds[2][1],
  EACCES: "no permission to read it; change its permissions",
  EPERM: "no permission to read it; change its permissions",
  ELOOP: "it is a link that leads back to itself; remove it",
  ENAMETOOLONG: "the path is longer than the system takes; check it",
  ENODEV: "the device behind it is not there; check the path",
  ESTALE: "the disk that it is on is not reachable any more; mount it again",
  ENOTCONN: "the disk that it is on is not reachable any more; mount it again",
  EIO: "the disk cannot read it; check the disk, and fetch the file again",
  ERR_INVALID_ARG_VALUE: "a path cannot hold a zero byte; check it",
};

/** What the system said on reading `path`, as a UserError where it is known; any other error as it is. */
export function refusal(path: FilePath, error: unknown): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const code = "code" in error ? String(error.code) : "";
  if (Object.hasOwn(refusals, code)) return new UserError(`${pathText(path)}: ${refusals[code]}`, { cause: error });
  if (code.startsWith("Z_"))
    return new UserError(`${pathText(path)}: it is cut short or damaged (${shown(error.message)}); fetch it again`, {
      cause: error,
    });
  return error;
}

/** Runs what reads `path`, and says in a sentence what the system or the unpacker said. */
export async function reading<T>(path: FilePath, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw refusal(path, error);
  }
}
