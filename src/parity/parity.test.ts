/** All recorded results of the published implementation are reproduced, and a different model does not pass. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { type HostTensor, uint8 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { withoutChecksums } from "../files/test-torch.ts";
import { openCheckpoint, type TensorRef } from "../files/checkpoint.ts";
import { input } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { placedLevels } from "../config/model.ts";
import { modelParameters } from "../model/parameters.ts";
import { normalize, patchify } from "../model/patches.ts";
import { type ParityCase, readCase } from "./case.ts";
import { type Comparison, within } from "./compare.ts";
import { compareSamples } from "./samples.ts";
import { compareEvaluation, compareResumed, compareTraining } from "./teacher.ts";
import { thorough } from "../test-depth.ts";

const engine = await nodeEngine();
const folder = (name: string) => fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url));

/** Each kind of comparison, and the recorded arrays that it must cover. */
const kinds = [
  { kind: "evaluation", compare: compareEvaluation, results: /^(level0\.cond\.\w+|eval\.loss)$/ },
  { kind: "training", compare: compareTraining, results: /^train\d\.(loss$|grad_norm$|grad\.|gradnorm\.|after\.)/ },
  { kind: "samples", compare: compareSamples, results: /^sample\.\w+\.u8$/ },
];

/** Recorded arrays other than results: inputs, draws, and the patches, which have a separate test. */
const given = /^(images(\.u8)?|labels|level0\.(patches|mask))$|\.(draw_kind|draw_size|uniforms|orders)$|\.draw\.\d+\./;

/** The number of results in each folder, counted when they were recorded. */
const recorded = { "ar-3level": 191, "mar-3level": 249, "mar-4level-guided": 431 };

/** Values whose gradient is rounding noise are compared separately: one result, up to two comparisons. */
const names = (comparisons: Comparison[]): string[] => [
  ...new Set(comparisons.map(({ name }) => name.replace(/ \(noise\)$/, ""))),
];

const failures = (comparisons: Comparison[]) => comparisons.filter(({ ok }) => !ok);

describe.each(Object.entries(recorded))("%s", (name, results) => {
  let parityCase: ParityCase;
  beforeAll(async () => {
    parityCase = await readCase(folder(name));
  });

  it.each(kinds.map((kind) => [kind.kind, kind] as const))("%s agrees", async (_, { compare, results: wanted }) => {
    const comparisons = await compare(engine, parityCase);
    expect(failures(comparisons)).toEqual([]);
    expect(names(comparisons).sort()).toEqual(parityCase.keys.filter((key) => wanted.test(key)).sort());
  });

  it.runIf(thorough || name === "ar-3level")(
    "training that resumes from the checkpoint after the first step agrees",
    async ({ skip }) => {
      if (!parityCase.afterFirstStep) skip("none was recorded");
      const comparisons = await compareResumed(engine, parityCase);
      expect(failures(comparisons)).toEqual([]);
      const second = parityCase.keys.filter((key) => /^train1\.(loss$|grad_norm$|grad\.|gradnorm\.|after\.)/.test(key));
      expect(names(comparisons).sort()).toEqual(second.map((key) => `resumed: ${key}`).sort());
    },
  );

  it.runIf(thorough || name === "ar-3level")("a lost moment is detected when training resumes", async ({ skip }) => {
    if (!parityCase.afterFirstStep) skip("none was recorded");
    const path = join(mkdtempSync(join(tmpdir(), "parity-")), "spoilt.pth");
    try {
      writeFileSync(path, await withoutFirstMoment(parityCase.afterFirstStep!));
      expect(names(failures(await compareResumed(engine, { ...parityCase, afterFirstStep: path })))).toEqual([
        "resumed: train1.after.generator.patch_emb_ln.weight",
      ]);
    } finally {
      rmSync(dirname(path), { recursive: true });
    }
  });

  it("the first level's patches agree", async () => {
    const images = parityCase.expected("images.u8");
    const { imageSize, channels } = parityCase.config;
    const [{ patch }] = placedLevels(parityCase.config);
    const bytes = input("bytes", "uint8", ["B", imageSize, imageSize, channels]);
    const session = await engine.session(writeOnnx({ patches: patchify(normalize(bytes), patch) }));
    const { patches } = await session.run({ bytes: uint8(images.data as Uint8Array, images.shape) });
    await session.dispose();
    expect(within("level0.patches", numbers(patches), numbers(parityCase.expected("level0.patches")), 1e-6).ok).toBe(
      true,
    );
  });

  it("has no recorded array that no test uses", () => {
    const compared = parityCase.keys.filter((key) => kinds.some(({ results: wanted }) => wanted.test(key)));
    expect(compared.length).toBe(results);
    expect(parityCase.keys.filter((key) => !compared.includes(key) && !given.test(key))).toEqual([]);
  });

  it.runIf(thorough || name !== "mar-4level-guided")(
    "a weight that is off by 0.01 is detected in evaluation and training",
    async () => {
      const spoilt = withWeight(parityCase, "generator.patch_emb.weight", 0.01);
      expect(names(failures(await compareEvaluation(engine, spoilt)))).toContain("level0.cond.middle");
      expect(names(failures(await compareTraining(engine, spoilt)))).toEqual(
        expect.arrayContaining(["train0.grad_norm", "train0.grad.class_emb.weight"]),
      );
    },
  );

  // An error of 0.01 is not enough here: the recorded draws avoid boundaries so that bytes survive rounding.
  it("another model's samples are detected", async () => {
    const { "sample.plain": plain } = parityCase.samples;
    const bias = modelParameters(parityCase.config).find(
      ({ name, owner }) => owner === "pixels" && name.endsWith("r_mlm.bias"),
    )!.name;
    const spoilt = { ...withWeight(parityCase, bias, 1), samples: { "sample.plain": plain } };
    expect(names(failures(await compareSamples(engine, spoilt)))).toEqual(["sample.plain.u8"]);
  });
});

