/** Conversion of checkpoints: values survive exactly, and all mismatches are reported together. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { configOfCase } from "../config/published-case.ts";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { decays, modelParameters } from "../model/parameters.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { openConversion } from "./convert.ts";
import { readModelFolder } from "./model.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { modelTensors } from "./state-dict.ts";
import { readSafetensors } from "./safetensors.ts";
import { checkpointBytes, type Stored } from "./test-torch.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/parity/", import.meta.url));
const caseConfig = (name: string): ModelConfig =>
  configOfCase(JSON.parse(readFileSync(join(fixtures, name, "case.json"), "utf8")), name);

let dir: string;
let out: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "convert-"));
  out = join(dir, "out");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function convert(path: string, config: ModelConfig, options: { optimizer?: boolean } = {}) {
  const conversion = await openConversion(path, config, options);
  await conversion.write(out).finally(conversion.close);
  return conversion;
}

const buffer = ({ buffer: bytes, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(bytes as ArrayBuffer, byteOffset, byteLength);

describe("checkpoints that PyTorch wrote", () => {
  it.each(["ar-3level", "mar-3level", "mar-4level-guided"])("%s becomes a model folder", async (name) => {
    const path = join(fixtures, name, "checkpoint-last.pth");
    const { parameters, bytes, step } = await convert(path, caseConfig(name));
    const { config, weights } = readModelFolder(out);
    expect(config).toEqual(caseConfig(name));
    expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(step).toBeUndefined();
    const written = readSafetensors(weights.path).tensors;
    const checkpoint = await openCheckpoint(path);
    for (const [tensor, ref] of modelTensors(checkpoint))
      expect(buffer((await checkpoint.read(ref)).data).equals(buffer(written.get(tensor)!.data)), tensor).toBe(true);
    await checkpoint.close();
    const sizes = [...written.values()].map(({ data }) => data.length);
    expect(parameters).toBe(sizes.reduce((a, b) => a + b));
    expect(bytes).toBe(4 * parameters);
  });

  // By hand, from python3: entry 1 of the optimiser's state is the second parameter without weight decay, entry 77 the
  // second with it, after 76 without.
  it("assigns AdamW's moments to their parameters and keeps step and settings", async () => {
    const path = join(fixtures, "mar-3level", "checkpoint-after-step0.pth");
    const config = caseConfig("mar-3level");
    const { bytes, parameters, step } = await convert(path, config);
    const { state, training } = await loadCheckpoint(out);
    expect([step, state.step, bytes]).toEqual([1, 1, 16 * parameters]);
    const [first, second] = ["generator.patch_emb_ln.weight", "class_emb.weight"].map((name) =>
      state.moments.get(name),
    );
    expect([first!.first[0], first!.second![0]]).toEqual([-8.714874275028706e-5, 3.797451597620238e-8]);
    expect(training).toMatchObject({ learningRate: 1e-3, weightDecay: 0.05, betas: [0.9, 0.95], eps: 1e-8, ema: 0 });
    const checkpoint = await openCheckpoint(path);
    const states = (checkpoint.value as Map<string, Map<string, Map<number, Map<string, never>>>>)
      .get("optimizer")!
      .get("state")!;
    const embedding = await checkpoint.read(states.get(77)!.get("exp_avg")!);
    expect([...embedding.data]).toEqual([...second!.first]);
    expect([...modelTensors(checkpoint).keys()]).toEqual(modelParameters(config).map(({ name }) => name));
    await checkpoint.close();
  });

  it("can leave out the optimiser's state", async () => {
    await convert(join(fixtures, "ar-3level", "checkpoint-after-step0.pth"), caseConfig("ar-3level"), {
      optimizer: false,
    });
    expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
  });

  it("an aborted conversion leaves nothing behind", async () => {
    const conversion = await openConversion(
      join(fixtures, "mar-3level", "checkpoint-last.pth"),
      caseConfig("mar-3level"),
    );
    const controller = new AbortController();
    const seen: number[] = [];
    const written = conversion.write(out, {
      signal: controller.signal,
      onProgress: (done, total) => {
        seen.push(done);
        if (done > total / 2) controller.abort();
      },
    });
    await expect(written).rejects.toThrow(/abort/i);
    await conversion.close();
    expect(seen.length).toBeGreaterThan(2);
    expect(readdirSync(dir)).toEqual([]);
  });
});

const small = parseModelConfig(
  {
    imageSize: 4,
    classes: ["one"],
    levels: [
      { kind: "ar", patch: 1, width: 4, depth: 2, heads: 1 },
      { kind: "pixel", width: 4, depth: 1, heads: 1 },
    ],
  },
  "the test",
);
const parameters = modelParameters(small);
const embedding = "class_emb.weight";

const zeros = (shape: readonly number[]): Stored => ({ shape, bytes: new Uint8Array(4 * product(shape)) });
const smallModel = (): Map<string, Stored> => new Map(parameters.map(({ name, shape }) => [name, zeros(shape)]));

/** AdamW's state as PyTorch stores it: first the parameters without weight decay, then those with it. */
function smallOptimizer({ steps = 3 } = {}) {
  const groups = [parameters.filter((one) => !decays(one)), parameters.filter(decays)];
  const state = new Map<number, Record<string, unknown>>();
  const param_groups = groups.map((group, g) => ({
    lr: 0.25,
    betas: [0.5, 0.75],
    eps: 0.125,
    weight_decay: g * 0.5,
    params: group.map(({ shape }) => {
      state.set(state.size, { step: steps, exp_avg: zeros(shape), exp_avg_sq: zeros(shape) });
      return state.size - 1;
    }),
  }));
  return { state, param_groups };
}

