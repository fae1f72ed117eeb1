/** Images in Parquet files as data sets, and error messages. */

import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { processorSeconds } from "../files/test-time.ts";
import type { Split } from "./dataset.ts";
import { firsts, labelNames, temporaryData, UserError } from "./test-arrays.ts";
import { plain, put } from "./test-files.ts";

const { open, folderOf, refused } = temporaryData();

describe("Parquet", () => {
  const fixtures = fileURLToPath(new URL("../../fixtures/data/", import.meta.url));
  const read = (name: string) => readFileSync(join(fixtures, name));
  const [first, second, test] = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"].map(
    (name) => `${name}.parquet`,
  );
  const reds = (split: Split) => firsts(split).map((red) => red / 10);

  it.each(["", "data/", "default/train/"])("is read from a folder with files in %j, in all row groups", async (at) => {
    const names = at.includes("train")
      ? ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"]
      : [first, second, test].map((name) => at + name);
    const folder = folderOf(Object.fromEntries(names.map((name, i) => [name, read([first, second, test][i])])));
    const { train, heldOut, classes, size, channels } = await open(folder);
    expect([classes, size, channels]).toEqual([["low", "middle", "high"], 12, 3]);
    expect([reds(train), reds(heldOut)]).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
      [12, 13, 14],
    ]);
    expect([...train.labels]).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect(heldOut.names).toEqual(["plain_12.png", "plain_13.png", "plain_14.png"]);
    expect([...train.image(3).subarray(0, 3)]).toEqual([30, 225, 128]);
  });

  it("is read from one file, whatever the names of its columns", async () => {
    const { train, heldOut, classes, notes } = await open(join(fixtures, "unnamed.parquet"), {
      heldOut: 0.5,
      imageSize: 4,
      channels: 1,
    });
    expect(classes).toEqual(["0", "1", "2"]);
    expect(train.count + heldOut.count).toBe(6);
    for (const split of [train, heldOut])
      split.names.forEach((name, i) =>
        expect(labelNames(split, classes)[i]).toBe(String(Number(/\d+/.exec(name)![0]) % 3)),
      );
    expect(notes.every((note) => note.endsWith("no training images, because all are held out or skipped"))).toBe(true);
  });

  it("can have a held-out set from another file", async () => {
    const { train, heldOut } = await open(join(fixtures, first), { heldOut: join(fixtures, test) });
    expect([train.count, reds(heldOut)]).toEqual([6, [12, 13, 14]]);
  });

  it("is not mistaken for a folder of images, nor vice versa", async () => {
    const folder = folderOf({});
    mkdirSync(join(folder, "train", "a"), { recursive: true });
    for (const i of [1, 2, 3]) put(join(folder, "train", "a", `${i}.png`), await plain([i]).png().toBuffer());
    expect((await open(folder)).classes).toEqual(["a"]);
  });

  const field = (name: string) => join(fixtures, "field", name);
  it("leaves out rows without a label, by name", async () => {
    const { skipped, classes, train, heldOut } = await open(field("null-label.parquet"));
    expect(classes).toEqual(["cat", "dog", "bird"]);
    expect(skipped).toEqual([{ name: "null-label.parquet/2", reason: "has no label" }]);
    // The first byte of an image is its class.
    for (const split of [train, heldOut]) expect(firsts(split).map((first) => first % 3)).toEqual([...split.labels]);
  });

  it("does not treat equal paths as equal images", async () => {
    const { train, heldOut } = await open(field("same-path.parquet"), { heldOut: 0.4 });
    expect(train.count + heldOut.count).toBe(6);
    const names = [...train.names, ...heldOut.names];
    expect([new Set(names).size, names.includes("image.png")]).toEqual([6, true]);
  });

  it("reads LZ4 with an empty page", async () => {
    const { train, heldOut } = await open(field("lz4-null-path.parquet"), { heldOut: 0.4 });
    expect(train.count + heldOut.count).toBe(6);
  });

  it("finds WebDataset's columns, prefers a column named like an image, and reports its choice", async () => {
    const shards = await open(field("wds.parquet"), { heldOut: 0.4 });
    expect([shards.classes, shards.report!.taken]).toEqual([
      ["0", "1", "2"],
      ["images from column jpg, labels from column cls"],
    ]);
    const { report, classes } = await open(field("two-columns.parquet"), { heldOut: 0.4 });
    expect(classes).toEqual(["bird", "cat", "dog"]);
    expect(report!.taken).toEqual(["images from column picture, labels from column class_name"]);
    expect(report!.leftOut).toEqual([{ why: "an unused column", count: 1, names: ["mask"] }]);
  });

  it("reports that paths are not images", async () => {
    await refused(
      field("paths-only.parquet"),
      /none of its 6 images can be decoded: x\/0\.png is a path without bytes/,
    );
  });

  it("stops a decoder in an endless loop, and leaves none running", async () => {
    const whole = readFileSync(join(fixtures, first));
    let refusals = 0;
    for (let at = whole.length - 600; at < whole.length - 8; at += 131) {
      const changed = Buffer.from(whole);
      changed.fill(0x7f, at, at + 3);
      const before = process.cpuUsage();
      await open(join(folderOf({ "a.parquet": changed }), "a.parquet")).catch((error: unknown) => {
        expect(error).toBeInstanceOf(UserError);
        refusals++;
      });
      expect(processorSeconds(before)).toBeLessThan(60); // for ever, where the decoder cannot be ended
    }
    expect(refusals).toBeGreaterThan(1);
  });

  it("reports faults", async () => {
    const cut = folderOf({ "a.parquet": read(first).subarray(0, -20) });
    await refused(cut, /a\.parquet: the Parquet file is truncated or damaged/);
    const damaged = Buffer.from(read(first));
    damaged.fill(0xff, 4, 400);
    await refused(folderOf({ "a.parquet": damaged }), /set\d+.*(truncated or damaged|can be decoded)/);
    const mixed = folderOf({ "train-0.parquet": read(first), "train-1.parquet": read("unnamed.parquet") });
    await refused(
      mixed,
      /train-1\.parquet: its columns of images and labels are img, fine_label, but those of train-0\.parquet are image, label/,
    );
    await refused(folderOf({ "test-0.parquet": read(test) }), /it has Parquet files for test, but none for train/);
    cpSync(join(fixtures, first), join(mixed, "train-1.parquet"));
    expect((await open(mixed, { heldOut: 0.4 })).classes.length).toBe(3);
  });
});
