/** The pictures of the documents: each has a row, and the same model and data give the same file. */

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shippedModels } from "../src/cli/models.ts";
import { UserError } from "../src/core/errors.ts";
import { plain, put } from "../src/data/test-files.ts";
import { type TestModels, testModels } from "../src/server/test-models.ts";
import { dataSheet, evenShares, stacked } from "./pictures-sheets.ts";
import { chosen, nameOf, otherPictures, pictureRows } from "./pictures-table.ts";
import { firstOf } from "../src/test-depth.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("the table", () => {
  it("has a row for every picture of the documents", () => {
    const documents = [
      "README.md",
      "models/README.md",
      ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`),
    ];
    const shown = documents
      .filter((file) => file.endsWith(".md"))
      .flatMap((file) =>
        [...readFileSync(join(root, file), "utf8").matchAll(/\]\(([^)\s:]+\.(?:png|svg|webp|gif))\)/g)].map(
          ([, path]) => posix.normalize(posix.join(posix.dirname(file), path)),
        ),
      );
    expect(shown).toContain("docs/samples.png");
    const rows = new Set(pictureRows(shippedModels()).map(({ file }) => `docs/${file}`));
    const known = (path: string) =>
      rows.has(path) || Object.keys(otherPictures).some((folder) => path.startsWith(folder));
    expect(shown.filter((path) => !known(path) || !existsSync(join(root, path)))).toEqual([]);
  });

  it("finds pictures by their names and by their model's, and suggests a name", () => {
    const rows = pictureRows(["emoji", "digits"]);
    expect(chosen(rows, [])).toEqual(rows);
    expect(chosen(rows, ["samples", "digits-grid"]).map(nameOf)).toEqual(["samples", "digits-grid"]);
    expect(chosen(rows, ["digits"]).every(({ model }) => model === "digits")).toBe(true);
    expect(() => chosen(rows, ["sampels"])).toThrow(/there is no picture "sampels"; did you mean "samples"/);
  });
});

describe("a model's pictures", { timeout: 300_000 }, () => {
  let models: TestModels;
  const data = () => join(models.folder, "data");
  const colours = { cat: [200, 30, 30], dog: [20, 40, 220] };
  beforeAll(async () => {
    models = await testModels();
    for (const [name, colour] of Object.entries(colours))
      for (let i = 0; i < 4; i++) {
        for (const [part, lighter] of [
          ["train", i],
          ["test", i + 10],
        ] as const) {
          const shade = colour.map((value) => value + lighter);
          put(join(data(), part, name, `${i}.png`), await plain(shade).png().toBuffer());
        }
      }
  });
  afterAll(() => models.remove());

  async function made(file: string, nth: number, given: string | undefined = data()): Promise<Buffer | string> {
    const row = pictureRows([join(models.folder, "tiny")]).find((one) => one.file === file)!;
    const out = join(models.folder, `${nth}-${file}`);
    const reason = await row.make({ out, scratch: models.folder, data: given, cache: join(models.folder, "cache") });
    return reason ?? readFileSync(out);
  }

  it.each(firstOf(["tiny-grid.png", "tiny-data.png", "tiny-bits.png", "likelihood-tiny.svg"], 2))(
    "%s is the same file when made again",
    async (file) => {
      const first = await made(file, 1);
      expect(first).toBeInstanceOf(Buffer);
      expect(await made(file, 2)).toEqual(first);
    },
  );

  it("places generated and training images of the same classes alike", async () => {
    const [grid, sheet] = await Promise.all(
      ["tiny-grid.png", "tiny-data.png"].map(async (file) =>
        sharp(join(models.folder, `1-${file}`))
          .removeAlpha()
          .raw()
          .toBuffer({ resolveWithObject: true }),
      ),
    );
    expect(sheet.info).toMatchObject({ width: grid.info.width, height: grid.info.height });
    const at = (x: number, y: number) => [...sheet.data.subarray((y * sheet.info.width + x) * 3).subarray(0, 3)];
    const last = sheet.info.height - 60;
    expect(at(60, 60)[0]).toBeGreaterThanOrEqual(200);
    expect(at(60, last)[2]).toBeGreaterThanOrEqual(220);
  });

  it("says why a picture is skipped", async () => {
    expect(await made("tiny-curve.svg", 1)).toMatch(/no tiny\/curve\.svg/);
    const row = pictureRows([join(models.folder, "tiny")]).find(({ file }) => file === "tiny-data.png")!;
    expect(await row.make({ out: "unused.png", scratch: "", cache: "" })).toBe(
      "its data are not known; add --data tiny=PATH",
    );
  });
});

describe("sheets", () => {
  it("share images evenly between classes, in their order", () => {
    expect(evenShares(["a", "b", "c"], 10).join("")).toBe("aaaabbbccc");
    expect(evenShares(["a", "b", "c"], 2).join("")).toBe("ab");
    expect(new Set(evenShares(Array.from({ length: 86 }, (_, i) => `${i}`), 100)).size).toBe(86); // prettier-ignore
  });

  const split = (labels: number[]) => ({
    count: labels.length,
    labels: Int32Array.from(labels),
    names: labels.map(String),
    image: (index: number) => Uint8Array.of(index * 10),
  });
  const dataset = {
    name: "dots",
    source: "dots",
    classes: ["a", "b", "c"],
    groups: { both: ["b", "c"] },
    size: 1,
    channels: 1,
    train: split([0, 1, 0, 2, 1]),
    heldOut: split([]),
    skipped: [],
    notes: [],
    fingerprint: "",
  };

  it("take training images of a class or a group, none twice before all have been shown", async () => {
    const names = ["a", "a", "both", "both", "both"];
    const { data, info } = await sharp(await dataSheet(dataset, { names, columns: 5 }))
      .toColourspace("b-w")
      .raw()
      .toBuffer({ resolveWithObject: true });
    // A cell is 128 pixels wide, with 4 between cells.
    const values = names.map((_, i) => data[10 * info.width + 10 + 132 * i]);
    expect(values.slice(0, 2).toSorted()).toEqual([0, 20]);
    expect(values.slice(2).toSorted((a, b) => a - b)).toEqual([10, 30, 40]);
  });

  it("refuse classes that the data do not have", () => {
    expect(() => dataSheet(dataset, { names: ["d"], columns: 1 })).toThrow(UserError);
  });

  it("stack pictures with their titles", async () => {
    const file = join(root, "docs/samples.png");
    const { width, height } = await sharp(file).metadata();
    const found = await sharp(await stacked([{ title: "one", file }, { title: "two", file }])).metadata(); // prettier-ignore
    expect(found.height).toBe(2 * height);
    expect(found.width).toBeGreaterThan(width + 30);
  });
});
