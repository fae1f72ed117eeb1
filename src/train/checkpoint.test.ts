/** Checkpoints on disk: they restore everything, and a full disk, a NaN or a kill never destroys the previous one. */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import { seedKey, uniform } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { readModelFolder } from "../files/model.ts";
import { readSafetensors } from "../files/safetensors.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { startingState, type TrainingState } from "./state.ts";
import { markedState, tinyDataset, tinyModel } from "./tiny.ts";
import { train } from "./trainer.ts";
import { builtUrl } from "../test-program.ts";
import { thorough } from "../test-depth.ts";

/** Called before every file system operation. */
const disk = vi.hoisted(() => ({ before: () => {} }));
vi.mock("node:fs/promises", async (original) => {
  const actual = await original<typeof import("node:fs/promises")>();
  const { mkdir, open, rename, rm } = actual;
  const watched = Object.entries({ mkdir, open, rename, rm }).map(([name, operation]) => [
    name,
    (...given: unknown[]) => {
      disk.before();
      return (operation as (...given: unknown[]) => unknown)(...given);
    },
  ]);
  return { ...actual, ...Object.fromEntries(watched) };
});

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "checkpoint-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const model = tinyModel();
const training = parseTrainingConfig({ steps: 8, batch: 4, warmup: 2, ema: 0.5, seed: 3 }, "the test");
const marked = (step: number, { ema } = training) => markedState(model, step, { ema });

/** A state's numbers as one array; vitest compares maps of arrays number by number, which takes seconds. */
const numbers = ({ step, values, average, moments }: TrainingState): Buffer =>
  Buffer.concat(
    [
      Float32Array.of(step),
      ...values.values(),
      ...average.values(),
      ...[...moments.values()].flatMap(({ first, second }) => (second ? [first, second] : [first])),
    ].map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  );

const save = (folder: string, state: TrainingState, given = training) =>
  saveCheckpoint(folder, { model, training: given, dataset: { source: "tiny" }, state });

describe("a checkpoint", () => {
  it("restores everything that was saved, and is a model folder with the averaged weights", async () => {
    const folder = join(dir, "last");
    const state = marked(3);
    await save(folder, state);
    const { state: loaded, ...rest } = await loadCheckpoint(folder);
    expect(rest).toEqual({ model, training, dataset: { source: "tiny" } });
    expect([...loaded.values.keys()]).toEqual([...state.values.keys()]);
    expect(numbers(loaded).equals(numbers(state))).toBe(true);
    expect(readdirSync(folder).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "optimizer.safetensors",
      "state.json",
    ]);
    const sampled = readSafetensors(readModelFolder(folder).weights.path).tensors;
    expect(new Set([...sampled.values()].flatMap(({ data }) => Array.from(data as Float32Array)))).toEqual(
      new Set([3.25]),
    );
  });

  it("restores the loss scale of a training in float16, and refuses one that is not a power of two", async () => {
    const folder = join(dir, "last");
    await save(folder, { ...marked(3), lossScale: 8192 });
    expect((await loadCheckpoint(folder)).state.lossScale).toBe(8192);
    const path = join(folder, "state.json");
    writeFileSync(path, readFileSync(path, "utf8").replace("8192", "8191"));
    await expect(loadCheckpoint(folder)).rejects.toThrow(
      /state\.json: expected a power of two for "lossScale", got 8191; the checkpoint is damaged, so restore it from a copy$/,
    );
  });

  it("without an average, stores the weights once, and one array serves as both", async () => {
    const folder = join(dir, "last");
    const withoutAverage = { ...training, ema: 0 };
    await save(folder, marked(4, withoutAverage), withoutAverage);
    const { state } = await loadCheckpoint(folder);
    expect(state.average).toBe(state.values);
    expect(state.values.get("class_emb.weight")![0]).toBe(4);
  });

  it("reports damaged or missing files in one sentence", async () => {
    const folder = join(dir, "last");
    await expect(loadCheckpoint(folder)).rejects.toThrow(
      /there is no checkpoint to resume in .*; give the folder of the original run/,
    );
    await save(folder, marked(1));
    truncateSync(join(folder, "optimizer.safetensors"), 5000);
    await expect(loadCheckpoint(folder)).rejects.toThrow(UserError);
    await save(folder, marked(1));
    const good = readFileSync(join(folder, "state.json"), "utf8");
    for (const bad of ["{", "null", '{"step": -1}', good.replace('"steps"', '"stpes"')]) {
      writeFileSync(join(folder, "state.json"), bad);
      await expect(loadCheckpoint(folder)).rejects.toThrow(/state\.json/);
      await expect(loadCheckpoint(folder)).rejects.toThrow(UserError);
    }
  });
});