it.runIf(thorough)("npm run parity ignores a README matched by a glob, and counts what agrees", () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const paths = [folder("README.md"), folder("ar-3level")];
  const { status, stdout } = spawnSync(process.execPath, ["--import", "tsx", main, ...paths], { encoding: "utf8" });
  expect(stdout).toMatch(/^ar-3level:\n( {2}ok .*\n){191,}\d+ agree, 0 differ\n$/);
  expect(status).toBe(0);
});

it("no comparison passes with a NaN, a missing value or an error above its tolerance", () => {
  expect(within("same", [1, 2], [1, 2], 0).ok).toBe(true);
  expect(within("nan", [1, Number.NaN], [1, 2], 10).ok).toBe(false);
  expect(within("nan first", [Number.NaN, 2], [1, 2], 10).ok).toBe(false);
  expect(within("short", [1], [1, 2], 10).ok).toBe(false);
  expect(within("off", [1, 2.02], [1, 2], 0.01)).toMatchObject({ ok: false, tolerance: 0.01 });
});

const numbers = ({ data }: HostTensor) => data as ArrayLike<number>;

/** The case with `error` added to the first value of one weight. */
function withWeight(parityCase: ParityCase, name: string, error: number): ParityCase {
  const changed = parityCase.weights.get(name)!.slice();
  changed[0] += error;
  return { ...parityCase, weights: new Map([...parityCase.weights, [name, changed]]) };
}

/** The checkpoint's bytes with zeros for the first moments of its second parameter without weight decay. */
async function withoutFirstMoment(path: string): Promise<Uint8Array> {
  const checkpoint = await openCheckpoint(path);
  const tree = checkpoint.value as Map<string, Map<string, Map<number, Map<string, TensorRef>>>>;
  const { data } = await checkpoint.read(tree.get("optimizer")!.get("state")!.get(1)!.get("exp_avg")!);
  await checkpoint.close();
  const bytes = readFileSync(path);
  const moments = new Uint8Array(data.buffer as ArrayBuffer);
  return withoutChecksums(bytes.fill(0, bytes.indexOf(moments), bytes.indexOf(moments) + moments.length));
}
