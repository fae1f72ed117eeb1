/** A server whose batches workers draw: the same images, the page on the queue, and its numbers. */

import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noRedis, type TestQueue, testQueue } from "./test-queue.ts";
import { thorough } from "../test-depth.ts";

describe.skipIf(noRedis)(`serve on workers${noRedis ? ` (skipped: ${noRedis})` : ""}`, () => {
  let queue: TestQueue;
  beforeAll(async () => {
    queue = await testQueue();
  });
  afterAll(() => queue?.end());

  async function server(...args: string[]) {
    const running = queue.command("serve", "--model", queue.at("tiny"), "--port", "0", ...args);
    const url = await running.found(/ at (http:\S+)/);
    return { running, url };
  }

  it.runIf(thorough)(
    "returns the images of a server without workers, and shows the queue",
    async () => {
      const worker = queue.worker();
      const ask = { prompt: "dark,light", n: 6, seed: 4, iterations: [2, 2] };
      const answers = [];
      for (const args of [[], queue.options]) {
        const { running, url } = await server(...args);
        const post = (path: string, body: object) =>
        fetch(`${url}${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }); // prettier-ignore
        const answer = (await (await post("/v1/images/generations", ask)).json()) as { data: { b64_json: string }[] };
        answers.push(answer.data.map(({ b64_json }) => b64_json));
        const page = await fetch(`${url}/queues/`);
        const metrics = await (await fetch(`${url}/metrics`)).text();
        if (args.length === 0) expect(metrics).not.toMatch(/bullmq/);
        else {
          expect([page.status, await page.text()]).toEqual([200, expect.stringMatching(/fractalgen/)]);
          const queues = await fetch(`${url}/queues/api/queues?activeQueue=&page=1&jobsPerPage=10`);
          expect(await queues.text()).toMatch(/"name":"fractalgen-[\d.]+-cpu"/);
          expect(metrics).toMatch(/^fractalgen_workers 1$/m);
          expect(metrics).toMatch(/^bullmq_job_count\{queue="fractalgen-.*state="waiting"\} 0$/m);
          const checked = spawnSync("promtool", ["check", "metrics"], { input: metrics, encoding: "utf8" });
          if (!checked.error) expect(checked.stderr).not.toMatch(/error/);
        }
        running.child.kill("SIGTERM");
        const { code, err } = await running.ended;
        expect(code, err).toBe(0);
      }
      expect(answers[1]).toEqual(answers[0]);
      worker.child.kill("SIGTERM");
      await worker.ended;
    },
    240_000,
  );

  it.runIf(thorough)(
    "shows the queue to other machines only if that is allowed",
    async () => {
      for (const [args, status] of [
        [["--host", "0.0.0.0"], 404],
        [["--host", "0.0.0.0", "--show-queues"], 200],
        [["--cors", "https://example.org"], 404],
        [["--allow-host", "example.org"], 404],
        [["--trust-proxy"], 404],
        [["--trust-proxy", "--show-queues"], 200],
      ] as const) {
        const { running, url } = await server(...args, ...queue.options);
        expect((await fetch(`${url.replace("0.0.0.0", "127.0.0.1")}/queues/`)).status).toBe(status);
        running.child.kill("SIGTERM");
        await running.ended;
      }
    },
    120_000,
  );
});
