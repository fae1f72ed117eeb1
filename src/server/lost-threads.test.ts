/** A server whose worker threads die at random under load: it answers every request and recovers completely. */

import type { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { seedKey, uniform } from "../core/random.ts";
import { thorough } from "../test-depth.ts";
import { ThreadError } from "../workers/failure.ts";
import type { Listening } from "./listen.ts";
import { drawnBy, listening, pixels } from "./test-client.ts";
import { type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
beforeAll(async () => {
  models = await testModels();
});
afterAll(() => models.remove());

/** Node.js reports every thread that this process starts. */
const threads = new Set<Worker>();
const onWorker = (worker: Worker) => {
  threads.add(worker);
  worker.once("exit", () => threads.delete(worker));
};
process.on("worker", onWorker);
afterAll(() => process.off("worker", onWorker));

/** Unhandled rejections would end a server. */
const unheard: unknown[] = [];
const onUnheard = (reason: unknown) => void unheard.push(reason);
process.on("unhandledRejection", onUnheard);
afterAll(() => process.off("unhandledRejection", onUnheard));

let at: Listening | undefined;
afterEach(() => at?.close());

interface Answer {
  status: number;
  body: { data?: { b64_json: string }[]; error?: { type: string } };
}

async function ask(options: object): Promise<Answer> {
  const response = await fetch(`${at!.url}/v1/images/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(options),
    signal: AbortSignal.timeout(60_000),
  });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

/** The two ways for a thread to die: termination and an uncaught error. */
function kill(random: number): void {
  const all = [...threads];
  const victim = all[Math.floor(random * all.length)];
  if (!victim) return;
  if (random * 10 - Math.floor(random * 10) < 0.5) void victim.terminate();
  else victim.postMessage(null);
}

const kills = thorough ? 20 : 4;

it.runIf(thorough)(
  "answers every request while its threads die, and draws the same images",
  async () => {
    const faults: unknown[] = [];
    at = await listening(
      testServer([models.tiny, models.slow], { threads: 2, onFault: (error) => void faults.push(error) }),
    );
    let going = true;
    const answers: { seed: number; answer: Answer }[] = [];
    const client = async (first: number) => {
      for (let seed = first; going; seed += 4) {
        const answer = await ask({ model: "tiny", prompt: seed % 3 ? "cat" : "dog", n: 1 + (seed % 3), seed });
        answers.push({ seed, answer });
      }
    };
    const clients = [0, 1, 2, 3].map((first) => client(first));
    await expect.poll(() => answers.length, { timeout: 30_000 }).toBeGreaterThan(0);
    for (let n = 0; n < kills; n++) {
      await new Promise((resolve) => setTimeout(resolve, 400 * uniform(seedKey(n), 0)));
      await expect.poll(() => threads.size, { timeout: 30_000 }).toBeGreaterThan(0);
      kill(uniform(seedKey(n), 1));
    }
    const after = answers.length;
    await expect.poll(() => answers.length, { timeout: 30_000 }).toBeGreaterThan(after + 8);
    going = false;
    await Promise.all(clients);
    for (const { seed, answer } of answers) {
      expect([200, 500]).toContain(answer.status);
      if (answer.status === 500) expect(answer.body.error!.type).toBe("server_error");
      else {
        const labels = Array.from({ length: 1 + (seed % 3) }, () => (seed % 3 ? 0 : 1));
        const drawn = await Promise.all(answer.body.data!.map(({ b64_json }) => pixels(b64_json)));
        if (seed < 12)
          expect(Uint8Array.from(drawn.flatMap((one) => [...one]))).toEqual(
            await drawnBy(models.tiny, { labels, seed }),
          );
      }
    }
    // An order that loses its thread is drawn again; only after losing two does it fail.
    const failed = answers.filter(({ answer }) => answer.status === 500).length;
    expect(failed).toBeLessThanOrEqual(Math.floor(faults.length / 2) * 4);
    for (const fault of faults) expect(fault).toBeInstanceOf(ThreadError);
    expect((await fetch(`${at.url}/healthz`)).status).toBe(200);
    expect(unheard).toEqual([]);
  },
  60_000 + 5000 * kills,
);

it("gives up only on an order that loses its thread every time", async () => {
  at = await listening(testServer([models.tiny, models.slow], { threads: 1 }));
  const poisoned = ask({ model: "slow", prompt: "cat", seed: 1 });
  for (let n = 0; n < 2; n++) {
    await expect.poll(() => threads.size, { timeout: 30_000 }).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [thread] = threads;
    thread.postMessage(null);
    await expect.poll(() => threads.has(thread), { timeout: 30_000 }).toBe(false);
  }
  expect((await poisoned).status).toBe(500);
  expect((await ask({ model: "tiny", prompt: "cat", seed: 1 })).status).toBe(200);
  expect(unheard).toEqual([]);
}, 120_000);
