/** Ownership of a path with several competing processes, killed ones, and remote ones. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { seedKey, uniform } from "../core/random.ts";
import { thorough } from "../test-depth.ts";
import { builtUrl } from "../test-program.ts";
import { claim, own } from "./ownership.ts";
import { stateOf, thisProcess } from "./process.ts";

let dir = "";
const children: ChildProcess[] = [];
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "fractalgen-own-"))));
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

const rounds = thorough ? 20 : 2;
const ownerFile = () => join(dir, "run/.owner");

/** A process that owns `run` until it is killed, or reports the owner. */
async function holder(prefix: string[] = []): Promise<{ child: ChildProcess; says: string }> {
  const code = `
    import { claim } from ${JSON.stringify(builtUrl("files/ownership"))};
    const got = await claim(${JSON.stringify(join(dir, "run"))}, { inside: true });
    console.log("owner" in got ? "refused " + got.owner.pid : "owns");
    if (!("owner" in got)) setInterval(() => {}, 1000);`;
  const [command, ...args] = [...prefix, process.execPath, "--input-type=module", "--eval", code];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const [says] = (await once(createInterface(child.stdout!), "line")) as [string];
  return { child, says };
}

async function killed({ child }: { child: ChildProcess }): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("on this machine", () => {
  it("the second process learns who the owner is, and can take over after the release", async () => {
    const first = await own(join(dir, "model"));
    const sentence = new RegExp(
      `^${dir}/model is in use by process ${process.pid} on ${hostname()} since \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC; wait until it finishes`,
    );
    await expect(own(join(dir, "model"))).rejects.toThrow(sentence);
    await first.release();
    await (await own(join(dir, "model"))).release();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("a killed owner is detected at once, and its successor knows who it was", async () => {
    const first = await holder();
    expect(first.says).toBe("owns");
    expect(await claim(join(dir, "run"), { inside: true })).toMatchObject({ owner: { pid: first.child.pid } });
    await killed(first);
    const next = await own(join(dir, "run"), { inside: true });
    expect(next.previous).toMatchObject({ pid: first.child.pid, host: hostname() });
    await next.release();
    expect(readdirSync(join(dir, "run"))).toEqual([]); // made by the one that was killed
  });

  it("removes folders that it created if they are empty", async () => {
    const owned = await own(join(dir, "a/b/run"), { inside: true });
    writeFileSync(join(dir, "a/kept"), "");
    await owned.release();
    expect(readdirSync(dir, { recursive: true }).sort()).toEqual(["a", "a/kept"]);
  });

  it("a process with the reused ID of a dead one is not mistaken for it", async () => {
    await own(join(dir, "run"), { inside: true });
    const record = JSON.parse(readFileSync(ownerFile(), "utf8")) as Record<string, string>;
    writeFileSync(ownerFile(), JSON.stringify({ ...record, id: "1", started: "1" }));
    expect(stateOf(thisProcess())).not.toBe("ended");
    if (record["boot"] !== undefined) await own(join(dir, "run"), { inside: true });
  });

  it("a copy of a folder in use has no owner", async () => {
    await own(join(dir, "run"), { inside: true });
    cpSync(join(dir, "run"), join(dir, "copy"), { recursive: true });
    await own(join(dir, "copy"), { inside: true });
  });

  it.skipIf(process.platform !== "linux")("a killed process that nobody has asked about is over", async () => {
    const shell = spawn("sh", ["-c", "sleep 0.5 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(shell);
    const [line] = (await once(createInterface(shell.stdout), "line")) as [string];
    const started = readFileSync(`/proc/${line}/stat`, "latin1").split(") ")[1].split(" ")[19];
    const other = { ...thisProcess(), pid: Number(line), started };
    expect(stateOf(other)).toBe("running");
    await vi.waitFor(() => expect(readFileSync(`/proc/${line}/stat`, "latin1")).toContain(") Z "), { timeout: 10_000 });
    expect(stateOf(other)).toBe("ended");
  });

  it("reports a takeover or a removed owner file", async () => {
    const owned = await own(join(dir, "run"), { inside: true });
    await owned.check();
    rmSync(ownerFile());
    const other = await own(join(dir, "run"), { inside: true });
    await expect(owned.check()).rejects.toThrow(
      /run was taken over by process \d+ on .* this process has stopped writing to it/,
    );
    await owned.release();
    await other.check(); // untouched by the release of the other
    rmSync(ownerFile());
    await expect(other.check()).rejects.toThrow(
      /owner was removed while this process was suspended; this process has stopped writing to it/,
    );
  });

  it(
    "exactly one of several concurrent processes gets it, even after a killed owner",
    async () => {
      for (let round = 0; round < rounds; round++) {
        if (uniform(seedKey(round), 0) < 0.5) await killed(await holder());
        const all = await Promise.all(Array.from({ length: 4 }, () => holder()));
        const winners = all.filter(({ says }) => says === "owns");
        expect(winners.map(({ child }) => child.pid)).toHaveLength(1);
        const refused = `refused ${winners[0].child.pid}`;
        expect(new Set(all.map(({ says }) => says))).toEqual(new Set(["owns", refused]));
        expect(readdirSync(join(dir, "run"))).toEqual([".owner"]);
        await killed(winners[0]);
      }
    },
    30_000 * rounds,
  );
});

describe("on another machine", () => {
  const elsewhere = { id: "1", pid: 7, host: hostname(), boot: "another", since: "2026-01-01T00:00:00.000Z" };
  const left = (text = JSON.stringify({ ...elsewhere, path: "/there/.owner", inode: "1" })) => {
    mkdirSync(join(dir, "run"), { recursive: true });
    writeFileSync(ownerFile(), text);
  };
  const silentFor = (ms: number) => utimesSync(ownerFile(), new Date(), new Date(Date.now() - ms));

  it("an owner is alive as long as it sends heartbeats, whatever its clock says", async () => {
    left();
    silentFor(-3_600_000); // its machine is an hour ahead
    const asked = claim(join(dir, "run"), { inside: true });
    setTimeout(() => silentFor(-3_605_000), 500);
    expect(await asked).toEqual({ owner: expect.objectContaining({ pid: 7, host: hostname() }) });
  });

  it("an owner counts as dead after a minute of silence", async () => {
    left();
    silentFor(59_000);
    const asked = performance.now();
    expect((await own(join(dir, "run"), { inside: true })).previous).toMatchObject({ pid: 7 });
    expect(performance.now() - asked).toBeGreaterThan(500);
  });

  it("an owner file left empty by a power failure expires after that minute", async () => {
    left("");
    silentFor(61_000);
    await own(join(dir, "run"), { inside: true });
  });

  it("waiting for a heartbeat can be aborted", async () => {
    left();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 100);
    await expect(own(join(dir, "run"), { inside: true, signal: stop.signal })).rejects.toThrow("aborted");
  });

  const container = ["unshare", "-Urpf", "--mount-proc"];
  const canUnshare = spawnSync(container[0], [...container.slice(1), "true"]).status === 0;
  it.skipIf(!thorough || !canUnshare)(
    "a container's process is known by its own signs of life, and lost without them (skipped without user namespaces)",
    async () => {
      const inside = await holder(container);
      expect(inside.says).toBe("owns");
      const { pid, host } = JSON.parse(readFileSync(ownerFile(), "utf8")) as { pid: number; host: string };
      expect([pid < 10, host]).toEqual([true, hostname()]); // a number that lives here too, and our own name
      expect((await holder()).says).toBe(`refused ${pid}`);
      // unshare's child is the container's first process; its end is the container's.
      spawnSync("pkill", ["-KILL", "-P", String(inside.child.pid)]);
      await once(inside.child, "exit");
      silentFor(61_000);
      expect((await holder()).says).toBe("owns");
      expect(existsSync(ownerFile())).toBe(true);
    },
    60_000,
  );
});
