/** Shared parts of download tests: a scripted server, a folder, and its expected content. */

import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { UserError } from "../core/errors.ts";
import { type Downloaded, type DownloadOptions, type DownloadRecord, download } from "./download.ts";
import { serve as send, type Serving, type TestRequest, type TestServer, testServer } from "./test-server.ts";

export const magic = Buffer.from("PK\u0003\u0004");
export const kind = { name: "a PyTorch checkpoint", begins: (head: Buffer) => head.indexOf(magic) === 0 };
export const file = Buffer.concat([magic, randomBytes(399_996)]);
export const other = Buffer.concat([magic, randomBytes(399_996)]);
export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

export let server: TestServer;
export let address = "";
export let folder = "";
export let path = "";

/** Opens a server for the tests of a file, and an empty folder for each of them. */
export function useServer(): void {
  beforeAll(async () => {
    server = await testServer();
    address = `${server.origin}/model.pth`;
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    server.requests = [];
    folder = await mkdtemp(join(tmpdir(), "fractalgen-download-"));
    path = join(folder, "cache/model.pth");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
}

export const serve = (request: TestRequest, { bytes = file, ...how }: Serving & { bytes?: Buffer } = {}) =>
  send(request, bytes, how);

export const quick: DownloadOptions = { kind, backoffMs: 1, stallMs: 300 };

export async function downloaded(
  options: DownloadOptions = {},
  { url = address, to = path }: { url?: string; to?: string } = {},
): Promise<{ result: Downloaded; records: DownloadRecord[] }> {
  const records: DownloadRecord[] = [];
  const running = download(url, to, { ...quick, ...options });
  for (;;) {
    const next = await running.next();
    if (next.done) return { result: next.value, records };
    records.push(next.value);
  }
}

/** The error message of a failing download; checks that no file is in place. */
export async function refusal(options: DownloadOptions = {}, at?: { url?: string; to?: string }): Promise<string> {
  const error = await downloaded(options, at).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toContain("\n");
  expect(existsSync(path)).toBe(false);
  return message;
}

/** Checks for the right file, its record next to it, and nothing else. */
export async function expectInPlace(bytes = file): Promise<void> {
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(await readFile(`${path}.sha256`, "utf8")).toBe(`${sha256(bytes)}  model.pth\n`);
  expect((await readdir(dirname(path))).sort()).toEqual(["model.pth", "model.pth.sha256"]);
}
