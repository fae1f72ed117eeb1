/** A training run's settings from options and a configuration file, and errors that are reported before any work. */

import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { type TrainingName, trainingNames, trainingSetting } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { openDataset } from "../data/open.ts";
import { type ModelFolder, readModelFolder, writeModelFolder } from "../files/model.ts";
import { readTensor } from "../files/safetensors.ts";
import { modelParameters, type Parameter } from "../model/parameters.ts";
import { saveCheckpoint } from "../train/checkpoint.ts";
import { trainingBytes } from "../train/memory.ts";
import { beginning } from "./begin.ts";
import type { RunOptions } from "./options.ts";
import { checkSame, type Prepared, settle } from "./settle.ts";

let dir = "";
const at = (name: string) => join(dir, name);
const small = { width: 8, depth: 1, heads: 2 };
const levels = (...patches: number[]) => [
  ...patches.map((patch) => ({ kind: "mar", patch, ...small })),
  { kind: "pixel", ...small },
];

function config(name: string, content: unknown): string {
  writeFileSync(at(name), JSON.stringify(content));
  return at(name);
}

async function pictures(folder: string, side: number): Promise<string> {
  mkdirSync(at(folder));
  for (let i = 0; i < 4; i++)
    await sharp({ create: { width: side, height: side, channels: 3, background: { r: 50 * i, g: 9, b: side } } })
      .png()
      .toFile(at(`${folder}/${i}.png`));
  return at(folder);
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "fractalgen-settings-"));
  await pictures("of28", 28);
  await pictures("of32", 32);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const optionsOf = (given: Partial<RunOptions>): RunOptions => ({
  data: at("of28"),
  out: at("run"),
  threads: 1,
  ...given,
});

async function prepare(given: Partial<RunOptions>): Promise<Prepared> {
  const options = optionsOf(given);
  const begun = await beginning(options);
  const opened = await openDataset(begun.data.source, { ...begun.data, cache: at("cache") });
  return settle(begun, begun.resumed ? checkSame(begun, opened) : opened, options);
}

/** For each setting, a value that no preset has. */
function unusual(name: TrainingName): unknown {
  const setting = trainingSetting(name);
  if (setting.kind === "choice") return setting.choices.at(-1);
  if (setting.kind === "several") return [setting.choices[1]];
  if (setting.kind === "flag") return true;
  if (setting.kind === "factors") return { blocks: 0.5, codebooks: 2, embeddings: 3 };
  if (setting.kind === "pair") return [0.11, 0.22];
  if (setting.kind === "numbers") return [0.5, 0.25];
  return setting.kind === "whole" ? 3 : 0.37;
}

describe("every declared training setting", () => {
  it("reaches the run, as an option and in a configuration file", async () => {
    const given = Object.fromEntries(trainingNames.map((name) => [name, name === "threads" ? 1 : unusual(name)]));
    expect((await prepare(given)).training).toEqual(given);
    const { threads: _, ...training } = given;
    expect((await prepare({ config: config("all.json", { training }) })).training).toMatchObject(training);
  });
});

describe("custom levels", () => {
  it("may be any number; they keep the preset's sampling settings except the iterations", async () => {
    const { model } = await prepare({ config: config("three.json", { model: { levels: levels(14, 7, 1) } }) });
    expect(model.sampling).toMatchObject({ guidance: 2, temperature: 1, iterations: [2, 4, 16] });
  });

  it("may leave the image size to the images", async () => {
    const { model } = await prepare({ config: config("seven.json", { model: { levels: levels(7, 1) } }) });
    expect(model.imageSize).toBe(28);
    await expect(prepare({ config: at("seven.json"), data: at("of32") })).rejects.toThrow(
      /patch 7 does not divide the 32/,
    );
  });

  it("override some sampling settings and keep the others", async () => {
    const given = { model: { levels: levels(7, 1), sampling: { guidance: 3, iterations: [3, 5] } } };
    const { model } = await prepare({ config: config("sampling.json", given) });
    expect(model.sampling).toMatchObject({ guidance: 3, schedule: "constant", temperature: 1, iterations: [3, 5] });
    const wrong = config("wrong.json", { model: { sampling: { guidence: 2 } } });
    await expect(beginning(optionsOf({ config: wrong }))).rejects.toThrow(/guidence.*did you mean "guidance"/);
    await expect(beginning(optionsOf({ config: config("no.json", { model: { sampling: "x" } }) }))).rejects.toThrow(
      /no\.json: sampling: expected object/,
    );
  });
});

