/** `fractalgen train` on a tiny data set that replaces the rendered emoji: the run's folder, resuming, and error messages. */

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeDatasetFile } from "../data/dataset-file.ts";
import { seedKey, uniform } from "../core/random.ts";
import { emojiFileName } from "../data/emoji.ts";
import { nodeEngine } from "../engine/node.ts";
import { trainFeatures } from "../evaluate/own-features-training.ts";
import { readModelFolder } from "../files/model.ts";
import { readSafetensors } from "../files/safetensors.ts";
import { thorough } from "../test-depth.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";
import { built } from "../test-program.ts";
import { call } from "./test-call.ts";

let folder = "";
const at = (name: string) => join(folder, name);
const main = built("cli/main");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-train-cli-"));
  await writeDatasetFile(at(emojiFileName({ size: 8 })), { ...tinyDataset(), name: "emoji" });
  const { classes: _, ...model } = tinyModel();
  writeFileSync(
    at("config.json"),
    JSON.stringify({ model, training: { batch: 4, microBatch: 2, warmup: 2, evaluateSteps: 5, balance: 0 } }),
  );
  // Two classes of six pictures each, of different sizes; the names contain the group.
  for (const [c, name] of ["cats", "dogs"].entries()) {
    await mkdir(at(`pictures/${name}`), { recursive: true });
    for (let i = 0; i < 6; i++) {
      const background = { r: 40 * i, g: 200 * c, b: 90 };
      await sharp({ create: { width: 9 + i, height: 12, channels: 3, background } })
        .png()
        .toFile(at(`pictures/${name}/${i % 3}_${i}.png`));
    }
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

interface Watching {
  /** Receives the output as it arrives. */
  onOut?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
  /** Shell commands to run before the program, such as a limit. */
  shell?: string;
}

/** Runs the program. */
function program(args: string[], { onOut = () => {}, shell }: Watching = {}): Promise<Ended> {
  const line = [main, "train", "--cache", folder, "--threads", "1", ...args];
  const child = shell
    ? spawn("bash", ["-c", `${shell}; exec "$0" "$@"`, process.execPath, ...line])
    : spawn(process.execPath, line);
  const said = { out: "", err: "" };
  child.stdout.on("data", (part) => {
    said.out += part;
    onOut(String(part), (signal) => child.kill(signal));
  });
  child.stderr.on("data", (part) => (said.err += part));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...said })));
}

