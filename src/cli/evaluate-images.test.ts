/** `fractalgen evaluate quality`, `memorisation` and `features` with small images: results, resuming and errors. */

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { derive, seedKey, uniform } from "../core/random.ts";
import { writeModelFolder } from "../files/model.ts";
import { syntheticInception } from "../parity/test-inception.ts";
import { startingState } from "../train/state.ts";
import { call } from "./test-call.ts";
import { thorough } from "../test-depth.ts";

const config = parseModelConfig(
  {
    imageSize: 8,
    channels: 1,
    classes: ["dark", "light"],
    levels: [
      { kind: "mar", patch: 4, width: 16, depth: 1, heads: 2 },
      { kind: "mar", patch: 1, width: 16, depth: 1, heads: 2 },
      { kind: "pixel", width: 16, depth: 1, heads: 2 },
    ],
    sampling: { guidance: 1, iterations: [2, 2] },
  },
  "the test",
);

let folder = "";
const at = (name: string) => join(folder, name);

/** Grey images of two classes, dark and light. */
async function images(name: string, count: number, seed: number): Promise<void> {
  for (const [label, which] of ["dark", "light"].entries()) {
    mkdirSync(at(`${name}/${which}`), { recursive: true });
    for (let i = 0; i < count; i++) {
      const key = derive(derive(seedKey(seed), label), i);
      const data = Uint8Array.from({ length: 64 }, (_, n) => 110 * label + 20 + 100 * uniform(key, n));
      await sharp(data, { raw: { width: 8, height: 8, channels: 1 } })
        .toColourspace("b-w")
        .png()
        .toFile(at(`${name}/${which}/${i}.png`));
    }
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-quality-"));
  await writeModelFolder(at("model"), config, startingState(config, 3, { ema: 0 }).values);
  await images("data", 40, 1);
  await images("held-out", 12, 2);
  // A flat folder, as generated images are, so that their classes are unknown.
  for (const which of ["dark", "light"])
    for (let i = 0; i < 10; i++) {
      mkdirSync(at("copies"), { recursive: true });
      cpSync(at(`data/${which}/${i}.png`), at(`copies/${which}-${i}.png`));
    }
  trained = await evaluate("features", "--data", at("data"), "--out", at("own"), "--steps", "30");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number;
  out: string;
  err: string;
}
let trained: Ended;

const evaluate = (measure: string, ...args: string[]) =>
  call("evaluate", measure, "--cache", at("cache"), "--held-out", at("held-out"), ...args);
const quality = (...args: string[]) =>
  evaluate("quality", "--reference", at("data"), "--features", at("own"), "--json", ...args);
const memorisation = (...args: string[]) =>
  evaluate("memorisation", "--data", at("data"), "--features", at("own"), "--json", ...args);

describe("evaluate quality", () => {
  it("reports a small distance for copies of the reference and a large one for a random model, and measures held-out images too", async () => {
    const copies = JSON.parse((await quality("--generated", at("copies"))).out);
    const drawn = JSON.parse((await quality("--generated", at("model"), "-n", "20")).out);
    expect(copies).toMatchObject({ referenceImages: 80, features: { kind: "own" }, skipped: [] });
    expect(copies.generated).toMatchObject({ images: 20, precision: 1 });
    expect(copies.heldOut.images).toBe(24);
    expect(drawn.drawn).toMatchObject({ count: 20, seed: 0, guidance: 1, iterations: [2, 2] });
    expect(drawn.generated.ownFrechetDistance).toBeGreaterThan(10 * copies.generated.ownFrechetDistance);
    expect(drawn.generated.ownKernelDistance.mean).toBeGreaterThan(copies.generated.ownKernelDistance.mean);
    expect(drawn.generated.precision).toBeLessThan(copies.generated.precision);
    expect(drawn.generated).not.toHaveProperty("fid"); // so that nobody mistakes it for FID
    expect(drawn.generated).not.toHaveProperty("inceptionScore");
  });

  it("prints a table that says which features were used", async () => {
    const { out } = await evaluate("quality", "--reference", at("data"), "--features", at("own"), "--generated", at("copies")); // prettier-ignore
    expect(out).toMatch(
      /features: own features of data \(2 classes, .*\), 128 dimensions; not comparable with published FID, KID/,
    );
    expect(out).toMatch(/Fréchet distance, own features +\S+ +\S+/);
    expect(out).toMatch(/^ {2}images of 8x8 pixels$/m);
    expect(out).toMatch(/kernel distance, own features +\S+ ± \S+/);
    expect(out).not.toMatch(/^ +(FID|KID|Inception Score) /m);
  });

  it.runIf(thorough)("trains features on the data automatically if none are given, and only once", async () => {
    const own = () => evaluate("quality", "--reference", at("data"), "--generated", at("copies"), "--json");
    const first = await own();
    expect(first.code).toBe(0);
    expect(JSON.parse(first.out).features.name).toMatch(/own features of data \(2 classes/);
    expect((await own()).out).toBe(first.out);
  });

  it.runIf(thorough)(
    "keeps generated images, resumes from them, and refuses images made with other options",
    async () => {
      const each = at("each");
      const kept = () => quality("--generated", at("model"), "-n", "16", "--each", each);
      const all = await kept();
      const file = join(each, "000003.png");
      const [before, bytes] = [statSync(join(each, "000001.png")).mtimeMs, readFileSync(file)];
      rmSync(file);
      rmSync(join(each, "000012.png"));
      expect((await kept()).out).toBe(all.out);
      expect(readFileSync(file)).toEqual(bytes);
      expect(statSync(join(each, "000001.png")).mtimeMs).toBe(before);
      const other = await quality("--generated", at("model"), "-n", "16", "--each", each, "--seed", "2");
      expect(other.code).toBe(2);
      expect(other.err).toMatch(/--each: .* holds images made with a different model, seed or options/);
      writeFileSync(file, "no image");
      expect((await kept()).err).toMatch(/000003\.png is not an image of 8x8 pixels; delete it/);
    },
  );

  it("writes the reference's statistics, which can replace it in later runs", async () => {
    const stats = at("stats.npz");
    const whole = JSON.parse((await quality("--generated", at("copies"), "--save-stats", stats)).out);
    const { out } = await quality("--reference", stats, "--generated", at("copies"));
    const again = JSON.parse(out);
    expect(again.generated.ownFrechetDistance).toBeCloseTo(whole.generated.ownFrechetDistance, 4);
    expect(again.generated).not.toHaveProperty("precision");
    expect(again).not.toHaveProperty("heldOut");
  });

  it("uses all images of data without a held-out part", async () => {
    const args = ["--features", at("own"), "--generated", at("copies"), "--json", "--cache", at("cache")];
    const { out, code } = await call("evaluate", "quality", "--reference", at("data"), ...args);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ reference: "data", referenceImages: 80 });
    expect(JSON.parse(out)).not.toHaveProperty("heldOut");
  });

  it.runIf(thorough)("skips a damaged image, names it and counts it", async () => {
    cpSync(at("copies"), at("damaged"), { recursive: true });
    writeFileSync(at("damaged/dark-3.png"), readFileSync(at("damaged/dark-3.png")).subarray(0, 60));
    const { out } = await evaluate("quality", "--reference", at("data"), "--features", at("own"), "--generated", at("damaged")); // prettier-ignore
    expect(out).toMatch(/images +19 /);
    expect(out).toMatch(/1 image was skipped:\n +dark-3\.png /);
    const { skipped } = JSON.parse((await quality("--generated", at("damaged"))).out);
    expect(skipped).toEqual([{ name: "dark-3.png", reason: expect.any(String) }]);
  });

  it.runIf(thorough)("uses FID's network, and the names FID and KID, if its weights are cached", async () => {
    mkdirSync(at("with-inception"), { recursive: true });
    symlinkSync(await syntheticInception(), at("with-inception/inception.safetensors"));
    const args = ["--reference", at("held-out"), "--generated", at("copies"), "--held-out", "0.5"];
    const { out, code } = await evaluate("quality", ...args, "--part", "all", "--cache", at("with-inception"));
    rmSync(at("with-inception"), { recursive: true });
    expect(code).toBe(0);
    expect(out).toMatch(/features: Inception-v3, 2048 dimensions$/m);
    expect(out).toMatch(/^ +FID +\d/m);
    expect(out).toMatch(/^ +KID +\S+ ± \S+$/m);
    expect(out).toMatch(/^ +Inception Score +\S+ ± \S+$/m);
    expect(out).toMatch(/20 images are too few for 2048 dimensions/);
  });

  it.each([
    [
      "too few images for a metric",
      () => ["--generated", at("model"), "-n", "6"],
      /Inception Score of 10 splits.*at least 10.*6/,
    ],
    [
      "subsets larger than the set",
      () => ["--generated", at("copies"), "--subset-size", "50"],
      /KID over subsets of 50 images.*50.*20/,
    ],
    [
      "statistics of another dimension",
      () => ["--generated", at("copies"), "--reference", "fixtures/metrics/stats.npz"],
      /statistics have 48 dimensions, but the features of the network have 128/,
    ],
    [
      "a missing features folder",
      () => ["--generated", at("copies"), "--features", "inception"],
      /fractalgen download inception/,
    ],
    [
      "a folder that holds no features",
      () => ["--generated", at("copies"), "--features", at("model")],
      /holds no feature network/,
    ],
    [
      "images of another size",
      () => ["--generated", at("copies"), "--image-size", "4"],
      /trained on images of 8x8 pixels, but the generated images are 4x4/,
    ],
    [
      "other channels",
      () => ["--generated", at("copies"), "--channels", "3", "--reference", at("data"), "--part", "nothing"],
      /--part: expected train or held-out or all/,
    ],
    ["an unknown model", () => ["--generated", at("nowhere")], /--generated: there is no model/],
    [
      "--each with images that already exist",
      () => ["--generated", at("copies"), "--each", at("x")],
      /--each: this option keeps images generated by a model/,
    ],
    [
      "statistics of statistics",
      () => ["--generated", at("copies"), "--reference", "fixtures/metrics/stats.npz", "--save-stats", at("s.npz")],
      /--save-stats: the reference is already a file of statistics/,
    ],
    [
      "an unknown option",
      () => ["--generated", at("copies"), "--neighbors", "3"],
      /unknown option '--neighbors'; did you mean --neighbours\?/,
    ],
  ] as const)("refuses %s in one sentence", async (_, args, sentence) => {
    // prettier-ignore
    const { code, err, out } = await quality(...args());
    expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(2);
    expect(out).toBe("");
  });
});