describe("fine-tuning with other levels", () => {
  const mar = { kind: "mar", patch: 7, ...small };
  const ar = { kind: "ar", patch: 1, ...small, conditions: 5 };
  const pixel = { kind: "pixel", ...small };

  async function modelWith(name: string, levels: object[], values: number, more: object = {}): Promise<ModelFolder> {
    const config = parseModelConfig({ imageSize: 28, channels: 3, classes: ["of28"], levels, ...more }, name);
    const filledWith = ({ name, shape }: Parameter) => [name, new Float32Array(product(shape)).fill(values)] as const;
    await writeModelFolder(at(name), config, new Map(modelParameters(config).map(filledWith)));
    return readModelFolder(at(name));
  }
  const mixed = () => config("mixed.json", { model: { levels: [mar, ar, pixel] } });

  it("takes each tensor of other levels from the first model with one of its name and shape, and names the others", async () => {
    const first = await modelWith("first", [{ ...ar, patch: 7, conditions: 1 }, { ...ar, conditions: 1 }, pixel], 1);
    const second = await modelWith("second", [mar, { ...mar, patch: 1 }, pixel], 2);
    const { state, model, notes } = await prepare({ config: mixed(), initFrom: [first, second] });
    expect(model.levels[1]).toEqual(ar);
    expect(model.sampling.iterations).toHaveLength(2);
    const origin = (name: string) => new Set(state.values.get(name)!);
    expect(origin("generator.mask_token")).toEqual(new Set([2]));
    expect(origin("next_fractal.generator.blocks.0.attention.wo.weight")).toEqual(new Set([1]));
    expect(origin("next_fractal.next_fractal.r_codebook.weight")).toEqual(new Set([1]));
    expect(origin("next_fractal.generator.cond_emb.weight").size).toBeGreaterThan(100);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(
      /^of \d+ tensors, \d+ from \S+first, \d+ from \S+second; 1 with random values: next_fractal.generator.cond_emb.weight; levels\[1\] does not fit that of \S+first: conditions 5 instead of 1$/,
    );
  });

  it("takes a whole level from the first model whose level fits, as it is or widened", async () => {
    const [narrow, wide, other] = [
      { ...pixel, width: 16, heads: 2 },
      { ...pixel, width: 32, heads: 4 },
      { ...pixel, width: 48, heads: 2 },
    ];
    const first = await modelWith("unlike", [mar, ar, other], 1);
    const second = await modelWith("narrow", [mar, ar, narrow], 2);
    const third = await modelWith("wide", [mar, ar, wide], 3);
    const levels = [mar, ar, wide];
    const wider = (name: string) => config(name, { model: { levels } });
    const { state, notes } = await prepare({ config: wider("wider.json"), initFrom: [first, second] });
    const pixels = "next_fractal.next_fractal.";
    expect(new Set(state.values.get(`${pixels}r_codebook.weight`)!)).toEqual(new Set([2]));
    expect(new Set(state.values.get(`${pixels}r_mlm.bias`)!)).toEqual(new Set([2]));
    expect(new Set(state.values.get(`${pixels}norm.weight`)!)).toEqual(new Set([1]));
    expect(notes[0]).toMatch(
      /^of \d+ tensors, \d+ from \S+unlike, \d+ from \S+narrow \(\d+ of them widened\); none with random values$/,
    );
    const { state: same } = await prepare({ config: wider("same.json"), initFrom: [first, third] });
    expect(new Set(same.values.get(`${pixels}r_codebook.weight`)!)).toEqual(new Set([3]));
    const { notes: random } = await prepare({ config: wider("random.json"), initFrom: [first] });
    expect(random[0]).toMatch(/with random values: next_fractal.next_fractal.cond_proj.weight/);
  });

  it("keeps a model's levels together while they grow, and repeats its classes' embeddings", async () => {
    const wide = { ...mar, width: 2 * mar.width, heads: 2 * mar.heads };
    const given = { model: { levels: [wide, ar, pixel] } };
    const narrow = await modelWith("grows", [mar, ar, pixel], 1);
    const otherHeads = await modelWith("heads", [{ ...wide, heads: mar.heads }, { ...ar, conditions: 1 }, pixel], 2);
    const embedding = Float32Array.from({ length: mar.width }, (_, i) => i);
    const { config: own, weights } = await readModelFolder(narrow.folder);
    const values = new Map(
      modelParameters(own).map(({ name }) => [name, readTensor(weights, name).data as Float32Array]),
    );
    await writeModelFolder(at("grown"), own, new Map([...values, ["class_emb.weight", embedding]]));
    const from = await readModelFolder(at("grown"));
    const { state, notes } = await prepare({ config: config("grown.json", given), initFrom: [from] });
    expect([...state.values.get("class_emb.weight")!]).toEqual([...embedding, ...embedding]);
    expect(new Set(state.values.get("fake_latent")!)).toEqual(new Set([1]));
    expect(notes[0]).toMatch(/^of \d+ tensors, \d+ from \S+grown \(\d+ of them widened\); none with random values$/);
    const more = await modelWith("more", [mar, ar, pixel], 1, { classes: ["another", "of28"] });
    expect(
      (await prepare({ config: config("more.json", { model: { levels: [mar, ar, pixel] } }), initFrom: [more] })).notes,
    ).toEqual([]);
    const unlike = config("unlike.json", { model: { levels: [{ ...wide, depth: 2 }, ar, pixel] } });
    const { notes: why } = await prepare({ config: unlike, initFrom: [from] });
    expect(why[0]).toMatch(
      /; levels\[0\] does not fit that of \S+grown: depth 2 instead of 1; levels\[1\] does not fit that of \S+grown: the level above does not$/,
    );
    await expect(prepare({ config: config("heads.json", given), initFrom: [from, otherHeads] })).rejects.toThrow(
      /heads: it contributes no tensors/,
    );
  });

  it("refuses a choice of patches if all are passed down", async () => {
    await expect(prepare({ recipe: "published", innerChoice: "detail" })).rejects.toThrow(
      /there is nothing to choose, because all patches are passed down/,
    );
    expect((await prepare({ innerChoice: "detail", innerShare: [0.5] })).training.innerChoice).toBe("detail");
  });

  it("says nothing if one model has everything, and refuses a model that has nothing", async () => {
    const whole = await modelWith("whole", [mar, ar, pixel], 1);
    expect((await prepare({ initFrom: [whole] })).notes).toEqual([]);
    expect((await prepare({ initFrom: [whole], config: mixed() })).notes).toEqual([]);
    await expect(prepare({ initFrom: [whole, readModelFolder("models/emoji")] })).rejects.toThrow(
      /^\S*models\/emoji: it contributes no tensors.*leave it out/,
    );
    await expect(prepare({ initFrom: [whole, whole] })).rejects.toThrow(/^\S*whole: it contributes no tensors/);
  });

  it("fine-tunes with the default recipe at half of the usual learning rate, unless told otherwise", async () => {
    const initFrom = [await modelWith("whole", [mar, ar, pixel], 1)];
    const settings = async (given: Partial<Parameters<typeof prepare>[0]>) => (await prepare(given)).training;
    const usual = (await settings({})).learningRate;
    expect(await settings({ initFrom })).toMatchObject({ optimizer: "muon", learningRate: usual / 2 });
    expect((await settings({ initFrom, learningRate: 0.01 })).learningRate).toBe(0.01);
    const lower = config("lower.json", { training: { learningRate: 0.001 } });
    expect((await settings({ initFrom, config: lower })).learningRate).toBe(0.001);
    const published = await settings({ recipe: "published" });
    expect(await settings({ initFrom, recipe: "published" })).toEqual(published);
  });

  it("takes each class's embedding from the first model that knows the class", async () => {
    const others = await modelWith("others", [mar, ar, pixel], 1, { classes: ["cats", "dogs"] });
    const own = await modelWith("own", [mar, ar, pixel], 2);
    const { state, notes } = await prepare({ initFrom: [others, own] });
    expect(new Set(state.values.get("class_emb.weight")!)).toEqual(new Set([2]));
    expect(new Set(state.values.get("generator.mask_token")!)).toEqual(new Set([1]));
    expect(notes[0]).toMatch(/, 1 from \S+own; none with random values$/);
    const { notes: fresh } = await prepare({ initFrom: [others] });
    expect(fresh[0]).toMatch(/; 1 with random values: class_emb\.weight$/);
  });

  it("may change sampling settings only, which are checked against the model", async () => {
    const whole = await modelWith("deep", [{ ...mar, patch: 14 }, mar, ar, pixel], 1, {
      sampling: { iterations: [3, 2, 5] },
    });
    const changed = (sampling: object) =>
      prepare({ initFrom: [whole], config: config("s.json", { model: { sampling } }) });
    expect((await changed({ guidance: 2 })).model.sampling).toEqual({ ...whole.config.sampling, guidance: 2 });
    expect((await changed({ iterations: [4, 2, 9] })).model.sampling.iterations).toEqual([4, 2, 9]);
    await expect(changed({ iterations: [4, 2] })).rejects.toThrow(/iterations has 2 numbers, expected 3/);
    const uneven = config("uneven.json", { model: { levels: levels(5, 1) } });
    await expect(beginning(optionsOf({ initFrom: [whole], config: uneven, data: "/nowhere" }))).rejects.toThrow(
      /uneven\.json: levels\[0\]: patch 5 does not divide the 28 pixels/,
    );
  });

  it("refuses other changes of the model", async () => {
    const whole = readModelFolder("models/emoji");
    const other = config("other.json", { model: { redWeight: 2 } });
    await expect(prepare({ initFrom: [whole], config: other })).rejects.toThrow(/"redWeight" is part of the model in/);
  });
});

