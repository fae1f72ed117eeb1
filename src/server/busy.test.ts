/** Concurrent requests from OpenAI's client to a listening server: joined batches, disconnects, a full queue, shutdown. */

import { type OpenAI, RateLimitError, toFile } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Listening } from "./listen.ts";
import { answerSchemas } from "./schemas.ts";
import { clientOf, drawnBy, editedBy, generate, imagesIn, listening, metric, pixels } from "./test-client.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
beforeAll(async () => {
  models = await testModels();
});
afterAll(() => models.remove());

const health = async ({ url }: Listening) => answerSchemas.Health.parse(await (await fetch(`${url}/healthz`)).json());
const waits = { timeout: 20_000, interval: 50 };

describe("several requests", () => {
  let at: Listening;
  let client: OpenAI;
  beforeAll(async () => {
    at = await listening(testServer([models.tiny, models.slow]));
    client = clientOf(at);
  });
  afterAll(() => at.close());

  it("are joined into one batch, and get the same images as separately", async () => {
    const before = {
      images: await metric(at, "fractalgen_images_total"),
      batches: await metric(at, "fractalgen_batches_total"),
    };
    const asked = Array.from({ length: 9 }, (_, i) => ({ prompt: i % 2 ? "dog" : "cat", seed: i, n: (i % 3) + 1 }));
    const answers = await Promise.all(asked.map((options) => generate(client, options)));
    for (const [i, { prompt, seed, n }] of asked.entries()) {
      const labels = Array.from({ length: n }, () => (prompt === "dog" ? 1 : 0));
      const alone = await drawnBy(models.tiny, { labels, seed });
      const joined = await Promise.all(answers[i].data!.map(({ b64_json }) => pixels(b64_json)));
      expect(Uint8Array.from(joined.flatMap((one) => [...one]))).toEqual(alone);
    }
    expect((await metric(at, "fractalgen_images_total")) - before.images).toBe(18);
    // The first request starts immediately; the others wait for it together, at most sixteen in a batch.
    expect((await metric(at, "fractalgen_batches_total")) - before.batches).toBeLessThan(9);
  });

  it("are also joined if they are edits, each with its own mask", async () => {
    const image = Uint8Array.from({ length: 192 }, (_, i) => (i * 7) % 256);
    const masks = [3, 21, 40].map((from) => Uint8Array.from({ length: 64 }, (_, i) => Number(i >= from)));
    const raw = (channels: 1 | 3) => ({ raw: { width: 8, height: 8, channels } });
    const file = async (data: Uint8Array, channels: 1 | 3) =>
      toFile(await sharp(data, raw(channels)).png().toBuffer(), "a.png", { type: "image/png" });
    const files = await Promise.all(
      masks.map((mask) =>
        file(
          mask.map((drawn) => drawn * 255),
          1,
        ),
      ),
    );
    const picture = await file(image, 3);
    const before = await metric(at, "fractalgen_batches_total");
    const answers = await Promise.all(
      [files[0], ...files].map((mask, i) =>
        client.images.edit({
          image: picture,
          mask,
          prompt: "dog",
          seed: i,
        } as OpenAI.ImageEditParamsNonStreaming),
      ),
    );
    for (const [i, { data }] of answers.entries()) {
      const alone = await editedBy(models.tiny, { image, mask: masks[Math.max(0, i - 1)], labels: [1], seed: i });
      expect(await pixels(data![0].b64_json)).toEqual(alone);
    }
    expect((await metric(at, "fractalgen_batches_total")) - before).toBeLessThan(4);
  });

  it("whose clients disconnect free the engine", async () => {
    const before = await metric(at, "fractalgen_images_total");
    const left = new AbortController();
    const both = [1, 2].map(() => generate(client, { model: "slow", n: 8 }, { signal: left.signal }));
    const ends = both.map((one) => expect(one).rejects.toThrow("aborted"));
    await vi.waitFor(async () => expect(await imagesIn(at, "running")).toBe(8), waits);
    await vi.waitFor(async () => expect(await imagesIn(at, "waiting")).toBe(8), waits);
    left.abort();
    await Promise.all(ends);
    await vi.waitFor(async () => expect(await imagesIn(at, "running")).toBe(0), waits);
    expect(await imagesIn(at, "waiting")).toBe(0);
    expect(await metric(at, "fractalgen_images_total")).toBe(before);
    expect((await generate(client, { seed: 1 })).data).toHaveLength(1);
  });
});

describe("a full server", () => {
  it("answers 429 with Retry-After, and OpenAI's client retries automatically", async () => {
    const drawn = gate();
    const own = testServer([models.tiny], { open: drawn.open, limits: { queue: 2 } });
    const there = await listening(own);
    const [running, waiting] = [generate(clientOf(there), {}), generate(clientOf(there), { n: 2 })];
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(1));
    await vi.waitFor(async () => expect(await health(there)).toEqual({ status: "ok", waiting: 2, running: 1 }));
    const refused = await fetch(`${there.url}/v1/images/generations`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "cat" }),
    });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
    await expect(generate(clientOf(there), {})).rejects.toThrow(RateLimitError);
    const third = generate(clientOf(there, { maxRetries: 5 }), {});
    const going = setInterval(drawn.go, 20);
    for (const one of [running, waiting, third]) expect((await one).data!.length).toBeGreaterThan(0);
    clearInterval(going);
    await there.close();
  });
});

describe("a server that stops", () => {
  it("finishes running and waiting requests, answers new ones with 503, then exits", async () => {
    const drawn = gate();
    const own = testServer([models.tiny], { open: drawn.open });
    const there = await listening(own);
    const [running, waiting] = [generate(clientOf(there), {}), generate(clientOf(there), { guidance: 7 })];
    await vi.waitFor(async () => expect(await health(there)).toMatchObject({ waiting: 1 }));
    const closed = there.close();
    await expect(generate(clientOf(there), {})).rejects.toMatchObject({ status: 503 });
    expect(await health(there)).toEqual({ status: "stopping", waiting: 1, running: 1 });
    const going = setInterval(drawn.go, 20);
    for (const one of [running, waiting]) expect((await one).data).toHaveLength(1);
    await closed;
    clearInterval(going);
    await expect(fetch(`${there.url}/healthz`)).rejects.toThrow("fetch failed");
  });
});
