/** Failures between machines: lost connections to Redis, slow workers, other versions, a full disk, passwords. */

import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { cpSync, mkdirSync, readdirSync, rmSync, statfsSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call } from "../cli/test-call.ts";
import { thorough } from "../test-depth.ts";
import { filesOf, noRedis, startRedis, type TestQueue, testQueue } from "./test-queue.ts";

const minutes = 60_000;

describe.skipIf(noRedis)(`workers${noRedis ? ` (skipped: ${noRedis})` : ""}`, () => {
  let queue: TestQueue;
  const drawing = (out: string, n = 24) =>
    `sample --model ${queue.at("tiny")} -n ${n} --batch 4 --iterations 4,8 --threads 1 --no-preview --each ${queue.at(out)} --out ${queue.at(out)}.png`.split(
      " ",
    );
  const drawn = (out: string) => filesOf(queue.at(out));
  beforeAll(async () => {
    queue = await testQueue();
    await call(...drawing("one"));
  });
  afterAll(() => queue?.end());

  it(
    "and commands wait for a Redis that is restarted, and log a line",
    async () => {
      const worker = queue.worker();
      const run = queue.command(...drawing("restarted"), ...queue.options);
      await worker.says(/"kind":"sample"/);
      await queue.redis.stop();
      await run.says(/lost the connection to Redis at .*; reconnecting/);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await queue.redis.start();
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(err.match(/lost the connection/g)).toHaveLength(1);
      expect(err).toMatch(/reconnected to Redis at /);
      expect(drawn("restarted")).toEqual(drawn("one"));
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "and commands stop while Redis is away, as if it were there",
    async () => {
      const other = { shared: queue.at("no-workers"), redis: await startRedis(queue.at("away")) };
      mkdirSync(other.shared);
      const options = ["--queue", other.redis.url, "--shared", other.shared];
      const idle = queue.worker({ args: options });
      const computing = queue.worker({ args: [...options, "--grace-seconds", "100"] });
      await idle.says(/takes jobs/);
      await computing.says(/takes jobs/);
      const sampling = queue.command(...drawing("away", 4000), ...options);
      await computing.says(/"kind":"sample"/);
      await other.redis.stop();
      for (const one of [idle, computing, sampling]) await one.says(/lost the connection/);
      for (const { child } of [idle, computing]) child.kill("SIGTERM");
      sampling.child.kill("SIGINT");
      const codes = [idle, computing, sampling].map(async ({ ended }) => (await ended).code);
      expect(await Promise.all(codes)).toEqual([0, 0, 130]);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "and commands end with a sentence if Redis cannot hold a queue",
    async () => {
      const full = await startRedis(queue.at("full-redis"), ["--maxmemory", "1kb"]);
      const replica = await startRedis(queue.at("replica"), ["--replicaof", "127.0.0.1", String(queue.redis.port)]);
      try {
        const at = (url: string) => ["--queue", url, "--shared", queue.at("shared")];
        const cases: [string, RegExp][] = [
          [full.url, /^error: --queue: Redis at \S+ has no memory left \(.*OOM.*raise its maxmemory/m],
          [replica.url, /^error: --queue: Redis at \S+ is a replica.*READONLY.*give the URL of its primary/m],
          [`${queue.redis.url}/99`, /^error: --queue: Redis at \S+ refused the connection \(.*DB index/m],
        ];
        const runs = cases.flatMap(([url, says], i) => [
          { running: queue.command(...drawing(`refused-${i}`), ...at(url)), says },
          { running: queue.worker({ args: at(url) }), says },
        ]);
        for (const { running, says } of runs) {
          const { code, err } = await running.ended;
          expect([code, err]).toEqual([2, expect.stringMatching(says)]);
        }
      } finally {
        await full.stop();
        await replica.stop();
      }
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "that wait for a first answer can be stopped",
    async () => {
      const silent = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => silent.once("listening", resolve));
      const { port } = silent.address() as { port: number };
      const connected = new Promise((resolve) => silent.once("connection", resolve));
      const worker = queue.worker({ args: ["--queue", `redis://127.0.0.1:${port}`] });
      await connected;
      worker.child.kill("SIGTERM");
      const { code, err } = await worker.ended;
      silent.close();
      expect([code, err]).toEqual([143, expect.stringMatching(/^stopped$/m)]);
    },
    60_000,
  );

  it.runIf(thorough)(
    "end if there is no Redis",
    async () => {
      const { code, err } = await queue.worker({ args: ["--queue", "redis://127.0.0.1:1"] }).ended;
      expect([code, err]).toEqual([2, expect.stringMatching(/--queue: Redis at \S+ does not answer \(ECONNREFUSED\)/)]);
    },
    60_000,
  );

  it.runIf(thorough)(
    "whose folders are wrong leave a failed job to others",
    async () => {
      const elsewhere = queue.at("elsewhere");
      mkdirSync(elsewhere);
      const wrong = queue.worker({ args: ["--shared", elsewhere] });
      await wrong.says(/takes jobs/);
      const run = queue.command(...drawing("elsewhere", 4), ...queue.options);
      await wrong.says(/"kind":"sample".*is missing/);
      const right = queue.worker();
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      for (const { child } of [wrong, right]) child.kill("SIGTERM");
      expect([(await wrong.ended).code, (await right.ended).code]).toEqual([0, 0]);
      const file = await queue.worker({ args: ["--cache", join(queue.at("tiny"), "config.json")] }).ended;
      expect([file.code, file.err]).toEqual([2, expect.stringMatching(/cannot write/)]);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "that are slow, or asleep for a while, change nothing",
    async () => {
      const [slow, quick] = [queue.worker(), queue.worker()];
      const run = queue.command(...drawing("slow"), ...queue.options);
      await slow.says(/"kind":"sample"/);
      slow.child.kill("SIGSTOP");
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(drawn("slow")).toEqual(drawn("one"));
      slow.child.kill("SIGCONT");
      for (const { child } of [slow, quick]) child.kill("SIGTERM");
      expect([(await slow.ended).code, (await quick.ended).code]).toEqual([0, 0]);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "return their job to the queue when they are stopped without grace",
    async () => {
      const first = queue.worker({ args: ["--grace-seconds", "0"] });
      const run = queue.command(...drawing("given"), ...queue.options);
      await first.says(/"kind":"sample"/);
      first.child.kill("SIGTERM");
      expect((await first.ended).code).toBe(0);
      const second = queue.worker();
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(drawn("given")).toEqual(drawn("one"));
      second.child.kill("SIGTERM");
      await second.ended;
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "of another version get no jobs, and both sides report it",
    async () => {
      const other = queue.at("other");
      const build = process.env["FRACTALGEN_BUILD"]!;
      mkdirSync(other);
      cpSync(join(build, "dist"), join(other, "dist"), { recursive: true });
      for (const name of ["node_modules", "models"]) symlinkSync(join(build, name), join(other, name));
      writeFileSync(join(other, "package.json"), JSON.stringify({ name: "fractalgen", version: "9.9.9", type: "module" })); // prettier-ignore
      const misfit = queue.worker({ main: join(other, "dist/cli/main.js") });
      await misfit.says(/version 9\.9\.9, takes jobs/);
      const run = queue.command(...drawing("versions"), ...queue.options);
      await run.says(/the worker \S+ has version 9\.9\.9 and this command \d/);
      await misfit.says(/has version \d\S* and this worker 9\.9\.9, so it cannot run that command's jobs/);
      await run.says(/waiting for workers of version \d/);
      const fit = queue.worker();
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(drawn("versions")).toEqual(drawn("one"));
      for (const { child } of [misfit, fit]) child.kill("SIGTERM");
      expect((await misfit.ended).out).toBe("");
      await fit.ended;
    },
    3 * minutes,
  );

  it.runIf(thorough)("keep passwords to themselves, and warn of a Redis that drops keys", async () => {
    const redis = await startRedis(queue.at("locked"), ["--requirepass", "sesam", "--maxmemory-policy", "allkeys-lru"]);
    try {
      const address = (password: string) => `redis://:${password}@127.0.0.1:${redis.port}`;
      const options = (password: string) => ["--queue", address(password), "--shared", queue.at("shared")];
      const wrong = await call(...drawing("locked-out"), ...options("pssst"));
      expect([wrong.code, wrong.err]).toEqual([
        2,
        expect.stringMatching(/--queue: Redis at .* refused the connection/),
      ]);
      expect(wrong.err).not.toMatch(/pssst/);
      const run = queue.command(...drawing("locked-out"), ...options("sesam"));
      await run.says(/maxmemory-policy allkeys-lru, which can drop jobs/);
      await run.says(/waiting for workers/);
      run.child.kill("SIGINT");
      expect((await run.ended).err).not.toMatch(/sesam/);
    } finally {
      await redis.stop();
    }
  });

  it.each(["http://host", "redis://", "host:6379", "redis://host/name"])("are not found at %s", async (url) => {
    const { code, err } = await call(...drawing("nowhere"), "--queue", url, "--shared", queue.at("shared"));
    expect([code, err]).toEqual([2, expect.stringMatching(/--queue: expected a URL such as redis:/)]);
  });

  const noMount =
    process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0 ? undefined : "it takes root to mount";
  it.skipIf(!thorough || noMount)(
    `fail on a full shared folder, and the same command resumes when there is room${noMount ? ` (skipped: ${noMount})` : ""}`,
    async ({ skip }) => {
      const shared = queue.at("small");
      mkdirSync(shared);
      if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", shared]).status !== 0) return skip();
      try {
        const options = ["--queue", queue.redis.url, "--shared", shared];
        const worker = queue.worker({ args: ["--shared", shared] });
        // Copies the model into the folder while there is space.
        await call(...drawing("before", 1), ...options);
        const { bavail, bsize } = statfsSync(shared);
        for (let left = bavail * bsize, i = 0; left > 0; left -= 65536, i++) {
          try {
            writeFileSync(join(shared, `filler-${i}`), Buffer.alloc(65536));
          } catch {
            break;
          }
        }
        const { code, err } = await queue.command(...drawing("full", 8), ...options).ended;
        expect([code, err]).toEqual([2, expect.stringMatching(/images \d+ to \d+ failed three times.*(space|full)/i)]);
        for (const name of readdirSync(shared)) if (name.startsWith("filler")) rmSync(join(shared, name));
        const second = await queue.command(...drawing("full", 8), ...options).ended;
        expect(second.code, second.err).toBe(0);
        await call(...drawing("one-8", 8));
        expect(drawn("full")).toEqual(drawn("one-8"));
        worker.child.kill("SIGTERM");
        await worker.ended;
      } finally {
        spawnSync("umount", ["-l", shared]);
      }
    },
    4 * minutes,
  );
});