it("refuses a size or channels other than the model's before the data are opened", async () => {
  const given = config("sized.json", { model: { imageSize: 28, channels: 1, levels: levels(7, 1) } });
  await expect(beginning(optionsOf({ config: given, imageSize: 14, data: "/nowhere" }))).rejects.toThrow(
    /^imageSize: got 14, but the model of .*sized\.json has 28; leave it out/,
  );
  await expect(
    beginning(optionsOf({ initFrom: [readModelFolder("models/emoji")], channels: 1, data: "/nowhere" })),
  ).rejects.toThrow(/^channels: got 1, but the model of .* has 3/);
  const classes = config("classes.json", { model: { classes: ["a", "b"], levels: levels(7, 1) } });
  await expect(prepare({ config: classes })).rejects.toThrow(
    /the classes of of28 \(of28\) differ from the model's \(a, b\)/,
  );
});

it("a resumed run finds its held-out part from any folder, and asks for the new location of moved data", async () => {
  for (const name of ["train", "held"]) cpSync(at("of28"), at(name), { recursive: true });
  await sharp({ create: { width: 28, height: 28, channels: 3, background: "red" } })
    .png()
    .toFile(at("held/new.png"));
  const file = config("resumed.json", { model: { levels: levels(7, 1) } });
  const here = (name: string) => relative(process.cwd(), at(name));
  const { model, training, data, state } = await prepare({ config: file, data: here("train"), heldOut: here("held") });
  expect(data).toMatchObject({ source: at("train"), heldOut: at("held") });
  await saveCheckpoint(at("run/last"), { model, training, dataset: data, state });
  const resume = (given: Partial<RunOptions> = {}) =>
    prepare({ data: undefined, out: undefined, resume: at("run"), ...given });
  await resume();
  for (const name of ["train", "held"]) {
    cpSync(at(name), at(`${name}-moved`), { recursive: true });
    rmSync(at(name), { recursive: true });
  }
  await expect(resume()).rejects.toThrow(/^the data of this run, .*train, no longer exist.*give their new location/);
  await expect(resume({ data: at("train-moved") })).rejects.toThrow(
    /^the held-out data of this run, .*held, no longer exist.*give their new location/,
  );
  const moved = { data: at("train-moved"), heldOut: at("held-moved") };
  expect((await resume(moved)).data).toMatchObject({ source: moved.data, heldOut: moved.heldOut });
  await expect(resume({ ...moved, heldOut: "0.3" })).rejects.toThrow(/have changed since this run began/);
});

