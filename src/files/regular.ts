/**
 * Opens and reads untrusted files: only regular files, with a size limit, and with system errors turned into messages
 * for users. Everything that reads a user's file goes through here.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { byteCount } from "../core/byte-count.ts";
import { type Mistake, UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";

/** A path; as bytes if its name is not valid UTF-8. */
export type FilePath = string | Buffer;

/** Without the second flag, opening a named pipe waits for a writer. */
const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Formats a path for a message. */
export const pathText = (path: FilePath): string =>
  shown(typeof path === "string" ? path : path.toString("latin1"), 200);

type Refusal = Required<Pick<Mistake, "problem" | "hint">>;

const check = "check the path";
const folder: Refusal = { problem: "this is a folder, not a file", hint: "name the file itself" };
const socket: Refusal = { problem: "this is a socket, not a file", hint: check };
const device: Refusal = { problem: "this is a device, not a file", hint: check };

const kinds: [is: (entry: Stats) => boolean, refusal: Refusal][] = [
  [(entry) => entry.isDirectory(), folder],
  [(entry) => entry.isFIFO(), { problem: "this is a named pipe, not a file", hint: "save its data to a file first" }],
  [(entry) => entry.isSocket(), socket],
];

function checkRegular(path: FilePath, entry: Stats): void {
  if (entry.isFile()) return;
  const known = kinds.find(([is]) => is(entry));
  throw new UserError({ subject: pathText(path), ...(known?.[1] ?? device) });
}

/** Opens a regular file for reading; throws a UserError for anything else. */
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

/** Synchronous `openRegular`; returns a descriptor that the caller must close. */
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

/** Throws a UserError unless the path is a regular file. */
export async function checkRegularFile(path: FilePath): Promise<void> {
  await (await openRegular(path)).close();
}

/** Reads a regular file of at most `most` bytes; `what` names the kind of file in an error. */
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

/** Asynchronous `readRegularSync`. */
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
    throw new UserError({
      subject: pathText(path),
      problem: `it has ${byteCount(bytes)}, but ${what} has at most ${byteCount(most)}`,
      hint: "check the path",
    });
}

/** Reads the first `count` bytes of a regular file, or fewer if it is shorter. */
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

/** What is wrong with a path where nothing is. */
export const noSuchFile = "there is no such file";
const missing: Refusal = { problem: noSuchFile, hint: check };
const forbidden: Refusal = { problem: "no permission to read it", hint: "change its permissions" };
const gone: Refusal = { problem: "its disk is no longer reachable", hint: "mount it again" };

const refusals: Record<string, Refusal> = {
  ENOENT: missing,
  ENOTDIR: missing,
  EISDIR: folder,
  ENXIO: socket,
  EACCES: forbidden,
  EPERM: forbidden,
  ELOOP: { problem: "it is a link that leads back to itself", hint: "remove it" },
  ENAMETOOLONG: { problem: "the path is too long for the system", hint: "check it" },
  ENODEV: { problem: "its device does not exist", hint: check },
  ESTALE: gone,
  ENOTCONN: gone,
  EIO: { problem: "the disk cannot read it", hint: "check the disk and restore the file" },
  ERR_INVALID_ARG_VALUE: { problem: "a path cannot contain a zero byte", hint: "check it" },
};

/** Turns a known system error on reading `path` into a UserError; returns any other error unchanged. */
export function refusal(path: FilePath, error: unknown): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const code = "code" in error ? String(error.code) : "";
  if (Object.hasOwn(refusals, code))
    return new UserError({ subject: pathText(path), ...refusals[code] }, { cause: error });
  if (code.startsWith("Z_"))
    return new UserError(
      {
        subject: pathText(path),
        problem: `it is truncated or damaged (${shown(error.message)})`,
        hint: "download it again",
      },
      {
        cause: error,
      },
    );
  return error;
}

/** Runs `read` and turns known errors of the system or the decompressor into a UserError about `path`. */
export async function reading<T>(path: FilePath, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw refusal(path, error);
  }
}
