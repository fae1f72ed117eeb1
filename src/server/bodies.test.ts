/** Request bodies: compressed, slow, endless and concurrent ones, and how a refused one ends. */

import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Bodies, bodyReader, joinedChunks } from "./bodies.ts";
import type { ApiError } from "./errors.ts";
import type { Listening } from "./listen.ts";
import { listening } from "./test-client.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
let at: Listening;
const drawn = gate();
beforeAll(async () => {
  models = await testModels();
  at = await listening(testServer([models.tiny], { open: drawn.open, limits: { silenceMs: 300 } }));
});
afterAll(async () => {
  await at.close();
  models.remove();
});

const ask = (body: Uint8Array, headers: Record<string, string>) =>
  fetch(`${at.url}/v1/images/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body,
  });
const errorIn = async (answer: Response) =>
  [answer.status, ((await answer.json()) as { error: { message: string } }).error.message] as const;

describe("an encoding", () => {
  const body = Buffer.from(JSON.stringify({ prompt: "cot" }));

  it("of gzip is read, within the limit on the decompressed size", async () => {
    for (const encoding of ["gzip", "GZIP", "x-gzip"]) {
      const [status, message] = await errorIn(await ask(gzipSync(body), { "Content-Encoding": encoding }));
      expect([status, message]).toEqual([400, expect.stringContaining('did you mean "cat"')]);
    }
    const bomb = gzipSync(Buffer.alloc(50e6, " "));
    expect(bomb.length).toBeLessThan(100_000);
    expect(await errorIn(await ask(bomb, { "Content-Encoding": "gzip" }))).toEqual([413, expect.any(String)]);
  });

  it("that is declared but wrong gets an error", async () => {
    for (const wrong of [body, gzipSync(body).subarray(0, 15), Buffer.concat([gzipSync(body), body])]) {
      const found = await errorIn(await ask(wrong, { "Content-Encoding": "gzip" }));
      expect(found).toEqual([
        400,
        "the body is not valid gzip, which its Content-Encoding declares, or it is truncated",
      ]);
    }
  });

  it.each(["br", "deflate", "gzip, gzip", "zstd", "x".repeat(5000)])(
    "of an unsupported kind gets 415: %.20s",
    async (encoding) => {
      const answer = await ask(body, { "Content-Encoding": encoding });
      expect(answer.headers.get("accept-encoding")).toBe("gzip");
      expect(await errorIn(answer)).toEqual([
        415,
        expect.stringMatching(/^Content-Encoding: expected gzip or none, got .{1,60}$/),
      ]);
    },
  );
});

/** Sends a request over a raw socket. Returns what the client reads and how its connection ends. */
async function byHand(head: string, send: (write: (data: Buffer) => boolean) => Promise<void>) {
  const socket = connect(Number(new URL(at.url).port), "127.0.0.1");
  await once(socket, "connect");
  let answer = "";
  let error: string | undefined;
  socket.on("data", (data: Buffer) => (answer += data.toString()));
  socket.on("error", ({ code }: NodeJS.ErrnoException) => (error = code));
  const ended = once(socket, "end").catch(() => {});
  socket.write(`POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\n${head}\r\n\r\n`);
  await send((data) => socket.write(data));
  await ended;
  socket.destroy();
  return { answer, error };
}

describe("a body that is too large", () => {
  const form = "Content-Type: multipart/form-data; boundary=x";

  it("is refused before it is sent, and its connection closes after the response", async () => {
    const { answer, error } = await byHand(`${form}\r\nContent-Length: 200000000`, async () => {});
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*\r\nConnection: close\r\n/is);
    expect(error).toBeUndefined();
  });

  it("still gets the refusal while its client keeps sending", async () => {
    const { answer, error } = await byHand(`${form}\r\nTransfer-Encoding: chunked`, async (write) => {
      const chunk = Buffer.concat([Buffer.from("80000\r\n"), Buffer.alloc(0x80000), Buffer.from("\r\n")]);
      for (let i = 0; i < 20; i++) write(chunk);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 4(13|00) /);
    expect(error).toBeUndefined();
  });
});

it("a body that stalls gets 408", async () => {
  const { answer } = await byHand(
    "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000",
    async (write) => {
      write(Buffer.from("--x\r\n"));
    },
  );
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
});

describe("bodies together", () => {
  const limits = { bodies: 100, silenceMs: 1000, bodyMs: 1000, roomMs: 200 };
  const request = (bytes: number, signal?: AbortSignal) =>
    new Request("http://test/", {
      method: "POST",
      body: new Uint8Array(bytes),
      headers: { "Content-Length": String(bytes) },
      signal,
    });

  /** Reads a body and holds it until released. */
  function held(bodies: Bodies, bytes: number, signal?: AbortSignal) {
    let release = () => {};
    const letGo = new Promise<void>((resolve) => (release = resolve));
    let entered = false;
    const read = bodies.read(request(bytes, signal), 1000, async (chunks) => {
      entered = true;
      const all = await joinedChunks(chunks);
      await letGo;
      return all.length;
    });
    read.catch(() => {});
    return { read, release, entered: () => entered };
  }

  it("stay within their memory: others wait, small ones overtake, and all memory is released", async () => {
    const bodies = bodyReader({ ...limits, roomMs: 10_000 });
    const [first, second, large, small] = [40, 40, 60, 15].map((bytes) => held(bodies, bytes));
    await vi.waitFor(() => expect([first, second, small].every((one) => one.entered())).toBe(true));
    expect([large.entered(), bodies.free()]).toEqual([false, 5]);
    first.release();
    expect(await first.read).toBe(40);
    expect([large.entered(), bodies.free()]).toEqual([false, 45]);
    second.release();
    await vi.waitFor(() => expect(large.entered()).toBe(true));
    for (const one of [large, small]) one.release();
    expect(await Promise.all([large.read, small.read])).toEqual([60, 15]);
    expect(bodies.free()).toBe(100);
  });

  it("that time out waiting get 503 with Retry-After; those whose client disconnected are dropped", async () => {
    const bodies = bodyReader(limits);
    const first = held(bodies, 90);
    await vi.waitFor(() => expect(first.entered()).toBe(true));
    const left = new AbortController();
    const [late, gone] = [held(bodies, 50), held(bodies, 50, left.signal)];
    left.abort();
    await expect(gone.read).rejects.toMatchObject({ status: 503 });
    await expect(late.read).rejects.toMatchObject({ status: 503, details: { retryAfter: 5 } });
    first.release();
    await first.read;
    expect([bodies.free(), late.entered(), gone.entered()]).toEqual([100, false, false]);
  });

  it("count with their declared length, or the maximum without one, and are released after an error", async () => {
    const bodies = bodyReader(limits);
    const fails = bodies.read(request(30), 50, async () => {
      expect(bodies.free()).toBe(70);
      throw new Error("a fault");
    });
    await expect(fails).rejects.toThrow("a fault");
    const unknown = new Request("http://test/", { method: "POST", body: "abc" });
    await bodies.read(unknown, 50, async () => expect(bodies.free()).toBe(50));
    const refused = await bodies.read(request(51), 50, joinedChunks).catch((error: ApiError) => error.status);
    expect([refused, bodies.free()]).toEqual([413, 100]);
  });
});