const fresh = (out: string, steps: number) => [
  "--data",
  "emoji",
  "--config",
  at("config.json"),
  "--out",
  out,
  "--steps",
  String(steps),
];
interface LoggedRecord {
  kind: string;
  step: number;
  loss?: number;
  bits?: number;
  references?: { name: string; bits: number }[];
}
const records = (text: string): LoggedRecord[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

it("trains, stops at Ctrl-C with a checkpoint, and resumes to the same result as an uninterrupted run", async () => {
  const whole = await program([...fresh(at("whole"), 12), "--json", "--save-steps", "6"]);
  expect(whole.err).toBe(`done: 12 steps; try the model with: fractalgen sample --model ${at("whole")}\n`);
  expect(whole.code).toBe(0);
  const logged = records(whole.out);
  expect(logged.filter(({ kind }) => kind === "step")).toHaveLength(12);
  expect(readFileSync(at("whole/log.jsonl"), "utf8")).toBe(whole.out);
  expect(logged[0].references?.map(({ name }) => name)).toEqual(["uniform", "histogram", "PNG", "lossless WebP"]);
  expect(logged.flatMap(({ kind, step }) => (kind === "step" || step === 0 ? [] : [`${kind} ${step}`]))).toEqual([
    "evaluation 5",
    "checkpoint 6",
    "checkpoint 7", // the last before the rate falls
    "evaluation 10",
    "evaluation 12",
    "checkpoint 12",
  ]);

  let stopped = false;
  const first = await program([...fresh(at("run"), 12), "--json"], {
    onOut(text, kill) {
      if (!stopped && text.includes('"step":4,')) kill("SIGINT");
      stopped ||= text.includes('"step":4,');
    },
  });
  expect(first.err).toMatch(/resume with: fractalgen train --resume/);
  expect(first.code).toBe(130);
  const { state } = await loadCheckpoint(at("run/last"));
  expect(state.step).toBeGreaterThanOrEqual(4);
  expect(state.step).toBeLessThan(12);

  const second = await program(["--resume", at("run"), "--json"]);
  expect(second.code).toBe(0);
  const losses = (text: string) => records(text).flatMap(({ kind, loss }) => (kind === "step" ? [loss] : []));
  expect([...losses(first.out), ...losses(second.out)]).toEqual(losses(whole.out));
  expect(readFileSync(at("run/last/model.safetensors"))).toEqual(readFileSync(at("whole/last/model.safetensors")));
  expect(readModelFolder(at("run")).config.classes).toEqual(["dark", "light"]);
}, 300_000); // three runs, on a machine that may be busy

it("fills the run's folder with readable files", async () => {
  const names = readdirSync(at("whole")).map((name) => name.replace(/tfevents\..*/, "tfevents"));
  const files = "curve.svg events.out.tfevents last log.jsonl samples stable step-000006 step-000012";
  expect(names.sort()).toEqual(files.split(" "));
  const samples = "latest.png step-000006.png step-000007.png step-000012.png";
  expect(readdirSync(at("whole/samples")).sort()).toEqual(samples.split(" "));
  expect((await sharp(at("whole/samples/latest.png")).metadata()).width).toBeGreaterThan(100);
  const curve = readFileSync(at("whole/curve.svg"), "utf8");
  for (const text of ["held out", "training", "PNG", "lossless WebP", "step 12 of 12"]) expect(curve).toContain(text);
  expect(readModelFolder(at("whole/step-000006")).config.imageSize).toBe(8);
  // a resumed run has a second event file with pictures of its own
  expect(readdirSync(at("run")).filter((name) => name.includes("tfevents"))).toHaveLength(2);
  expect(readdirSync(at("run/samples"))).toContain("latest.png");
});

it.runIf(thorough)(
  "measures samples at chosen steps and at the end: in the log, the curve and TensorBoard's events",
  async () => {
    for await (const _ of trainFeatures(await nodeEngine(), tinyDataset(), { folder: at("own"), steps: 3, batch: 4 }));
    const args = ["--kid-steps", "4", "--kid-images", "6", "--features", at("own"), "--no-samples"];
    const { code, out } = await program([...fresh(at("measured"), 6), "--json", ...args]);
    expect(code).toBe(0);
    const logged = records(out).filter(({ kind, step }) => kind !== "step" && step > 0);
    expect(logged.map(({ kind, step }) => `${kind} ${step}`)).toEqual([
      "evaluation 4",
      "checkpoint 4",
      "quality 4",
      "evaluation 5",
      "evaluation 6",
      "checkpoint 6",
      "quality 6",
    ]);
    expect(logged[2]).toMatchObject({
      kernelDistance: { mean: expect.any(Number), spread: expect.any(Number) },
      images: 6,
      features: { kind: "own", name: expect.stringContaining("own features of tiny") },
    });
    expect(readFileSync(at("measured/log.jsonl"), "utf8")).toBe(out);
    expect(readFileSync(at("measured/curve.svg"), "utf8")).toContain("own kernel distance");
    const events = readdirSync(at("measured")).find((name) => name.includes("tfevents"))!;
    expect(readFileSync(join(at("measured"), events), "latin1")).toContain("samples/own kernel distance");
    const wrong = await program([...fresh(at("unmeasured"), 6), "--kid-steps", "4", "--features", at("pictures")]);
    expect([wrong.code, wrong.err.trim().split("\n").at(-1)]).toEqual([
      2,
      expect.stringMatching(/holds no feature network/),
    ]);
  },
);

const kills = thorough ? 20 : 2;

it.runIf(thorough)(
  "loses nothing before the last checkpoint and leaves nothing half-written if it is killed at any moment",
  async () => {
    const out = at("killed");
    let last = 0;
    let saved = 0;
    const isThere = () =>
      readdirSync(at(".")).includes("killed") && readdirSync(out).some((name) => /^last$|^\.last\..*old$/.test(name));
    for (let round = 0; round < kills; round++) {
      const found = isThere();
      const args = found ? ["--resume", out, "--steps", "1000000"] : fresh(out, 1_000_000);
      let timer: NodeJS.Timeout | undefined;
      let reached = 0;
      // From the second step on, whatever the machine's speed: a run that never completed a step would start over every time.
      let left = 2 + Math.floor(8 * uniform(seedKey(round), 0));
      await program([...args, "--json", "--checkpoint-seconds", "0.1", "--save-steps", "3", "--no-samples"], {
        onOut(text, kill) {
          left -= text.match(/"kind":"step"/g)?.length ?? 0;
          if (left <= 0) timer ??= setTimeout(() => kill("SIGKILL"), 200 * uniform(seedKey(round), 1));
          for (const [, step] of text.matchAll(/"kind":"checkpoint","step":(\d+)/g)) reached = Number(step);
        },
      });
      clearTimeout(timer);
      // A checkpoint's record is printed before the checkpoint is written, so only the one before it must exist.
      if (reached > 0 || found) {
        const { state } = await loadCheckpoint(join(out, "last")).catch(() => ({ state: { step: 0 } }));
        expect(state.step, `round ${round}`).toBeGreaterThanOrEqual(last);
        if (state.step > last) saved++;
        last = state.step;
      }
    }
    expect(saved).toBeGreaterThan(kills / 5);
    const end = await program(["--resume", out, "--steps", String(last + 1), "--no-samples"]);
    expect(end.code).toBe(0);
    const names = readdirSync(out);
    expect(names.filter((name) => /^\.|partial$|old$/.test(name))).toEqual([]);
    for (let step = 3; step <= last; step += 3) expect(names).toContain(`step-${String(step).padStart(6, "0")}`);
    const log = records(readFileSync(join(out, "log.jsonl"), "utf8").split(/(?<=\n)/).filter((l) => l.endsWith("\n")).join("")); // prettier-ignore
    const steps = log.flatMap(({ kind, step }) => (kind === "step" && step <= last ? [step] : []));
    expect(steps).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  },
  60_000 + 20_000 * kills,
);

it("stops at a NaN, keeps the last good checkpoint and says at which step", async () => {
  const { code, err } = await program([
    ...fresh(at("steep"), 50),
    "--json",
    "--lr",
    "1e30",
    "--warmup",
    "0",
    "--save-steps",
    "1",
  ]);
  expect(code).toBe(2);
  expect(err).toMatch(/^error: training stopped at step \d+: .* no longer finite; the last checkpoint is intact.*\n$/);
  const { state } = await loadCheckpoint(at("steep/last"));
  for (const value of state.values.values()) expect(value.every(Number.isFinite)).toBe(true);
});

it.runIf(thorough)("stops with one sentence if the disk is full, and keeps the last checkpoint", async () => {
  const begin = await program([...fresh(at("full"), 3), "--no-samples"]);
  expect(begin.code).toBe(0);
  // No file may exceed 64 kB, so the weights of the next checkpoint cannot be written completely.
  const more = await program(["--resume", at("full"), "--steps", "6", "--no-samples"], {
    shell: "ulimit -f 64; trap '' XFSZ",
  });
  expect(more.code).toBe(2);
  expect(more.err.trim().split("\n").at(-1)).toMatch(
    /^error: cannot write .*full.(last|stable).*; the previous folder is untouched/,
  );
  expect((await loadCheckpoint(at("full/last"))).state.step).toBe(3);
  expect(readdirSync(at("full")).filter((name) => /partial|new$/.test(name))).toEqual([]);
});

describe("a folder of pictures", () => {
  const pictures = (out: string, ...more: string[]) => [
    "--data",
    at("pictures"),
    "--image-size",
    "8",
    "--out",
    at(out),
    "--steps",
    "2",
    "--batch",
    "2",
    "--config",
    at("small.json"),
    ...more,
  ];
  beforeAll(() => {
    const { levels, redWeight } = tinyModel();
    writeFileSync(at("small.json"), JSON.stringify({ model: { levels, redWeight } }));
    writeFileSync(at("pictures/cats/broken.png"), "no picture");
  });

  it("can be trained on, and its problems are reported", async () => {
    const { code, err } = await program(
      pictures("mine", "--group", "^.*/(\\d)_", "--held-out", "0.4", "--checkpointing"),
    );
    expect(code).toBe(0);
    expect(err).toMatch(/pictures: \d+ images to train on, \d held out, 2 classes, 8x8, 3 channels/);
    expect(err).toMatch(/at a time in each thread, with checkpointing; a checkpoint every/);
    expect(err).toMatch(/1 image skipped: cats\/broken.png/);
    expect(err).toMatch(/bits per dimension.*\n\s+uniform\s+8\.00\n\s+histogram\s+\d/);
    const { model, dataset } = await loadCheckpoint(at("mine/last"));
    expect(model.classes).toEqual(["cats", "dogs"]);
    expect(dataset).toMatchObject({ source: at("pictures"), imageSize: 8, heldOut: "0.4" });
  });

  it("that has changed is refused, with the changes and what to do", async () => {
    await sharp({ create: { width: 9, height: 9, channels: 3, background: "red" } })
      .png()
      .toFile(at("pictures/cats/new_9.png"));
    const { code, err } = await program(["--resume", at("mine"), "--steps", "4"]);
    expect(code).toBe(2);
    expect(err).toMatch(/have changed since this run began \(.*(training images|held out) before.*now.*--init-from/);
    expect(err.trim().split("\n")).toHaveLength(1);
  });

  it.runIf(thorough)(
    "can be used to fine-tune: known classes keep their embeddings, new ones get new embeddings",
    async () => {
      await mkdir(at("others/dogs"), { recursive: true });
      await mkdir(at("others/ants"), { recursive: true });
      for (const name of ["dogs/a", "dogs/b", "ants/a", "ants/b"])
        await sharp({
          create: { width: 8, height: 8, channels: 3, background: name.startsWith("d") ? "blue" : "green" },
        })
          .png()
          .toFile(at(`others/${name}.png`));
      const args = ["--data", at("others"), "--out", at("tuned"), "--init-from", at("mine"), "--steps", "1"];
      const { code, err } = await program([...args, "--lr", "1e-9", "--held-out", "0.3", "--batch", "2"]);
      expect(err).toMatch(/done: 1 step;/);
      expect(code).toBe(0);
      const embeddings = (name: string) =>
        readSafetensors(at(`${name}/last/model.safetensors`)).tensors.get("class_emb.weight")!.data as Float32Array;
      const [before, after] = [embeddings("mine"), embeddings("tuned")]; // cats, dogs and ants, dogs
      for (let i = 0; i < 16; i++) expect(after[16 + i]).toBeCloseTo(before[16 + i], 6);
      expect([...after.subarray(0, 16)]).not.toEqual([...before.subarray(0, 16)]);
      const wrong = await program([...args.slice(0, 3), at("wrong"), ...args.slice(4), "--image-size", "4"]);
      expect(wrong.code).toBe(2);
    },
  );
});

it.each([
  ["no folder to write to", ["--data", "emoji"], /--out: expected a folder/],
  ["no data", ["--out", "/tmp/never"], /--data/],
  ["an unknown data set", ["--out", "/tmp/never", "--data", "emojis"], /emojis.*did you mean "emoji"\?/],
  ["nothing to resume", ["--resume", "/tmp/nothing-here"], /no checkpoint/],
  ["a learning rate of zero", ["--learning-rate", "0"], /--learning-rate: .*above 0.*"0"/],
  ["steps that are not a number", ["--steps", "many"], /--steps: .*whole number.*"many"/],
  [
    "a rate given twice",
    ["--data", "emoji", "--out", "/tmp/never", "--lr", "1", "--blr", "1"],
    /--blr: .*--learning-rate/,
  ],
  ["memory that is not an amount", ["--memory", "plenty"], /--memory: expected an amount such as 3GB.*"plenty"/],
  ["an image size without a preset", ["--data", "emoji", "--out", "/tmp/never", "--image-size", "31"], /31x31.*30 or/],
])("prints one sentence and exits with code 2 for %s", async (_, args, sentence) => {
  const { code, err } = await call("train", "--cache", folder, ...args);
  expect(err).toMatch(sentence);
  expect(code).toBe(2);
  expect(err.trim().split("\n")).toHaveLength(1);
  expect(existsSync("/tmp/never")).toBe(false);
});

it("refuses replicas in float16 before anything is written", async () => {
  const { code, err } = await call(
    "train",
    "--cache",
    folder,
    ...fresh(at("half"), 3),
    "--replicas",
    "2",
    "--precision",
    "float16",
  );
  expect(err).toMatch(/error: --precision: replicas train in float32; omit --precision, or train without .*\n$/);
  expect(code).toBe(2);
  expect(existsSync(at("half"))).toBe(false);
});

it("reports too little memory before anything is written", async () => {
  const { code, err } = await call(
    "train",
    "--cache",
    folder,
    "--threads",
    "1",
    ...fresh(at("poor"), 3),
    "--memory",
    "9MB",
  );
  expect(err).toMatch(/^error: training this model takes about \d+ MB even with one image at a time.*--memory.*\n$/);
  expect(code).toBe(2);
  expect(existsSync(at("poor"))).toBe(false);
});

it("a resumed run keeps its batch, and a folder in use is not overwritten", async () => {
  const other = await program(["--resume", at("whole"), "--batch", "8", "--steps", "20"]);
  expect(other.code).toBe(2);
  expect(other.err).toMatch(/started with 4 and cannot be resumed with 8/);
  const again = await program(fresh(at("whole"), 3));
  expect(again.code).toBe(2);
  expect(again.err).toMatch(/already holds a run/);
});
