/**
 * `npm run bench -- distributed`: what workers and the network between them cost in training by rounds. Workers take
 * turns on the cores in short slots, so that each has the same share of a core whatever their number.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Link, openLink, type Network } from "./network.ts";
import { commandLine, recordsOf, trained } from "./train-command.ts";

export interface DistributedBench {
  workers: number[];
  roundSteps: number;
  rounds: number;
  /** Default: the preset's. */
  batch?: number;
  network?: boolean;
  cache: string;
  json?: boolean;
}

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
  try {
    const port = await freePort();
    start("redis-server", ["--port", String(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]);
    const shared = join(folder, "shared");
    mkdirSync(shared);
    const results: Measured[] = [];
    let [alone, runs] = [0, 0];
    const links: (Network | undefined)[] = [undefined, ...(options.network ? networks : [])];
    for (const network of links) {
      link = network && (await openLink(network, { shared, folder, redisPort: port }));
      // The more workers, the more a network costs.
      for (const workers of link ? [Math.max(...options.workers)] : options.workers) {
        const result = await measured(workers, link);
        if (network === undefined && workers === 1) alone = result.secondsPerRound;
        const named = network && `${network.latencyMs} ms, ${network.megabits} Mbit/s${link!.note}`;
        results.push({ workers, network: named, ...result, efficiency: alone / result.secondsPerRound });
        if (!options.json) console.log(lineOf(results.at(-1)!));
      }
      await link?.close();
      link = undefined;
    }
    if (options.json) console.log(JSON.stringify({ results }));

    async function measured(count: number, link?: Link) {
      const queue = ["--queue", `redis://${link?.redis ?? `127.0.0.1:${port}`}`, "--shared"];
      const running = Array.from({ length: count }, (_, i) => {
        const args = [...queue, shared, "--cache", join(folder, `cache-${i}`), "--threads", "1"];
        return link
          ? start(...link.command(process.execPath, commandLine("worker", ...args)))
          : start(process.execPath, commandLine("worker", ...args));
      });
      const turns = inTurns(running, Math.max(...options.workers));
      const local = ["--queue", `redis://127.0.0.1:${port}`, "--shared", shared];
      const out = join(folder, `run-${runs++}`);
      const { roundSteps, batch, cache } = options;
      const rounding = ["--replicas", String(count), "--round-steps", String(roundSteps)];
      const batches = batch === undefined ? [] : ["--batch", String(batch)];
      const steps = (options.rounds + 1) * roundSteps;
      // Fewer held-out images start sooner.
      const args = [...rounding, ...batches, "--sets", "noto", "--threads", "1", ...local];
      await trained({ out, steps, cache }, args, (child) => processes.push(child));
      turns.stop();
      for (const child of running) {
        child.kill("SIGTERM");
        await once(child, "close");
      }
      const rounds = recordsOf<Round>(out, "round").slice(1);
      const middle = (of: (one: Round) => number) =>
        rounds.map(of).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)];
      return {
        secondsPerRound: middle(({ seconds }) => seconds),
        megabytesPerRound: middle(({ read, written }) => (read + written) / 1e6),
      };
    }
  } finally {
    await end();
  }
}

interface Round {
  seconds: number;
  read: number;
  written: number;
}

const slotMs = 25;
/** The share of a slot that is left to the command, to Redis and to the network. */
const idleShare = 0.1;

/** Lets as many workers as there are cores run at a time, in slots that would be enough for `most` workers. */
function inTurns(children: readonly ChildProcess[], most: number): { stop(): void } {
  const cores = availableParallelism();
  const slots = Math.ceil(most / cores);
  const inSlot = (slot: number) => children.slice(slot * cores, (slot + 1) * cores);
  if (slots === 1) return { stop: () => {} };
  const signal = (some: readonly ChildProcess[], name: NodeJS.Signals) => {
    for (const child of some) child.kill(name);
  };
  signal(children, "SIGSTOP");
  let timer: NodeJS.Timeout;
  const next = (slot: number) => {
    signal(inSlot(slot), "SIGCONT");
    timer = setTimeout(
      () => {
        signal(inSlot(slot), "SIGSTOP");
        timer = setTimeout(() => next((slot + 1) % slots), idleShare * slotMs);
      },
      (1 - idleShare) * slotMs,
    );
  };
  next(0);
  return {
    stop() {
      clearTimeout(timer);
      signal(children, "SIGCONT");
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
