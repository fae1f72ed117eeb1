/** Jobs on a listening server: live events, resumed streams, cancelling, and deletion. */

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Listening } from "./listen.ts";
import { answerSchemas, type JobAnswer } from "./schemas.ts";
import { drawnBy, imagesIn, listening, pixels } from "./test-client.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
let at: Listening;
beforeAll(async () => {
  models = await testModels();
  at = await listening(testServer([models.tiny, models.slow], { heartbeat: 30 }));
});
afterAll(async () => {
  await at.close();
  models.remove();
});

async function start(options: Record<string, unknown>, { url } = at): Promise<JobAnswer> {
  const answer = await fetch(`${url}/v1/jobs`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "cat", ...options }),
  });
  expect(answer.status).toBe(202);
  const job = answerSchemas.Job.parse(await answer.json());
  expect(answer.headers.get("location")).toBe(`/v1/jobs/${job.id}`);
  return job;
}

const ask = async (id: string, { url } = at, method = "GET"): Promise<JobAnswer> =>
  answerSchemas.Job.parse(await (await fetch(`${url}/v1/jobs/${id}`, { method })).json());

interface Event {
  id: number;
  event: string;
  data: Record<string, unknown>;
}

/** Reads an event stream until `enough`, then disconnects; comments count as events with id 0. */
async function events(
  id: string,
  {
    after,
    enough = () => false,
    from = at,
  }: { after?: number; enough?: (event: Event) => boolean; from?: Listening } = {},
): Promise<Event[]> {
  const left = new AbortController();
  const answer = await fetch(`${from.url}/v1/jobs/${id}/events`, {
    signal: left.signal,
    headers: after === undefined ? {} : { "Last-Event-ID": String(after) },
  });
  if (answer.status === 204) return [];
  expect(answer.headers.get("content-type")).toContain("text/event-stream");
  const found: Event[] = [];
  let text = "";
  for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
    const blocks = `${text}${part}`.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
      const event = {
        id: Number(field("id") ?? 0),
        event: field("event") ?? "comment",
        data: JSON.parse(field("data") ?? "{}"),
      };
      found.push(event);
      if (!enough(event)) continue;
      left.abort();
      return found;
    }
  }
  return found;
}

