/** Downloads from a server that lies or refuses: the right bytes or one error sentence, never a wrong file. */

import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { type Serving, testServer } from "./test-server.ts";
import {
  downloaded,
  expectInPlace,
  file,
  kind,
  other,
  path,
  refusal,
  serve,
  server,
  sha256,
  useServer,
} from "./test-download.ts";

useServer();

describe("a server that lies", () => {
  const begun = async () => {
    server.answer = (request) => serve(request, { cutAfter: request.attempt === 0 ? 150_000 : 0 });
    await refusal({ attempts: 1 });
    server.requests = [];
  };

  it.each<[string, Serving]>([
    ["another range", { contentRange: `bytes 0-${file.length - 1}/${file.length}` }],
    ["another total", { contentRange: `bytes ${150_000 - 65_536}-${file.length}/${file.length + 1}` }],
    ["nonsense", { contentRange: "bytes of some kind" }],
  ])("about ranges (%s) receives a request for the whole file", async (_, lie) => {
    await begun();
    server.answer = (request) => serve(request, request.attempt === 0 ? lie : {});
    await downloaded();
    expect(server.requests.map(({ range }) => range)).toEqual([expect.any(String), undefined]);
    await expectInPlace();
  });

  it("about ranges every time leads to an error or the right file", async () => {
    server.answer = (request) => serve(request, { contentRange: "bytes 0-1/2", cutAfter: 150_000 });
    expect(await refusal()).toMatch(/times in a row; (\d+ kB are kept|try again)/);
  });

  it("and continues with another file's bytes, with the same tag or none, is detected", async () => {
    for (const etag of ['"one"', null]) {
      await begun();
      server.answer = (request) => serve(request, { bytes: other, etag });
      const { result } = await downloaded({ force: true });
      expect(result.sha256).toBe(sha256(other));
      await expectInPlace(other);
      await rm(path);
    }
  });

  it("and changes the file between two attempts delivers all of the new one", async () => {
    for (const changed of [
      { etag: '"two"' },
      { etag: null, lastModified: "Tue, 02 Jan 2024 00:00:00 GMT" },
      { etag: 'W/"2"' },
    ]) {
      const before = changed.lastModified
        ? { etag: null, lastModified: "Mon, 01 Jan 2024 00:00:00 GMT" }
        : { etag: changed.etag === '"two"' ? '"one"' : 'W/"1"' };
      server.requests = [];
      server.answer = (request) =>
        serve(request, request.attempt === 0 ? { ...before, cutAfter: 200_000 } : { ...changed, bytes: other });
      await downloaded();
      await expectInPlace(other);
      await rm(path);
    }
  });

  it.each<[string, Serving, Serving]>([
    ["tag", { etag: '"one"' }, { etag: '"two"' }],
    [
      "date",
      { etag: null, lastModified: "Mon, 01 Jan 2024 00:00:00 GMT" },
      { etag: null, lastModified: "Tue, 02 Jan 2024 00:00:00 GMT" },
    ],
  ])("and sends a part of a changed file unasked is found out by its %s", async (_, before, after) => {
    // Only the end differs, so the bytes around the cut reveal nothing.
    const changed = Buffer.concat([file.subarray(0, 300_000), other.subarray(300_000)]);
    server.answer = (request) =>
      serve(
        request,
        request.attempt === 0 ? { ...before, cutAfter: 150_000 } : { ...after, bytes: changed, conditions: false },
      );
    const { records } = await downloaded();
    expect(records).toContainEqual({
      kind: "retry",
      reason: "the file has changed on the server",
      seconds: expect.any(Number),
    });
    await expectInPlace(changed);
  });

  it("and changes the file at every attempt leads to an error", async () => {
    server.answer = (request) => serve(request, { etag: `"${request.attempt}"`, cutAfter: 150_000 });
    expect(await refusal()).toMatch(/6 times in a row/);
  });

  it("and sends more bytes than announced, or an unrequested range", async () => {
    server.answer = (request) => {
      if (request.attempt === 0) serve(request, { cutAfter: 150_000 });
      else if (request.attempt === 1) {
        // Chunked, so that only the total reveals it.
        const rest = Buffer.concat([file.subarray(request.from), Buffer.from("and more")]);
        const range = `bytes ${request.from}-${file.length - 1}/${file.length}`;
        request.response.writeHead(206, { etag: '"one"', "content-range": range }).end(rest);
      } else if (request.attempt === 2)
        request.response.writeHead(206, { "content-range": `bytes 9-${file.length}/9` }).end(file);
      else serve(request);
    };
    const { records } = await downloaded();
    expect(records.flatMap((record) => (record.kind === "retry" ? [record.reason] : []))).toEqual([
      expect.stringMatching(/lost/),
      "the server sent more bytes than it announced",
      expect.stringMatching(/206 to a request for the whole file/),
    ]);
    await expectInPlace();
  });

  it("and sends wrong bytes is detected by the checksum, and nothing is kept", async () => {
    server.answer = (request) => serve(request, { bytes: other });
    expect(await refusal({ sha256: sha256(file) })).toMatch(
      new RegExp(`the SHA-256 ${sha256(other)}, expected ${sha256(file)}; it was discarded`),
    );
    expect(await readdir(dirname(path)).catch(() => [])).toEqual([]); // the folder goes too where it was made for it
  });

  it.each<[string, string | Buffer, RegExp]>([
    [
      "a page",
      "<!DOCTYPE html><title>Sign in</title>",
      /expected a PyTorch checkpoint, but the server sent a web page; /,
    ],
    ["a long page", `\ufeff\n <html>${" ".repeat(2000)}`, /sent a web page; open the address in a browser/],
    ["another kind", randomBytes(1000).fill(7, 0, 4), /the server sent something else; check the address/],
    ["nothing", "", /the server sent an empty file/],
  ])("and sends %s is refused by the first bytes", async (_, body, sentence) => {
    server.answer = ({ response }) => response.writeHead(200, { "content-type": "application/octet-stream" }).end(body);
    expect(await refusal()).toMatch(sentence);
    expect(await readdir(dirname(path)).catch(() => [])).toEqual([]); // the folder goes too where it was made for it
    expect(server.requests.length).toBe(1);
  });

  it("and sends a web page is detected even if any kind of file is accepted", async () => {
    server.answer = ({ response }) => response.end("<!-- --><html>");
    expect(await refusal({ kind: undefined })).toMatch(/expected a file, but the server sent a web page/);
    server.answer = ({ response }) => response.end("some text");
    expect((await downloaded({ kind: undefined })).result.bytes).toBe(9);
  });

  it("and sends a file that fails the kind's own check leaves nothing behind", async () => {
    server.answer = (request) => serve(request, { bytes: file.subarray(0, 300_000) });
    const check = async (path: string) => {
      throw new UserError({ subject: path, problem: "the zip is truncated" });
    };
    expect(await refusal({ kind: { ...kind, check } })).toMatch(
      /model\.pth: the downloaded file is not a PyTorch checkpoint: the zip is truncated$/,
    );
    expect(await readdir(dirname(path)).catch(() => [])).toEqual([]); // the folder goes too where it was made for it
  });

  it("and does not speak HTTP, compresses unasked or redirects in circles leads to an error", async () => {
    server.answer = ({ request }) => request.socket.end("nonsense\r\n\r\n");
    expect(await refusal({ attempts: 2 })).toMatch(/the connection was lost .* 2 times in a row; try again$/);
    server.answer = ({ response }) => response.writeHead(200, { "content-encoding": "zstd" }).end("x");
    expect(await refusal()).toMatch(/content encoding "zstd", which is not supported/);
    server.answer = ({ response }) => response.writeHead(302, { location: "/model.pth" }).end();
    expect(await refusal()).toMatch(/the connection failed: redirect count exceeded; check the address/);
  });
});

