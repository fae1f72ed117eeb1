/**
 * A network of a given latency and rate on one machine: a network namespace behind a pair of virtual devices, whose
 * traffic `tc` shapes, and the shared folder mounted there by sshfs. Kernels without netem cannot delay packets; there a
 * relay delays the bytes of every connection instead. Needs root, iproute2, sshfs and sshd, on Linux.
 */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../src/core/errors.ts";

export interface Network {
  /** Round trip. */
  latencyMs: number;
  megabits: number;
}

/** An open network. */
export interface Link {
  /** This machine's address and Redis's port, as seen from the other end. */
  redis: string;
  /** A command that runs another one at the other end, with the shared folder mounted where it is here. */
  command(program: string, args: string[]): [string, string[]];
  /** How packets are delayed, if not by netem, for the name of a result. */
  note: string;
  close(): Promise<void>;
}

const [namespace, here, there] = ["fractalgen", "fractalgen0", "fractalgen1"];
const [address, other] = ["10.213.0.1", "10.213.0.2"];
const sshPort = 22022;
/** Ports of the relays on this machine. */
const relayed = { ssh: 22023, redis: 22024 };

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
}

function attempt(command: string, ...args: string[]): boolean {
  try {
    run(command, ...args);
    return true;
  } catch {
    return false;
  }
}

/** As many bytes wait in a relay as a connection of 1000 Mbit/s and 50 ms has on its way. */
const mostWaiting = 8 << 20;

/** Copies bytes from one socket to the other, each `delayMs` after it came. */
function copyDelayed(from: Socket, to: Socket, delayMs: number): void {
  let waiting = 0;
  const done = (bytes: number) => {
    waiting -= bytes;
    if (waiting < mostWaiting) from.resume();
  };
  from.on("data", (chunk) => {
    waiting += chunk.length;
    if (waiting >= mostWaiting) from.pause();
    setTimeout(() => to.write(chunk, () => done(chunk.length)), delayMs);
  });
  from.on("end", () => setTimeout(() => to.end(), delayMs));
  from.on("error", () => to.destroy());
}

/** Forwards connections from a port of the link to one of this machine, delaying both directions by half of a round trip. */
async function relay(port: number, target: number, latencyMs: number): Promise<Server> {
  const server = createServer((there) => {
    const here = connect({ port: target, host: "127.0.0.1", noDelay: true });
    there.setNoDelay(true);
    copyDelayed(there, here, latencyMs / 2);
    copyDelayed(here, there, latencyMs / 2);
  });
  await once(server.listen(port, address), "listening");
  return server;
}

/** Opens the network between this machine, with Redis at `redisPort`, and a namespace. Throws a UserError without the tools. */
export async function openLink(
  { latencyMs, megabits }: Network,
  { shared, folder, redisPort }: { shared: string; folder: string; redisPort: number },
): Promise<Link> {
  if (process.getuid?.() !== 0 || !["ip", "tc", "sshfs", "ssh-keygen"].every((tool) => attempt("which", tool)))
    throw new UserError("a shaped network takes root and the packages iproute2, sshfs and openssh-server");
  const inside = (...args: string[]) => ["netns", "exec", namespace, ...args];
  attempt("ip", "netns", "del", namespace);
  attempt("ip", "link", "del", here);
  run("ip", "netns", "add", namespace);
  run("ip", "link", "add", here, "type", "veth", "peer", "name", there);
  run("ip", "link", "set", there, "netns", namespace);
  run("ip", "addr", "add", `${address}/24`, "dev", here);
  run("ip", "link", "set", here, "up");
  run("ip", ...inside("ip", "addr", "add", `${other}/24`, "dev", there));
  run("ip", ...inside("ip", "link", "set", there, "up"));
  run("ip", ...inside("ip", "link", "set", "lo", "up"));
  const rate = ["rate", `${megabits}mbit`];
  const netem = ["root", "netem", "delay", `${latencyMs / 2}ms`, ...rate, "limit", "100000"];
  const bucket = ["root", "tbf", ...rate, "burst", "256kb", "latency", "400ms"];
  const shape = (qdisc: string[]) =>
    attempt("tc", "qdisc", "add", "dev", here, ...qdisc) &&
    attempt("ip", ...inside("tc", "qdisc", "add", "dev", there, ...qdisc));
  const byNetem = shape(netem);
  if (!byNetem) {
    attempt("tc", "qdisc", "del", "dev", here, "root");
    if (!shape(bucket)) throw new UserError("tc can shape no traffic here: the kernel has neither netem nor tbf");
  }
  const relays = byNetem
    ? []
    : [await relay(relayed.ssh, sshPort, latencyMs), await relay(relayed.redis, redisPort, latencyMs)];

  const keys = join(folder, "ssh");
  mkdirSync(keys, { recursive: true });
  for (const name of ["host", "user"])
    if (!attempt("test", "-f", join(keys, name)))
      run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(keys, name));
  copyFileSync(join(keys, "user.pub"), join(keys, "authorized"));
  chmodSync(keys, 0o700);
  const config = `Port ${sshPort}\nListenAddress 0.0.0.0\nHostKey ${join(keys, "host")}\nAuthorizedKeysFile ${join(keys, "authorized")}\nStrictModes no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n`;
  writeFileSync(join(keys, "sshd_config"), config);
  mkdirSync("/run/sshd", { recursive: true });
  const sshd = spawn("/usr/sbin/sshd", ["-D", "-f", join(keys, "sshd_config")], { stdio: "ignore" });
  await sleep(500);
  const options = `port=${byNetem ? sshPort : relayed.ssh},IdentityFile=${join(keys, "user")},StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,dir_cache=no`;
  // Each `ip netns exec` has mounts of its own.
  const mounting = `sshfs -o ${options} root@${address}:${shared} ${shared} && exec "$@"`;
  return {
    redis: `${address}:${byNetem ? redisPort : relayed.redis}`,
    note: byNetem ? "" : " (delayed by a relay)",
    command: (program, args) => ["ip", inside("sh", "-c", mounting, "sh", program, ...args)],
    async close() {
      for (const pid of execFileSync("ip", ["netns", "pids", namespace], { encoding: "utf8" }).split("\n"))
        if (pid) attempt("kill", pid); // sshfs, which goes on in the background
      for (const server of relays) server.close();
      sshd.kill();
      attempt("ip", "netns", "del", namespace);
      attempt("ip", "link", "del", here);
    },
  };
}