describe("evaluate memorisation", () => {
  it("distinguishes copies of training images from new images, and draws the closest pairs", async () => {
    const pairs = at("pairs.png");
    const { out } = await memorisation("--generated", at("copies"), "--pairs", pairs, "--pairs-count", "6");
    const copies = JSON.parse(out);
    expect(copies.pixels.generated).toMatchObject({ images: 20, copies: 20, median: 0 });
    expect(copies.features.generated.median).toBe(0);
    expect(copies.pixels.heldOut.copies).toBe(0);
    expect(copies.pixels.nearerThanHeldOut).toBe(1);
    const picture = await sharp(pairs).metadata();
    expect(picture.width! / picture.height!).toBeGreaterThan(2); // 12 pictures, 8 in a row
    const { out: fresh } = await memorisation("--generated", at("held-out"));
    expect(JSON.parse(fresh).pixels.nearerThanHeldOut).toBeLessThan(0.1);
    // Root mean squared difference, computed by hand for one image.
    const first = await sharp(at("held-out/dark/0.png")).raw().toBuffer();
    const distances = await Promise.all(
      ["dark", "light"].flatMap((which) =>
        Array.from({ length: 40 }, async (_, i) => {
          const other = await sharp(at(`data/${which}/${i}.png`))
            .raw()
            .toBuffer();
          return Math.sqrt(first.reduce((sum, value, n) => sum + ((value - other[n]) / 255) ** 2, 0) / first.length);
        }),
      ),
    );
    mkdirSync(at("one"), { recursive: true });
    cpSync(at("held-out/dark/0.png"), at("one/0.png"));
    cpSync(at("held-out/dark/0.png"), at("one/1.png"));
    const { out: one } = await memorisation("--generated", at("one"));
    expect(JSON.parse(one).pixels.generated.least).toBeCloseTo(Math.min(...distances), 6);
  });

  it("prints both measures in a table", async () => {
    const { out } = await evaluate("memorisation", "--data", at("data"), "--features", at("own"), "--generated", at("model"), "-n", "20"); // prettier-ignore
    expect(out).toMatch(/by pixels \(root mean squared difference, values from 0 to 1\)/);
    expect(out).toMatch(/^ {2}images of 8x8 pixels$/m);
    expect(out).toMatch(/by own features of data/);
    expect(out).toMatch(/are closer than 95% of the held-out ones/);
  });

  it("refuses data with too few held-out images", async () => {
    mkdirSync(at("few"), { recursive: true });
    for (let i = 0; i < 3; i++) cpSync(at(`held-out/dark/${i}.png`), at(`few/dark/${i}.png`));
    for (let i = 0; i < 3; i++) cpSync(at(`held-out/light/${i}.png`), at(`few/light/${i}.png`));
    const { code, err } = await memorisation("--generated", at("copies"), "--held-out", at("few"));
    expect(code).toBe(2);
    expect(err).toMatch(/holds out 6 images, .*at least 20.*--held-out/);
  });
});

describe("evaluate features", () => {
  it("says what the network learnt, and where it was written", () => {
    expect(trained).toMatchObject({ code: 0, out: `${at("own")}\n` });
    expect(trained.err).toMatch(/\d+k parameters; recognises the classes of \d+\.\d% of held-out images/);
  });

  it("refuses an existing folder", async () => {
    const { code, err } = await evaluate("features", "--data", at("data"), "--out", at("own"));
    expect(code).toBe(2);
    expect(err).toMatch(/--out: .*own already exists/);
    expect(existsSync(at("own/config.json"))).toBe(true);
  });
});