describe("a server that refuses", () => {
  it.each([
    [404, /the server answered 404 \(not found\); check the address$/],
    [403, /the server answered 403 \(forbidden\)/],
    [401, /401 \(login required\)/],
  ])("with %i is asked once", async (status, sentence) => {
    server.answer = ({ response }) => response.writeHead(status).end("no");
    expect(await refusal()).toMatch(sentence);
    expect(server.requests.length).toBe(1);
  });

  it("with 500 is retried, and with 429 after the requested time", async () => {
    server.answer = (request) => {
      if (request.attempt === 0) request.response.writeHead(500).end("oops");
      else if (request.attempt === 1) request.response.writeHead(429, { "retry-after": "1" }).end();
      else serve(request);
    };
    const { records } = await downloaded();
    expect(records.filter((record) => record.kind === "retry")).toEqual([
      { kind: "retry", reason: "the server answered 500 (internal error)", seconds: 0.001 },
      { kind: "retry", reason: "the server answered 429 (too many requests)", seconds: 1 },
    ]);
    await expectInPlace();
  });

  it("for too long, or always, leads to an error", async () => {
    server.answer = ({ response }) => response.writeHead(503, { "retry-after": "1200" }).end();
    expect(await refusal()).toMatch(/503 \(unavailable\) and asks to wait 20 min; run the same command after that$/);
    server.answer = ({ response }) => response.writeHead(502).end();
    expect(await refusal()).toMatch(/the server answered 502, 6 times in a row; try again$/);
  });

  it("or is unreachable is reported at once", async () => {
    const gone = await testServer();
    await gone.close();
    const backoffMs = 1e9; // the test would time out
    expect(await refusal({ backoffMs }, { url: `${gone.origin}/x.pth` })).toMatch(
      /the host 127\.0\.0\.1:\d+ accepts no connections \(ECONNREFUSED\); try again$/,
    );
    expect(await refusal({ backoffMs }, { url: "http://nowhere.invalid/x.pth" })).toMatch(
      /the host nowhere\.invalid could not be found \((ENOTFOUND|EAI_AGAIN)\)/,
    );
  });
});
