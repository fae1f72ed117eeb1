/** Downloads over broken connections and by processes that are stopped or killed, and their cache. */

import { mkdir, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type DownloadRecord, download } from "./download.ts";
import { thisProcess } from "./process.ts";
import { testServer } from "./test-server.ts";
import {
  address,
  downloaded,
  expectInPlace,
  file,
  magic,
  other,
  path,
  quick,
  refusal,
  serve,
  server,
  sha256,
  useServer,
} from "./test-download.ts";
import { firstOf } from "../test-depth.ts";

useServer();

const keptBytes = async () => (await stat(`${path}.partial/data`)).size;

const kinds = (records: DownloadRecord[]) => [...new Set(records.map((record) => record.kind))];

describe("a correct server", () => {
  it("delivers the file; the total is known first, and a second call makes no request", async () => {
    server.answer = (request) => serve(request);
    const { result, records } = await downloaded({ sha256: sha256(file).toUpperCase() });
    expect(result).toEqual({ path, bytes: file.length, sha256: sha256(file), cached: false });
    expect(records[0]).toEqual({ kind: "begin", have: 0, total: file.length });
    const bytes = records.flatMap((record) => (record.kind === "bytes" ? [record.done] : []));
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
    expect(bytes.at(-1)).toBe(file.length);
    expect(server.requests).toEqual([expect.objectContaining({ range: undefined, encoding: "identity" })]);
    await expectInPlace();
    expect((await downloaded()).result).toEqual({ ...result, cached: true });
    expect((await downloaded({ offline: true })).result.cached).toBe(true);
    expect(server.requests.length).toBe(1);
  });

  it("is asked again with `force`", async () => {
    server.answer = (request) => serve(request);
    await downloaded();
    server.answer = (request) => serve(request, { bytes: other, etag: '"two"' });
    expect((await downloaded({ force: true })).result.sha256).toBe(sha256(other));
    await expectInPlace(other);
  });

  it("may send without a length, through redirects, compressed, or an empty file", async () => {
    server.answer = (request) => serve(request, { chunked: true });
    expect((await downloaded()).records[0]).toEqual({ kind: "begin", have: 0, total: undefined });
    await expectInPlace();
    server.answer = ({ response, ...rest }) =>
      rest.request.url === "/model.pth"
        ? response.writeHead(302, { location: "/elsewhere?key=1" }).end()
        : serve({ response, ...rest });
    await downloaded({ force: true });
    await expectInPlace();
    server.answer = ({ response }) => {
      const packed = gzipSync(file);
      response.writeHead(200, { "content-encoding": "gzip", "content-length": packed.length }).end(packed);
    };
    await downloaded({ force: true });
    await expectInPlace();
  });

  it("that is redirected to does not get the first host's access token", async () => {
    const second = await testServer();
    server.answer = ({ response }) => response.writeHead(302, { location: `${second.origin}/model.pth` }).end();
    second.answer = (request) => serve(request);
    await downloaded({ headers: { authorization: "Bearer secret" } });
    expect(server.requests[0].authorization).toBe("Bearer secret");
    expect(second.requests).toEqual([expect.objectContaining({ authorization: undefined })]);
    await second.close();
  });
});

describe("a broken connection", () => {
  it.each(firstOf([1, 2, 3]))("at random places is resumed (%i)", async (seed) => {
    let state = seed * 7919;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    server.answer = (request) => serve(request, { cutAfter: Math.floor(random() * 120_000) });
    const { records } = await downloaded({ attempts: 40, sha256: sha256(file) });
    await expectInPlace();
    expect(kinds(records)).toContain("retry");
    const continued = server.requests.filter(({ range }) => range !== undefined);
    expect(continued.length).toBeGreaterThan(1);
    expect(continued.every(({ ifRange }) => ifRange === '"one"')).toBe(true);
  });

  it("in each of three calls is resumed by the next, and the error says what is kept", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt === 0 ? 150_000 : 0 });
    expect(await refusal({ attempts: 2 })).toMatch(
      /^http.*model\.pth: .*, 2 times in a row; 1\d\d kB are kept; run the same command to resume$/,
    );
    expect(await readdir(dirname(path))).toEqual(["model.pth.partial"]);
    const have = await keptBytes();
    server.answer = (request) => serve(request);
    const { records } = await downloaded();
    expect(records[0]).toEqual({ kind: "begin", have, total: file.length });
    expect(server.requests.at(-1)!.range).toBe(`bytes=${have - 65_536}-`);
    await expectInPlace();
  });

  it("before the announced or unknown end is not taken for the end of the file", async () => {
    server.answer = (request) => serve(request, { chunked: true, cutAfter: request.attempt < 3 ? 100_000 : undefined });
    await downloaded();
    await expectInPlace();
    server.requests = [];
    server.answer = (request) => serve(request, { cutAfter: request.attempt < 3 ? 150_000 : undefined, etag: null });
    await downloaded({ force: true });
    await expectInPlace();
    expect(server.requests.length).toBe(4);
  });

  it("to a server without ranges restarts the download, but not forever", async () => {
    server.answer = (request) => serve(request, { ranges: false, cutAfter: request.attempt < 2 ? 200_000 : undefined });
    await downloaded();
    await expectInPlace();
    await rm(path);
    server.answer = (request) => serve(request, { ranges: false, cutAfter: 200_000 });
    expect(await refusal({ attempts: 4 })).toMatch(/4 times in a row; \d+ kB are kept/);
  });

  it("that is silent for too long is closed, before and after the first byte", async () => {
    server.answer = (request) => {
      if (request.attempt === 0) return; // no answer at all
      if (request.attempt > 1) return serve(request);
      request.response.writeHead(200, { "content-length": file.length, etag: '"one"' });
      request.response.write(file.subarray(0, 200_000));
    };
    const { records } = await downloaded();
    const reasons = records.flatMap((record) => (record.kind === "retry" ? [record.reason] : []));
    expect(reasons).toEqual(["the server sent nothing for 0.3 s", "the server sent nothing for 0.3 s"]);
    await expectInPlace();
  });

  it("is not assumed when the consumer is slow", async () => {
    server.answer = (request) => serve(request);
    const running = download(address, path, { ...quick, stallMs: 100 });
    for (let pauses = 0; ;) {
      const next = await running.next();
      if (next.done) break;
      expect(next.value.kind).not.toBe("retry");
      if (pauses++ < 3) await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await expectInPlace();
  });
});

