/**
 * `npm run bench -- distributed`: what workers and the network between them cost in training by rounds, and what replicas
 * cost in likelihood. Every worker has the same share of a core, so that several on a few cores are as fast as one.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../src/core/errors.ts";
import { type Link, openLink, type Network } from "./network.ts";

export interface DistributedBench {
  workers: number[];
  roundSteps: number;
  rounds: number;
  batch: number;
  network?: boolean;
  likelihood?: number;
  cache: string;
  json?: boolean;
}

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

/** Networks that are measured. */
const networks: Network[] = [1, 50].flatMap((latencyMs) => [100, 1000].map((megabits) => ({ latencyMs, megabits })));

interface Measured {
  workers: number;
  network?: string;
  /** Median over the rounds after the first. */
  secondsPerRound: number;
  megabytesPerRound: number;
  /** Time of one worker with one replica, divided by this time. */
  efficiency: number;
}

export async function benchDistributed(options: DistributedBench): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-bench-"));
  const processes: ChildProcess[] = [];
  let link: Link | undefined;
  const end = async () => {
    for (const child of processes) child.kill("SIGKILL");
    await link?.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const start = (command: string, args: string[]) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    processes.push(child);
    return child;
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, async () => {
      await end();
      process.kill(process.pid, signal);
    });
  const program = (...args: string[]) => ["--import", "tsx", main, ...args];
  try {
    const port = await freePort();
    start("redis-server", ["--port", String(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]);
    const shared = join(folder, "shared");
    mkdirSync(shared);
    const results: Measured[] = [];
    let alone = 0;
    const links: (Network | undefined)[] = [undefined, ...(options.network ? networks : [])];
    for (const network of links) {
      link = network && (await openLink(network, shared, folder));
      for (const workers of options.workers) {
        const result = await measured(workers, link);
        if (network === undefined && workers === 1) alone = result.secondsPerRound;
        const named = network && `${network.latencyMs} ms, ${network.megabits} Mbit/s${link!.without}`;
        results.push({ workers, network: named, ...result, efficiency: alone / result.secondsPerRound });
        if (!options.json) console.log(lineOf(results.at(-1)!));
      }
      await link?.close();
      link = undefined;
    }
    const bits = options.likelihood === undefined ? undefined : await likelihoods(options.likelihood);
    if (options.json) console.log(JSON.stringify({ results, bits }));
    else if (bits) console.log(bits.map((one) => `${one.name}: ${one.bits.toFixed(3)} bits/dim held out`).join("\n"));

    async function measured(count: number, link?: Link) {
      const queue = ["--queue", `redis://${link?.address ?? "127.0.0.1"}:${port}`, "--shared"];
      const duty = Math.min(1, (0.9 * availableParallelism()) / Math.max(...options.workers));
      const running = Array.from({ length: count }, (_, i) => {
        const args = [...queue, shared, "--cache", join(folder, `cache-${i}`), "--threads", "1"];
        const worker = link
          ? start(...link.command(process.execPath, program("worker", ...args)))
          : start(process.execPath, program("worker", ...args));
        return throttled(worker, duty);
      });
      const local = ["--queue", `redis://127.0.0.1:${port}`, "--shared", shared];
      const out = join(folder, `run-${count}-${link?.address ?? "local"}-${Math.random()}`);
      await trained(out, options.rounds + 1, ["--replicas", String(count), ...local]);
      for (const { child, stop } of running) {
        stop();
        child.kill("SIGTERM");
        await once(child, "close");
      }
      const rounds = recordsOf(out, "round").slice(1);
      const middle = (of: (one: Round) => number) =>
        rounds.map(of).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)];
      return {
        secondsPerRound: middle(({ seconds }) => seconds),
        megabytesPerRound: middle(({ read, written }) => (read + written) / 1e6),
      };
    }

    async function trained(out: string, rounds: number, more: string[]): Promise<void> {
      const { roundSteps, batch, cache } = options;
      const steps = ["--steps", String(rounds * roundSteps), "--round-steps", String(roundSteps)];
      const how = ["--batch", String(batch), "--threads", "1", "--no-samples", "--json", "--cache", cache];
      const child = start(
        process.execPath,
        program("train", "--data", "emoji", "--out", out, ...steps, ...how, ...more),
      );
      child.stdout!.resume();
      const [code] = (await once(child, "close")) as [number];
      if (code !== 0) throw new UserError(`training ended with ${code}`);
    }

    /** Held-out bits per dimension after the same number of images. */
    async function likelihoods(images: number) {
      const { roundSteps, batch } = options;
      const found = [];
      const kinds = [["1"], ["4"], ["4", "--differences", "float16"], ["4", "--differences", "int8"]];
      for (const [replicas, ...more] of kinds) {
        const out = join(folder, `likelihood-${replicas}-${more.at(-1) ?? ""}`);
        const rounds = Math.ceil(images / batch / Number(replicas) / roundSteps);
        await trained(out, rounds, ["--replicas", replicas, ...more]);
        const { bits } = recordsOf(out, "evaluation").at(-1)!;
        found.push({ name: [`${replicas} replicas`, more.at(-1) ?? ""].join(" ").trim(), bits });
      }
      return found;
    }
  } finally {
    await end();
  }
}

interface Round {
  seconds: number;
  read: number;
  written: number;
  bits: number;
}

const recordsOf = (out: string, kind: string): Round[] =>
  readFileSync(join(out, "log.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Round & { kind: string })
    .filter((record) => record.kind === kind);

const periodMs = 50;

/** Lets a process run for a share of every period only. */
function throttled(child: ChildProcess, duty: number): { child: ChildProcess; stop(): void } {
  if (duty >= 1) return { child, stop: () => {} };
  let timer = setTimeout(pause, duty * periodMs);
  function pause(): void {
    child.kill("SIGSTOP");
    timer = setTimeout(go, (1 - duty) * periodMs);
  }
  function go(): void {
    child.kill("SIGCONT");
    timer = setTimeout(pause, duty * periodMs);
  }
  return {
    child,
    stop() {
      clearTimeout(timer);
      child.kill("SIGCONT");
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

const lineOf = ({ workers, network = "local", secondsPerRound, megabytesPerRound, efficiency }: Measured): string =>
  `${workers} workers, ${network}: ${secondsPerRound.toFixed(1)} s and ${megabytesPerRound.toFixed(0)} MB a round, ${efficiency.toFixed(2)} of linear speed`;
