/** Downloads over connections that are cut, by processes that are stopped or killed, and the cache they go into. */

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
} from "./test-download.ts";

const keptBytes = async () => (await stat(`${path}.partial/data`)).size;

const kinds = (records: DownloadRecord[]) => [...new Set(records.map((record) => record.kind))];

describe("a server as it should be", () => {
  it("gives the file; the total is known first, and a second call asks no server", async () => {
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

  it("may send without a length, through redirects, packed, or no bytes too few", async () => {
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

  it("of another host gets no access token that was meant for the first", async () => {
    const second = await testServer();
    server.answer = ({ response }) => response.writeHead(302, { location: `${second.origin}/model.pth` }).end();
    second.answer = (request) => serve(request);
    await downloaded({ headers: { authorization: "Bearer secret" } });
    expect(server.requests[0].authorization).toBe("Bearer secret");
    expect(second.requests).toEqual([expect.objectContaining({ authorization: undefined })]);
    await second.close();
  });
});

describe("a connection that is cut", () => {
  it.each([1, 2, 3])("at random places goes on where it ended (%i)", async (seed) => {
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

  it("in each of three calls goes on in the next one, and says what is kept", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt === 0 ? 150_000 : 0 });
    expect(await refusal({ attempts: 2 })).toMatch(
      /^http.*model\.pth: .*, 2 times in a row; 1\d\d kB are kept, and the same command goes on from there$/,
    );
    expect(await readdir(dirname(path))).toEqual(["model.pth.partial"]);
    const have = await keptBytes();
    server.answer = (request) => serve(request);
    const { records } = await downloaded();
    expect(records[0]).toEqual({ kind: "begin", have, total: file.length });
    expect(server.requests.at(-1)!.range).toBe(`bytes=${have - 65_536}-`);
    await expectInPlace();
  });

  it("without a length, or with a body shorter than its length, is no end of the file", async () => {
    server.answer = (request) => serve(request, { chunked: true, cutAfter: request.attempt < 3 ? 100_000 : undefined });
    await downloaded();
    await expectInPlace();
    server.requests = [];
    server.answer = (request) => serve(request, { cutAfter: request.attempt < 3 ? 150_000 : undefined, etag: null });
    await downloaded({ force: true });
    await expectInPlace();
    expect(server.requests.length).toBe(4);
  });

  it("and a server without ranges begin again, but not for ever", async () => {
    server.answer = (request) => serve(request, { ranges: false, cutAfter: request.attempt < 2 ? 200_000 : undefined });
    await downloaded();
    await expectInPlace();
    await rm(path);
    server.answer = (request) => serve(request, { ranges: false, cutAfter: 200_000 });
    expect(await refusal({ attempts: 4 })).toMatch(/4 times in a row; \d+ kB are kept/);
  });

  it("that says nothing for too long is given up, before and after the first byte", async () => {
    server.answer = (request) => {
      if (request.attempt === 0) return; // no answer at all
      if (request.attempt > 1) return serve(request);
      request.response.writeHead(200, { "content-length": file.length, etag: '"one"' });
      request.response.write(file.subarray(0, 200_000));
    };
    const { records } = await downloaded();
    const reasons = records.flatMap((record) => (record.kind === "retry" ? [record.reason] : []));
    expect(reasons).toEqual(["nothing came for 0.3 s", "nothing came for 0.3 s"]);
    await expectInPlace();
  });

  it("a consumer that takes its time is no stall", async () => {
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
  it("without room for the file is told before the bytes come", async () => {
    server.answer = ({ response }) => {
      response.writeHead(200, { "content-length": 1e15 });
      response.write(magic);
    };
    expect(await refusal()).toMatch(/takes 1000000\.00 GB more, and .*cache has .* free; free some space/);
  });

  it("offline says what is missing, and that a cached file is damaged", async () => {
    server.answer = (request) => serve(request);
    expect(await refusal({ offline: true, subject: "big" })).toMatch(
      /^big is not in the cache \(.*model\.pth\) and downloading is switched off; /,
    );
    await downloaded();
    await writeFile(path, other);
    await expect(downloaded({ offline: true })).rejects.toThrow(
      /is not the file it should be: its SHA-256 is .*; it has to be downloaded again, and downloading is switched off/,
    );
    expect(server.requests.length).toBe(1);
    const { records } = await downloaded();
    expect(kinds(records)).toContain("damaged");
    await expectInPlace();
  });

  it("takes a file that was put there by hand, and keeps an intact one that is not the one expected", async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file);
    expect((await downloaded({ offline: true })).result.cached).toBe(true);
    await expectInPlace();
    await expect(downloaded({ sha256: sha256(other) })).rejects.toThrow(/is as it was downloaded, but its SHA-256 is/);
    await expectInPlace();
  });

  it("stops at an abort and goes on after it", async () => {
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

  it("goes on with what a killed process left, and takes another address for another file", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt === 0 ? 150_000 : 0 });
    await refusal({ attempts: 1 });
    const have = await keptBytes();
    expect(have).toBeGreaterThan(65_536);
    const owned = join(dirname(path), ".model.pth.partial.owner");
    const owner = { id: "1", since: new Date().toISOString(), path: owned, inode: "0" };
    // No process has this number: Linux gives at most 2^22.
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
    // Nothing has been heard from there for an hour.
    const before = new Date(Date.now() - 3_600_000);
    await utimes(owned, before, before);
    expect((await downloaded({}, { url: `${address}?other` })).records[0]).toMatchObject({ have: 0 });
    await expectInPlace();
    await waiting.return(undefined as never);
  });

  it("downloads a file once that is asked for three times at the same time", async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt < 4 ? 100_000 : undefined });
    const all = await Promise.all([1, 2, 3].map(() => downloaded()));
    for (const { result } of all) expect(result.sha256).toBe(sha256(file));
    expect(all.filter(({ result }) => !result.cached).length).toBe(1);
    await expectInPlace();
  });

  it("has a folder where the file should go", async () => {
    server.answer = (request) => serve(request);
    await mkdir(path, { recursive: true });
    await expect(downloaded()).rejects.toThrow(/is a folder where a file should go; move it away/);
  });
});