describe("this machine", () => {
  it("without enough disk space is reported before the transfer", async () => {
    server.answer = ({ response }) => {
      response.writeHead(200, { "content-length": 1e15 });
      response.write(magic);
    };
    expect(await refusal()).toMatch(/needs 1000000\.00 GB more, but only .* are free in .*cache; free some space/);
  });

  it("offline reports a missing file and a damaged cached file", async () => {
    server.answer = (request) => serve(request);
    expect(await refusal({ offline: true, subject: "big" })).toMatch(
      /^big is not in the cache \(.*model\.pth\) and downloading is switched off; /,
    );
    await downloaded();
    await writeFile(path, other);
    await expect(downloaded({ offline: true })).rejects.toThrow(
      /is damaged: its SHA-256 is .*; downloading is switched off/,
    );
    expect(server.requests.length).toBe(1);
    const { records } = await downloaded();
    expect(kinds(records)).toContain("damaged");
    await expectInPlace();
  });

  it("accepts a file that the user put there, and keeps an intact file with an unexpected checksum", async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file);
    expect((await downloaded({ offline: true })).result.cached).toBe(true);
    await expectInPlace();
    await expect(downloaded({ sha256: sha256(other) })).rejects.toThrow(
      /is unchanged since it was downloaded, but its SHA-256 is/,
    );
    await expectInPlace();
  });

  it("stops on abort and resumes later", async () => {
    server.answer = (request) => {
      if (request.attempt > 0) return serve(request);
      request.response.writeHead(200, { "content-length": file.length, etag: '"one"' });
      request.response.write(file.subarray(0, 200_000));
    };
    const controller = new AbortController();
    const running = download(address, path, { ...quick, stallMs: 5000, signal: controller.signal });
    const all = async () => {
      for await (const record of running)
        if (record.kind === "bytes" && record.done === 200_000) setTimeout(() => controller.abort(), 20);
    };
    await expect(all()).rejects.toThrow(/abort/i);
    expect(await readdir(dirname(path))).toEqual(["model.pth.partial"]);
    const { records } = await downloaded();
    expect(records[0]).toMatchObject({ kind: "begin", have: 200_000 });
    await expectInPlace();
  });

  it("resumes after a killed process, and starts over for a different address", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt === 0 ? 150_000 : 0 });
    await refusal({ attempts: 1 });
    const have = await keptBytes();
    expect(have).toBeGreaterThan(65_536);
    const owned = join(dirname(path), ".model.pth.partial.owner");
    const owner = { id: "1", since: new Date().toISOString(), path: owned, inode: "0" };
    // No process has this ID: Linux assigns at most 2^22.
    await writeFile(owned, JSON.stringify({ ...thisProcess(), pid: 99_999_999, ...owner }));
    server.answer = (request) => serve(request);
    expect((await downloaded()).records[0]).toMatchObject({ have });
    await expectInPlace();

    await rm(path);
    server.answer = (request) => serve(request, { cutAfter: 150_000 });
    await refusal({ attempts: 1 });
    await writeFile(owned, JSON.stringify({ pid: 99_999_999, host: "elsewhere", ...owner }));
    server.answer = (request) => serve(request);
    const waiting = download(address, path, quick);
    const first = waiting.next();
    await sleep(300);
    await utimes(owned, new Date(), new Date()); // a sign of life
    expect((await first).value).toMatchObject({ kind: "waiting", owner: { pid: 99_999_999, host: "elsewhere" } });
    // The last heartbeat was an hour ago.
    const before = new Date(Date.now() - 3_600_000);
    await utimes(owned, before, before);
    expect((await downloaded({}, { url: `${address}?other` })).records[0]).toMatchObject({ have: 0 });
    await expectInPlace();
    await waiting.return(undefined as never);
  });

  it("downloads a file only once for three concurrent calls", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt < 4 ? 100_000 : undefined });
    const all = await Promise.all([1, 2, 3].map(() => downloaded()));
    for (const { result } of all) expect(result.sha256).toBe(sha256(file));
    expect(all.filter(({ result }) => !result.cached).length).toBe(1);
    await expectInPlace();
  });

  it("rejects a folder at the path of the file", async () => {
    server.answer = (request) => serve(request);
    await mkdir(path, { recursive: true });
    await expect(downloaded()).rejects.toThrow(/is a folder, but a file must be written there; move it away/);
  });
});
