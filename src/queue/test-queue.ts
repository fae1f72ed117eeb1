/** A real Redis and real workers, for tests of what happens between processes. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { type Running, started } from "../cli/test-run.ts";
import { writeModelFolder } from "../files/model.ts";
import { thorough } from "../test-depth.ts";
import { built } from "../test-program.ts";
import { startingState } from "../train/state.ts";
import { tinyModel } from "../train/tiny.ts";

/** Why tests with Redis are skipped; undefined if they run. */
export const noRedis: string | undefined = spawnSync("redis-server", ["--version"]).error
  ? "redis-server is not installed"
  : undefined;

/** Kills of workers in each test. */
export const kills = Number(process.env["FRACTALGEN_TEST_KILLS"] ?? (thorough ? 20 : 2));

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface TestRedis {
  url: string;
  port: number;
  /** Starts it again after `stop`. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A Redis with an append-only file in a folder. */
export async function startRedis(folder: string, options: readonly string[] = []): Promise<TestRedis> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  let child: ChildProcess;
  const redis: TestRedis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const args = [
        "--port",
        String(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--dir",
        folder,
      ];
      child = spawn("redis-server", [...args, "--appendfsync", "always", ...options], { stdio: "ignore" });
      const ready = () =>
        spawnSync("redis-cli", ["-p", String(port), "ping"], { encoding: "utf8" }).stdout.match(/PONG|NOAUTH/);
      while (!ready()) await new Promise((resolve) => setTimeout(resolve, 50));
    },
    async stop() {
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await ended;
    },
  };
  await redis.start();
  return redis;
}

export interface TestQueue {
  folder: string;
  redis: TestRedis;
  at(name: string): string;
  /** The options of a command that uses the queue. */
  options: string[];
  /** Starts a worker, in the build or in another folder with a build. */
  worker(options?: { args?: string[]; main?: string }): Running;
  /** Starts a command. */
  command(...args: string[]): Running;
  /** Starts a command or worker with more environment variables. */
  withEnvironment(env: Record<string, string>, ...args: string[]): Running;
  /** Ends everything that was started. */
  end(): Promise<void>;
}

/** Redis, a shared folder and a tiny model in `tiny/`. */
export async function testQueue(redisOptions: readonly string[] = []): Promise<TestQueue> {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-queue-"));
  const at = (name: string) => join(folder, name);
  const redis = await startRedis(at("redis"), redisOptions);
  mkdirSync(at("shared"));
  await writeTinyModel(at("tiny"));
  const running: Running[] = [];
  const start = (main: string, args: string[], env: Record<string, string> = {}): Running => {
    const one = started(process.execPath, [main, ...args], { cwd: folder, env: { ...process.env, ...env } });
    running.push(one);
    return one;
  };
  const options = ["--queue", redis.url, "--shared", at("shared")];
  let workers = 0;
  return {
    folder,
    redis,
    at,
    options,
    worker: ({ args = [], main = built("cli/main") } = {}) => {
      const usual = ["--cache", at(`cache-${workers++}`), "--threads", "1", "--json", "--stalled-seconds", "4"];
      return start(main, ["worker", ...options, ...usual, ...args]);
    },
    command: (...args) => start(built("cli/main"), args),
    withEnvironment: (env, ...args) => start(built("cli/main"), args, env),
    async end() {
      for (const { child } of running) child.kill("SIGKILL");
      await Promise.all(running.map(({ ended }) => ended));
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A tiny model in a folder. */
export async function writeTinyModel(folder: string): Promise<void> {
  const model = tinyModel();
  mkdirSync(folder);
  await writeModelFolder(folder, model, startingState(model, 1, { ema: 0 }).values);
}

/** Pictures of two classes for the tiny model. */
export async function writePictures(folder: string, count = 40): Promise<void> {
  for (const [label, name] of ["dark", "light"].entries()) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      const data = Uint8Array.from({ length: 192 }, (_, n) => 130 * label + ((n * (7 + 3 * i + label)) % 100));
      const raw = { width: 8, height: 8, channels: 3 } as const;
      await sharp(data, { raw })
        .png()
        .toFile(join(folder, name, `${i}.png`));
    }
  }
}

/**
 * Kills workers during jobs, at random moments that follow from a seed, and starts others in their place. Returns when the
 * work is over, with the number of kills. Workers run for some milliseconds at a time, so that the work does not end before
 * the last kill, and Redis can be asked who has a job. Between two kills at least one job is done, or the work would never
 * end on a slow machine.
 */
export async function killing(
  queue: TestQueue,
  work: Promise<unknown>,
  { times = kills, seed = 1 } = {},
): Promise<number> {
  const { Redis } = await import("ioredis");
  const redis = new Redis(queue.redis.port);
  let over = false;
  void work.finally(() => (over = true)).catch(() => {});
  const ready = async (...args: string[]) => {
    const worker = queue.worker({ args });
    await worker.says(/takes jobs/);
    worker.child.kill("SIGSTOP");
    return worker;
  };
  const isWorking = async ({ child }: Running) => {
    for (const key of await redis.keys("fractalgen:*:active"))
      for (const id of await redis.lrange(key, 0, -1))
        if ((await redis.hget(key.replace(/active$/, id), "pb"))?.endsWith(`:${child.pid}`)) return true;
    return false;
  };
  // Results do not depend on the threads of a worker.
  let workers: Running[] = await Promise.all([ready(), ready("--threads", "2")]);
  const all = (signal: NodeJS.Signals) => workers.forEach(({ child }) => child.kill(signal));
  const jobs = () => workers.reduce((sum, worker) => sum + (worker.printed().match(/"kind"/g)?.length ?? 0), 0);
  let random = seed;
  let killed = 0;
  for (let before = 0; killed < times && !over;) {
    random = (random * 48271) % 2147483647;
    all("SIGCONT");
    await sleep(1 + (random % 30));
    all("SIGSTOP");
    if (jobs() <= before) continue;
    for (const victim of random % 2 ? workers : workers.toReversed()) {
      if (!(await isWorking(victim))) continue;
      victim.child.kill("SIGKILL");
      killed++;
      workers = [...workers.filter((worker) => worker !== victim), await ready()];
      before = jobs();
      break;
    }
  }
  all("SIGCONT");
  await work;
  all("SIGTERM");
  redis.disconnect();
  return killed;
}

/** What redis-cli prints, line by line. */
export const asked = ({ port }: TestRedis, ...command: string[]): string[] =>
  spawnSync("redis-cli", ["-p", String(port), ...command], { encoding: "utf8" })
    .stdout.split("\n")
    .filter((line) => line !== "");

/** The files of a folder by name, to compare folders. */
export const filesOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name), "base64")]),
  );