it("on a GPU, the micro-batch is as large as fits in half of its free memory", async () => {
  const file = config("gpu.json", { model: { levels: levels(7, 1) }, training: { batch: 64, ema: 0 } });
  const given = { config: file, out: at("gpu") };
  expect((await prepare({ ...given, memory: 1e10 })).training.microBatch).toBe(16);
  expect((await prepare({ ...given, gpuMemory: 1e10 })).training.microBatch).toBe(64);
  const { model, training } = await prepare(given);
  const half = trainingBytes(model, 32, { ...training, lanes: 1, loop: false });
  expect((await prepare({ ...given, gpuMemory: 2 * half })).training.microBatch).toBe(32);
  // Old state, new state and gradients; without an average, a third less of the state.
  const weights = 4 * modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = (ema: number) => trainingBytes(model, 1, { ...training, ema, lanes: 1, loop: false });
  expect(bytes(0.9) - bytes(0)).toBe(2 * weights);
  expect((await prepare({ ...given, gpuMemory: 1e6 })).training).toMatchObject({ microBatch: 1, checkpointing: true });
  await expect(prepare({ ...given, gpuMemory: 1e10, memory: 1e6 })).rejects.toThrow(/but only/);
});

it("a run keeps its checkpointing option, and enables it if nothing fits without it", async () => {
  const deep = { kind: "mar", patch: 2, width: 16, depth: 16, heads: 2 };
  const file = config("deep.json", { model: { levels: [deep, ...levels(1)] }, training: { ema: 0 } });
  const given = { config: file, out: at("deep") };
  const { model, training, data, state } = await prepare({ ...given, memory: 1e10 });
  expect(training).toMatchObject({ checkpointing: false, microBatch: 16 });
  const needed = trainingBytes(model, 1, { ...training, lanes: 1 });
  const little = await prepare({ ...given, memory: needed - 1 });
  expect(little.training.checkpointing).toBe(true);
  expect((await prepare({ ...given, memory: needed })).training).toMatchObject({
    checkpointing: false,
    microBatch: 1,
  });
  const two = await prepare({ ...given, memory: needed, microBatch: 2 });
  expect(two.training).toMatchObject({ checkpointing: true, microBatch: 2 });
  await expect(prepare({ ...given, memory: 1e6 })).rejects.toThrow(/one image at a time and checkpointing, but only/);

  const asked = await prepare({ ...given, checkpointing: true, microBatch: 4 });
  expect(asked.training).toMatchObject({ checkpointing: true, microBatch: 4 });
  await saveCheckpoint(at("deep/last"), { model, training: asked.training, dataset: data, state });
  const resume = { data: undefined, out: undefined, resume: at("deep") };
  expect((await prepare(resume)).training).toEqual(asked.training);
  await expect(
    beginning(optionsOf({ out: at("none"), config: config("no.json", { training: { checkpointng: 1 } }) })),
  ).rejects.toThrow(/unknown key "checkpointng".*did you mean "checkpointing"/);
});