describe("a job", () => {
  it("reports progress in numbered events, and ends with the images", async () => {
    const { id, status } = await start({ n: 2, seed: 4, iterations: [4, 16] });
    expect(status).toBe("queued");
    const told = (await events(id)).filter(({ event }) => event !== "comment");
    expect(told.at(-1)!.event).toBe("done");
    expect(told.map((event) => event.id)).toEqual(told.map((event) => event.id).toSorted((a, b) => a - b));
    const shares = told.filter(({ event }) => event === "progress").map(({ data }) => data.progress as number);
    expect(shares.every((share, i) => share > 0 && share <= 1 && share >= (shares[i - 1] ?? 0))).toBe(true);
    const job = await ask(id);
    expect(told.at(-1)!.data).toEqual(job);
    expect(job).toMatchObject({ status: "done", progress: 1, n: 2, model: "tiny", kind: "generation" });
    const images = await drawnBy(models.tiny, { labels: [0, 0], seed: 4, iterations: [4, 16] });
    expect(await pixels(job.result!.data[1].b64_json)).toEqual(images.slice(192));
  });

  it("resumes its stream after the last event seen, and answers 204 when no more will follow", async () => {
    const drawn = gate();
    const there = await listening(testServer([models.tiny], { open: drawn.open, heartbeat: 30 }));
    const { id } = await start({}, there);
    const first = events(id, { from: there, enough: ({ event }) => event === "progress" });
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(1));
    const silent = await events(id, { from: there, enough: ({ event }) => event === "comment" });
    expect(silent).toEqual([{ id: 0, event: "comment", data: {} }]);
    drawn.go();
    const seen = (await first).at(-1)!;
    expect(seen).toMatchObject({ id: 1, data: { progress: 0.5 } });
    await vi.waitFor(async () => expect((await ask(id, there)).status).toBe("done"));
    const rest = await events(id, { from: there, after: seen.id });
    expect(rest.length).toBeGreaterThan(0);
    expect(rest.every((event) => event.id > seen.id)).toBe(true);
    expect(rest.at(-1)!.event).toBe("done");
    expect((await events(id, { from: there })).at(-1)).toEqual(rest.at(-1));
    expect(await events(id, { from: there, after: rest.at(-1)!.id })).toEqual([]); // 204
    await there.close();
  });

  it("and a streamed answer send heartbeats and tell proxies not to buffer", async () => {
    const drawn = gate();
    const there = await listening(testServer([models.tiny], { open: drawn.open, heartbeat: 30 }));
    const { id } = await start({}, there);
    const answers = await Promise.all([
      fetch(`${there.url}/v1/jobs/${id}/events`),
      fetch(`${there.url}/v1/images/generations`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt: "dog", stream: true }),
      }),
    ]);
    for (const { headers, body } of answers) {
      expect(headers.get("x-accel-buffering")).toBe("no");
      expect(headers.get("cache-control")).toBe("no-cache");
      const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      while (!/(: still here\n\n){2}/.test(text)) text += (await reader.read()).value!;
      drawn.go();
      for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
      expect(text).toMatch(/^event: (done|image_generation\.completed)$/m);
    }
    await there.close();
  });

  it("sends previews to clients that follow its events", async () => {
    const { id } = await start({ model: "slow", n: 1 });
    const told = await events(id, { enough: ({ event }) => event === "preview" });
    const [image] = told.at(-1)!.data.images as string[];
    const bytes = await pixels(image);
    expect(bytes).toHaveLength(64 * 64 * 3);
    expect(bytes.slice(0, 3)).not.toEqual(Uint8Array.of(128, 128, 128)); // drawn already
    expect(bytes.slice(-3)).toEqual(Uint8Array.of(128, 128, 128)); // not yet
    await ask(id, at, "DELETE");
  });

  it("continues without readers, and can be cancelled while it runs or waits", async () => {
    const [running, waiting] = [await start({ model: "slow", n: 16 }), await start({ model: "slow", n: 4 })];
    const following = events(waiting.id);
    await events(running.id, { enough: ({ event }) => event === "progress" });
    expect((await ask(running.id)).status).toBe("running");
    expect((await ask(waiting.id)).status).toBe("queued");
    for (const { id } of [waiting, running]) {
      const job = await ask(id, at, "DELETE");
      expect(job).toMatchObject({ status: "cancelled", error: { code: "cancelled" } });
      expect(await ask(id, at, "DELETE")).toEqual(job);
    }
    expect((await following).at(-1)).toMatchObject({ event: "error", data: { error: { code: "cancelled" } } });
    await vi.waitFor(async () => expect(await imagesIn(at, "running")).toBe(0), { timeout: 20_000, interval: 50 });
    expect(await imagesIn(at, "waiting")).toBe(0);
  });

  it("fails without internal details if the engine fails, and other jobs continue", async () => {
    const drawn = gate();
    const faults: unknown[] = [];
    const onFault = (error: unknown) => void faults.push(error);
    const there = await listening(testServer([models.tiny], { open: drawn.open, onFault }));
    const { id } = await start({}, there);
    drawn.fail(new Error("secrets of the machine"));
    const [failed] = await events(id, { from: there });
    expect(failed).toMatchObject({ event: "error", data: { error: { type: "server_error", code: "internal_error" } } });
    expect(JSON.stringify(await ask(id, there))).not.toContain("secrets");
    expect(faults).toHaveLength(1);
    const next = await start({}, there);
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(2));
    drawn.go();
    expect((await events(next.id, { from: there })).at(-1)!.event).toBe("done");
    await there.close();
  });

  it("is deleted after a while, and when enough others have finished", async () => {
    const drawn = gate();
    const going = setInterval(drawn.go, 5);
    const there = await listening(testServer([models.tiny], { open: drawn.open, limits: { jobs: 2 } }));
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { id } = await start({}, there);
      await events(id, { from: there });
      ids.push(id);
    }
    const known = await Promise.all(ids.map(async (id) => (await fetch(`${there.url}/v1/jobs/${id}`)).status));
    expect(known).toEqual([404, 200, 200]);
    await there.close();
    const short = await listening(testServer([models.tiny], { open: drawn.open, limits: { jobsMs: 1 } }));
    const { id } = await start({}, short);
    await vi.waitFor(async () => expect((await fetch(`${short.url}/v1/jobs/${id}`)).status).toBe(404), 20_000);
    await short.close();
    clearInterval(going);
  });
});
