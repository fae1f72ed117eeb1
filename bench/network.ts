/**
 * A network of a given latency and rate on one machine: a network namespace behind a pair of virtual devices, whose
 * traffic `tc` shapes, and the shared folder mounted there by sshfs. Needs root, iproute2, sshfs and sshd, on Linux.
 */

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
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
  /** This machine, as seen from the other end. */
  address: string;
  /** A command that runs another one at the other end, with the shared folder mounted where it is here. */
  command(program: string, args: string[]): [string, string[]];
  /** What this machine cannot emulate, for the name of a result. */
  without: string;
  close(): Promise<void>;
}

const [namespace, here, there] = ["fractalgen", "fractalgen0", "fractalgen1"];
const [address, other] = ["10.213.0.1", "10.213.0.2"];
const sshPort = "22022";

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

/** Opens the network. Throws a UserError if this machine has not what it takes. */
export async function openLink({ latencyMs, megabits }: Network, shared: string, folder: string): Promise<Link> {
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
  // Some kernels have no netem; a token bucket limits the rate alone.
  const delayed = shape(netem);
  if (!delayed) {
    attempt("tc", "qdisc", "del", "dev", here, "root");
    if (!shape(bucket)) throw new UserError("tc can shape no traffic here: the kernel has neither netem nor tbf");
  }

  const keys = join(folder, "ssh");
  mkdirSync(keys, { recursive: true });
  for (const name of ["host", "user"])
    if (!attempt("test", "-f", join(keys, name)))
      run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(keys, name));
  copyFileSync(join(keys, "user.pub"), join(keys, "authorized"));
  chmodSync(keys, 0o700);
  const config = `Port ${sshPort}\nListenAddress ${address}\nHostKey ${join(keys, "host")}\nAuthorizedKeysFile ${join(keys, "authorized")}\nStrictModes no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n`;
  writeFileSync(join(keys, "sshd_config"), config);
  mkdirSync("/run/sshd", { recursive: true });
  const sshd = spawn("/usr/sbin/sshd", ["-D", "-f", join(keys, "sshd_config")], { stdio: "ignore" });
  await sleep(500);
  const options = `port=${sshPort},IdentityFile=${join(keys, "user")},StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,dir_cache=no`;
  // Each `ip netns exec` has mounts of its own.
  const mounting = `sshfs -o ${options} root@${address}:${shared} ${shared} && exec "$@"`;
  return {
    address,
    without: delayed ? "" : " (rate only)",
    command: (program, args) => ["ip", inside("sh", "-c", mounting, "sh", program, ...args)],
    async close() {
      for (const pid of execFileSync("ip", ["netns", "pids", namespace], { encoding: "utf8" }).split("\n"))
        if (pid) attempt("kill", pid); // sshfs, which goes on in the background
      sshd.kill();
      attempt("ip", "netns", "del", namespace);
      attempt("ip", "link", "del", here);
    },
  };
}
