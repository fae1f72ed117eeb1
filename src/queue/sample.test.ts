/** Images drawn by workers, against the same images drawn by one process. */

import { setTimeout as sleep } from "node:timers/promises";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call } from "../cli/test-call.ts";
import { filesOf, kills, killing, noRedis, type TestQueue, testQueue } from "./test-queue.ts";
import { thorough } from "../test-depth.ts";

const minutes = 60_000;

describe.skipIf(noRedis)(`sample on workers${noRedis ? ` (skipped: ${noRedis})` : ""}`, () => {
  let queue: TestQueue;
  const drawing = (out: string, n = 8 + 8 * kills) => [
    ..."sample --batch 2 --iterations 4,8 --seed 3 --threads 1 --no-preview".split(" "),
    ...`-n ${n} --model ${queue.at("tiny")} --each ${queue.at(out)} --out ${queue.at(`${out}.png`)}`.split(" "),
  ];
  beforeAll(async () => {
    queue = await testQueue();
    await call(...drawing("one"));
    // What a command left that was killed long ago; the next one removes it.
    mkdirSync(queue.at("shared/areas/run-killed/0"), { recursive: true });
    utimesSync(queue.at("shared/areas/run-killed"), 1, 1);
  });
  afterAll(() => queue?.end());

  const counts = async () => {
    const { Redis } = await import("ioredis");
    const { Queue } = await import("bullmq");
    const { version } = await import("../cli/version.ts");
    const { queueName } = await import("./names.ts");
    const connection = new Redis(queue.redis.port, { maxRetriesPerRequest: null });
    const jobs = new Queue(queueName({ version, device: "cpu" }), { connection, prefix: "fractalgen" });
    const found = await jobs.getJobCounts();
    await jobs.close();
    connection.disconnect();
    return Object.values(found).reduce((sum, count) => sum + count, 0);
  };

  it(
    "writes the same files, whichever workers are killed",
    async () => {
      const run = queue.command(...drawing("many"), ...queue.options);
      expect(await killing(queue, run.ended)).toBe(kills);
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(filesOf(queue.at("many"))).toEqual(filesOf(queue.at("one")));
      expect(readFileSync(queue.at("many.png"))).toEqual(readFileSync(queue.at("one.png")));
      expect(await counts()).toBe(0);
      expect(readdirSync(queue.at("shared/areas"))).toEqual([]);
    },
    (2 + kills) * minutes,
  );

  it.runIf(thorough)(
    "resumes after Ctrl-C from the finished images, and leaves the queue clean",
    async () => {
      const worker = queue.worker();
      const first = queue.command(...drawing("stopped"), ...queue.options);
      await worker.says(/"kind":"sample"/);
      await worker.says(/"kind":"sample".*\n.*"kind":"sample"/);
      first.child.kill("SIGINT");
      const { code, err } = await first.ended;
      expect([code, err]).toEqual([
        130,
        expect.stringMatching(/stopped; repeat the command to resume from the images/),
      ]);
      expect(await counts()).toBe(0);
      const kept = filesOf(queue.at("stopped"));
      expect(Object.keys(kept)).toContain(".unfinished.json");
      expect((await call(...drawing("stopped", 9 + 8 * kills), ...queue.options)).err).toMatch(
        /--each: .* a different model, seed/,
      );
      const second = await queue.command(...drawing("stopped"), ...queue.options).ended;
      expect(second.code, second.err).toBe(0);
      expect(filesOf(queue.at("stopped"))).toEqual(filesOf(queue.at("one")));
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "resumes when the command was killed",
    async () => {
      const worker = queue.worker();
      const first = queue.command(...drawing("killed"), ...queue.options);
      await worker.says(/"kind":"sample".*\n.*"kind":"sample"/);
      first.child.kill("SIGKILL");
      await first.ended;
      const second = await queue.command(...drawing("killed"), ...queue.options).ended;
      expect(second.code, second.err).toBe(0);
      expect(filesOf(queue.at("killed"))).toEqual(filesOf(queue.at("one")));
      worker.child.kill("SIGTERM");
      await worker.ended;
    },
    3 * minutes,
  );

  it.runIf(thorough)("ends whenever it is stopped while it starts", async () => {
    const { Redis } = await import("ioredis");
    const client = new Redis(queue.redis.port);
    const before = await client.keys("fractalgen:run:*"); // a killed command's heartbeat lasts for 30 s
    for (const ms of [200, 300, 400, 500, 600, 700, 800]) {
      const command = queue.command(...drawing(`early-${ms}`), ...queue.options);
      await sleep(ms);
      command.child.kill("SIGTERM");
      expect((await command.ended).code).toBe(143);
    }
    const after = await client.keys("fractalgen:run:*");
    expect(after.filter((key) => !before.includes(key))).toEqual([]);
    client.disconnect();
  });

  it("refuses two commands on one folder, and a shared folder that does not exist", async () => {
    const first = queue.command(...drawing("two"), ...queue.options);
    await expect.poll(() => existsSync(queue.at("two/.owner")), { timeout: 60_000 }).toBe(true);
    const second = await call(...drawing("two"), ...queue.options);
    expect([second.code, second.err]).toEqual([2, expect.stringMatching(/is in use by process/)]);
    first.child.kill("SIGTERM");
    expect((await first.ended).code).toBe(143);
    rmSync(queue.at("two"), { recursive: true, force: true });
    const lost = await call(...drawing("lost"), "--queue", queue.redis.url, "--shared", queue.at("missing"));
    expect([lost.code, lost.err]).toEqual([2, expect.stringMatching(/--shared: expected a folder/)]);
    const alone = await call(...drawing("lost"), "--queue", queue.redis.url);
    expect([alone.code, alone.err]).toEqual([2, expect.stringMatching(/--shared: expected/)]);
    expect(existsSync(queue.at("lost"))).toBe(false);
  });
});