it("a NaN ends the run with one sentence and leaves the checkpoint and the state unchanged", async () => {
  const folder = join(dir, "last");
  const state = startingState(model, 0, training);
  const engine = await nodeEngine({ threads: 1 });
  const dataset = tinyDataset();
  const run = () => train(engine, { model, training, dataset, state });
  for await (const record of run())
    if (record.step === 2) {
      await save(folder, state);
      break;
    }
  state.values.get("class_emb.weight")!.fill(Number.NaN);
  const before = numbers(state);
  const rest = run();
  await expect(rest.next()).rejects.toThrow(
    /^training stopped at step 3: the loss is NaN and \S+ is no longer finite; the last checkpoint is intact, so resume it with a lower learning rate$/,
  );
  expect(numbers(state).equals(before)).toBe(true);
  const { state: saved } = await loadCheckpoint(folder);
  expect(saved.step).toBe(2);
  for (const data of saved.values.values()) expect(data.every(Number.isFinite)).toBe(true);
});

const url = (module: string) => JSON.stringify(builtUrl(module));
/** Saves marked checkpoints in a separate process. */
const inChild = (code: string) => [
  "--input-type=module",
  "--eval",
  `import { saveCheckpoint } from ${url("train/checkpoint")};
   import { markedState } from ${url("train/tiny")};
   const [model, training] = ${JSON.stringify([model, training])};
   const save = (step) =>
     saveCheckpoint(${JSON.stringify(join(dir, "last"))}, { model, training, dataset: "tiny", state: markedState(model, step, training) });
   ${code}`,
];

/** The step of a checkpoint; checks that every number in it belongs to that step. */
async function wholeStep(folder: string): Promise<number> {
  const { state } = await loadCheckpoint(folder);
  expect(numbers(state).equals(numbers(marked(state.step)))).toBe(true);
  return state.step;
}

// A small disk in a separate mount namespace, which disappears with the child process; requires Linux with user
// namespaces.
const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status === 0;
it.skipIf(!canMount)(
  "a full disk gets one sentence and leaves the previous checkpoint (skipped if no small disk can be mounted)",
  () => {
    const code = `
    import { statfsSync, writeFileSync, readFileSync, readdirSync } from "node:fs";
    import { loadCheckpoint } from ${url("train/checkpoint")};
    await save(1);
    const { bavail, bsize } = statfsSync(${JSON.stringify(dir)});
    writeFileSync(${JSON.stringify(join(dir, "ballast"))}, new Uint8Array(bavail * bsize - 100_000)); // room for only part of the next
    await save(2).catch((error) => console.log(error.name, error.message));
    console.log(readdirSync(${JSON.stringify(dir)}).sort().join());
    const { state } = await loadCheckpoint(${JSON.stringify(join(dir, "last"))});
    console.log(state.step, JSON.stringify([...new Set([...state.values.values()].flatMap((data) => [...data]))]));`;
    const shell = `mount -t tmpfs -o size=8m tmpfs ${dir} && exec "$0" "$@"`;
    const output = execFileSync("unshare", ["-rm", "sh", "-c", shell, process.execPath, ...inChild(code)], {
      encoding: "utf8",
    });
    const [sentence, left, state] = output.trim().split("\n");
    expect(sentence).toBe(
      `UserError cannot write ${join(dir, "last")}: the disk is full; free some space and run again; the previous folder is untouched`,
    );
    expect(left).toBe("ballast,last");
    expect(state).toBe("1 [1]");
  },
);

it("a kill before any disk operation leaves a complete checkpoint, and saving can continue", async () => {
  const place = join(dir, "runs");
  const folder = join(place, "last");
  await save(folder, marked(1));
  // A copy of the folder before each operation equals the state that a kill at that moment would leave.
  const copies: string[] = [];
  disk.before = () => {
    const copy = join(dir, `copy ${copies.length}`);
    cpSync(place, copy, { recursive: true });
    copies.push(copy);
  };
  await save(folder, marked(2));
  disk.before = () => {};
  expect(copies.length).toBeGreaterThan(20);
  const steps: number[] = [];
  for (const copy of copies) {
    steps.push(await wholeStep(join(copy, "last")));
    await save(join(copy, "last"), marked(3));
    expect(await wholeStep(join(copy, "last"))).toBe(3);
    // This process is still alive, so its pending claim remains; a real kill would release it.
    expect(readdirSync(copy).filter((name) => !name.startsWith("..last.owner."))).toEqual(["last"]);
  }
  expect(steps).toEqual(steps.toSorted()); // the old checkpoint until it is replaced by the new one
  expect(new Set(steps)).toEqual(new Set([1, 2]));
});

it.runIf(thorough)("a kill at any moment leaves a complete checkpoint", async () => {
  const code = `
    for (let step = Number(process.argv[1]); ; step++) {
      await save(step);
      if (step % 5 === 1) console.log("going");
    }`;
  const folder = join(dir, "last");
  let step = 0;
  for (let kill = 0; kill < 4; kill++) {
    const child = spawn(process.execPath, [...inChild(code), String(step + 1)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await Promise.race([
      once(child.stdout, "data"),
      once(child, "exit").then(([code]) => expect.fail(`the child ended with ${code}`)),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 60 * uniform(seedKey(kill), 0)));
    child.kill("SIGKILL");
    await once(child, "exit");
    const found = await wholeStep(folder);
    expect(found).toBeGreaterThan(step);
    step = found;
  }
  await save(folder, marked(step + 1));
  expect(readdirSync(dir)).toEqual(["last"]); // leftovers of the kills are gone
});