/** Writes a checkpoint and converts it; returns the error message if it is rejected. */
async function refusal(tree: unknown, config = small): Promise<string> {
  const path = join(dir, "x.pth");
  writeFileSync(path, checkpointBytes(tree));
  const error = await convert(path, config).then(
    () => "converted",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  expect(readdirSync(dir)).toEqual(["x.pth"]);
  return (error as Error).message.replace(path, "FILE");
}

describe("checkpoints written by hand", () => {
  it.each([
    ["Half", [0x3c00, 0xc000, 0x7bff, 1]],
    ["BFloat16", [0x3f80, 0xc000, 0x477f, 0x3380]],
  ])("%s becomes float32", async (type, bits) => {
    const model = smallModel();
    const bytes = new Uint8Array(Uint16Array.from(bits).buffer);
    model.set(embedding, { type, shape: [1, 4], bytes });
    const path = join(dir, "x.pth");
    writeFileSync(path, checkpointBytes({ model }));
    await convert(path, small);
    const { data } = readSafetensors(readModelFolder(out).weights.path).tensors.get(embedding)!;
    expect([...data]).toEqual([1, -2, type === "Half" ? 65504 : 65280, 2 ** -24]);
  });

  it("reports all mismatches in one sentence", async () => {
    const model = smallModel();
    model.delete("fake_latent");
    model.delete("generator.blocks.0.attention_norm.weight");
    model.delete("generator.blocks.1.attention_norm.weight");
    model.set("generator.extra", zeros([2]));
    model.set("next_fractal.r_mlm.bias", zeros([256]));
    model.set(embedding, { type: "Long", shape: [1, 4], bytes: new Uint8Array(32) });
    expect(await refusal({ model })).toBe(
      "FILE does not fit the architecture: 3 missing (fake_latent, generator.blocks.0-1.attention_norm.weight); 1 unexpected (generator.extra); 1 with the wrong shape (next_fractal.r_mlm.bias [256] instead of [1, 256]); 1 with a type other than float32 (class_emb.weight int64); use the configuration that it was trained with",
    );
  });

  it("reports whole missing blocks for a different depth", async () => {
    const [first, pixel] = small.levels;
    const deeper = { ...small, levels: [{ ...first, depth: 5 }, pixel] };
    expect(await refusal({ model: smallModel() }, deeper)).toMatch(
      /: 21 missing \(7 each of generator\.blocks\.2-4 such as attention\.wqkv\.weight\); use/,
    );
  });

  it("reports a mismatched optimiser, too", async () => {
    const model = smallModel();
    const other = smallOptimizer();
    other.param_groups = [{ ...other.param_groups[0], params: [...other.state.keys()] }];
    expect(await refusal({ model, optimizer: other })).toMatch(
      /: its optimiser has 49 parameters in its groups, expected 26 without weight decay and 23 with it; use/,
    );
    const misshapen = smallOptimizer();
    misshapen.state.get(0)!["exp_avg_sq"] = zeros([3]);
    delete misshapen.state.get(1)!["step"];
    const [none, alsoNone] = parameters.filter((one) => !decays(one)).map(({ name }) => name);
    expect(await refusal({ model, optimizer: misshapen })).toContain(
      `its optimiser state lacks a step and two matching moments for 2 parameters (${none}, ${alsoNone})`,
    );
    const uneven = smallOptimizer();
    uneven.state.get(2)!["step"] = 4;
    expect(await refusal({ model, optimizer: uneven })).toBe(
      "FILE: its optimiser has taken 3 and 4 steps, expected the same whole number for all parameters; convert the weights without the optimiser",
    );
  });

  it("converts the published trainer's arguments to settings and its epochs to steps", async () => {
    const args = {
      epochs: 8,
      warmup_epochs: 2,
      lr: 0.5,
      min_lr: 0.125,
      lr_schedule: "cosine",
      batch_size: 4,
      world_size: 2,
      grad_clip: 1.5,
      label_drop_prob: 0.25,
      attn_dropout: 0.5,
      proj_dropout: 0.75,
      seed: 7,
      data_path: "images/",
    };
    const path = join(dir, "x.pth");
    const tree = { model: smallModel(), optimizer: smallOptimizer({ steps: 30 }), epoch: 2, args };
    writeFileSync(path, checkpointBytes(tree));
    await convert(path, small);
    const { training, dataset, state } = await loadCheckpoint(out);
    expect([state.step, dataset]).toEqual([30, { source: "images/" }]);
    expect(training).toMatchObject({
      steps: 80,
      warmup: 20,
      learningRate: 0.5,
      minLearningRate: 0.125,
      schedule: "cosine",
      batch: 8,
      microBatch: 8,
      clip: 1.5,
      labelDrop: 0.25,
      attentionDropout: 0.5,
      projectionDropout: 0.75,
      seed: 7,
      betas: [0.5, 0.75],
      eps: 0.125,
      weightDecay: 0.5,
      augment: ["flip"],
    });
  });

  it("rejects a quantised configuration", async () => {
    expect(await refusal({ model: smallModel() }, { ...small, dtype: "q8" })).toMatch(
      /FILE can only be converted to float32, but the configuration says q8/,
    );
  });
});
