/** Images in arrays and tables, opened whole: IDX, NumPy archives, Parquet, and what is said when something is wrong. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import type { Split } from "./dataset.ts";
import { type DataOptions, openDataset } from "./open.ts";
import { idx, npy, npz, plain, put } from "./test-files.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-arrays-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

function folderOf(files: Record<string, Uint8Array>): string {
  const folder = join(root, `set${made++}`);
  for (const [name, content] of Object.entries(files)) put(join(folder, name), content);
  return folder;
}

const open = (path: string, options: Partial<DataOptions> = {}) =>
  openDataset(path, { cache: join(root, "cache"), ...options });

const refused = async (path: string, message: RegExp, options?: Partial<DataOptions>) => {
  await expect(open(path, options)).rejects.toThrow(UserError);
  await expect(open(path, options)).rejects.toThrow(message);
};

/** `count` images of the given sizes; image i begins with byte `from` + i. */
const counting = (count: number, [height, width, channels = 1]: number[], { from = 0 } = {}) => {
  const each = height * width * channels;
  return Uint8Array.from({ length: count * each }, (_, i) => (i % each === 0 ? from + i / each : i % 251));
};
const firsts = (split: Split) => Array.from({ length: split.count }, (_, i) => split.image(i)[0]);
const labelNames = ({ labels }: Split, classes: string[]) => [...labels].map((label) => classes[label]);

describe("IDX", () => {
  const images = (count: number, from = 0) => idx([count, 5, 5], counting(count, [5, 5], { from }));
  const labels = (...values: number[]) => idx([values.length], values);
  const mnist = {
    "train-images-idx3-ubyte": images(4),
    "train-labels-idx1-ubyte": labels(7, 3, 7, 9),
    "t10k-images-idx3-ubyte": images(2, 100),
    "t10k-labels-idx1-ubyte": labels(9, 3),
  };
  const renamed = (name: (name: string) => string, content = (bytes: Buffer) => bytes) =>
    Object.fromEntries(Object.entries(mnist).map(([file, bytes]) => [name(file), content(bytes)]));

  it.each([
    ["as published", mnist],
    ["packed", renamed((name) => `${name}.gz`, gzipSync)],
    ["unpacked under the packed name", renamed((name) => `${name}.gz`)],
    ["with dots", renamed((name) => name.replace("-idx", ".idx"))],
    ["with a name before, as EMNIST", renamed((name) => `emnist-letters-${name.replace("t10k", "test")}`)],
    ["packed and unpacked beside each other", { ...mnist, ...renamed((name) => `${name}.gz`, gzipSync) }],
  ])("is read %s", async (_, files) => {
    const { train, heldOut, classes, size, channels, skipped } = await open(folderOf(files));
    expect([classes, size, channels, skipped]).toEqual([["3", "7", "9"], 5, 1, []]);
    expect([firsts(train), labelNames(train, classes)]).toEqual([
      [0, 1, 2, 3],
      ["7", "3", "7", "9"],
    ]);
    expect([firsts(heldOut), labelNames(heldOut, classes)]).toEqual([
      [100, 101],
      ["9", "3"],
    ]);
    expect(train.image(1)).toEqual(Buffer.from(counting(4, [5, 5]).subarray(25, 50)));
  });

  it("is read from one file, with its labels beside it or without, in colour too", async () => {
    const folder = folderOf({ ...mnist, "more.idx": idx([3, 5, 5, 3], counting(3, [5, 5, 3])) });
    const one = await open(join(folder, "train-images-idx3-ubyte"));
    expect(firsts(one.train).concat(firsts(one.heldOut)).toSorted()).toEqual([0, 1, 2, 3]);
    expect([one.classes, one.heldOut.count]).toEqual([["3", "7", "9"], 1]);
    const more = await open(join(folder, "more.idx"));
    expect([more.classes, more.channels, more.size]).toEqual([["more.idx"], 3, 5]);
    const apart = await open(join(folder, "train-images-idx3-ubyte"), {
      heldOut: join(folder, "t10k-images-idx3-ubyte"),
    });
    expect(labelNames(apart.heldOut, apart.classes)).toEqual(["9", "3"]);
  });

  it("is cropped where asked", async () => {
    const folder = folderOf({ "images-idx3-ubyte": idx([3, 4, 6], counting(3, [4, 6])) });
    const { size, train } = await open(join(folder, "images-idx3-ubyte"), { imageSize: 2 });
    expect([size, train.image(0).length]).toEqual([2, 4]);
    await refused(join(folder, "images-idx3-ubyte"), /3 images of 3 are smaller than the image size 32, .*\(6x4\)/);
  });

  const cut = images(4).subarray(0, -1);
  it.each<[string, Record<string, Uint8Array>, RegExp]>([
    [
      "a cut file",
      { ...mnist, "train-images-idx3-ubyte": cut },
      /train-images-idx3-ubyte: it ends in image 3 of 4; fetch it again$/,
    ],
    [
      "a cut packed file",
      {
        ...renamed((name) => `${name}.gz`, gzipSync),
        "train-images-idx3-ubyte.gz": gzipSync(images(4)).subarray(0, -12),
      },
      /train-images-idx3-ubyte\.gz: it is cut short or damaged/,
    ],
    [
      "a header that claims too much",
      {
        "train-images-idx3-ubyte": Buffer.concat([
          Buffer.of(0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 5, 0, 0, 0, 5),
          new Uint8Array(30),
        ]),
      },
      /it ends in image 1 of 4294967295/,
    ],
    ["images without pixels", { "train-images-idx3-ubyte": idx([3, 0, 5], []) }, /its images have no pixels/],
    [
      "more bytes than images",
      { ...mnist, "train-images-idx3-ubyte": Buffer.concat([images(4), Buffer.of(1)]) },
      /bytes follow after its 4 images/,
    ],
    [
      "labels of another count",
      { ...mnist, "train-labels-idx1-ubyte": labels(1, 2) },
      /train-labels-idx1-ubyte: 2 labels, but train-images-idx3-ubyte has 4 images/,
    ],
    ["cut labels", { ...mnist, "t10k-labels-idx1-ubyte": labels(1, 2).subarray(0, -1) }, /it ends after 1 of 2 labels/],
    [
      "floats",
      { ...mnist, "train-images-idx3-ubyte": idx([1, 5, 5], [], { type: 13 }) },
      /its values are float32, expected unsigned bytes/,
    ],
    [
      "labels in place of images",
      { ...mnist, "train-images-idx3-ubyte": labels(1) },
      /it has 1 sizes, but a file of images has 3 or 4/,
    ],
    ["no IDX file", { ...mnist, "train-images-idx3-ubyte": Buffer.from("hello") }, /this is no IDX file/],
    [
      "labels of one part only",
      Object.fromEntries(Object.entries(mnist).slice(0, 3)),
      /t10k-images-idx3-ubyte: there is no file of labels beside it/,
    ],
    [
      "a test part only",
      Object.fromEntries(Object.entries(mnist).slice(2)),
      /holds t10k-images-idx3-ubyte but no train-images-idx3-ubyte/,
    ],
    ["several sets", { ...mnist, "other-train-images-idx3-ubyte": images(2) }, /it holds several data sets/],
  ])("names %s", async (_, files, message) => refused(folderOf(files), message));
});

describe("NumPy archives", () => {
  const u1 = (shape: number[], from = 0) => npy("|u1", shape, { values: counting(shape[0], shape.slice(1), { from }) });
  const bytesOf = ({ buffer }: { buffer: ArrayBuffer }) => new Uint8Array(buffer);
  const i8 = (...values: number[]) =>
    npy("<i8", [values.length], { values: bytesOf(BigInt64Array.from(values.map(BigInt))) });
  const archive = (arrays: Record<string, Buffer>, options = {}) =>
    join(folderOf({ "set.npz": npz(arrays, options) }), "set.npz");

  it.each([
    ["ADM's", { arr_0: u1([4, 3, 3, 3]), arr_1: i8(7, 3, 7, 9) }],
    ["plain", { images: u1([4, 3, 3, 3]), labels: i8(7, 3, 7, 9) }],
    ["x and y", { x: u1([4, 3, 3, 3]), y: npy("<i4", [4, 1], { values: bytesOf(Int32Array.of(7, 3, 7, 9)) }) }],
    [
      "big-endian labels",
      { x: u1([4, 3, 3, 3]), y: npy(">i2", [4], { values: Uint8Array.of(0, 7, 0, 3, 0, 7, 0, 9) }) },
    ],
  ])("are read with names as %s", async (_, arrays) => {
    for (const deflate of [false, true]) {
      const { train, heldOut, classes, size, channels, name } = await open(archive(arrays, { deflate }));
      expect([name, classes, size, channels]).toEqual(["set", ["3", "7", "9"], 3, 3]);
      const seen = [train, heldOut].flatMap((split) =>
        firsts(split).map((first, i) => [first, labelNames(split, classes)[i]]),
      );
      expect(seen.toSorted()).toEqual([
        [0, "7"],
        [1, "3"],
        [2, "7"],
        [3, "9"],
      ]);
    }
  });

  it("bring their own held-out part, grey as it is", async () => {
    const { train, heldOut, classes, channels, notes } = await open(
      archive({
        x_train: u1([4, 3, 3]),
        y_train: i8(0, 1, 0, 1),
        x_test: u1([2, 3, 3], 100),
        y_test: i8(1, 1),
      }),
    );
    expect([firsts(train), firsts(heldOut), channels]).toEqual([[0, 1, 2, 3], [100, 101], 1]);
    expect([labelNames(heldOut, classes), notes]).toEqual([["1", "1"], []]);
  });

  it("hold out MedMNIST's validation part and need no labels", async () => {
    const parts = { train_images: u1([4, 3, 3]), val_images: u1([2, 3, 3], 50), test_images: u1([2, 3, 3], 100) };
    const { heldOut, classes, notes } = await open(archive(parts));
    expect([firsts(heldOut), classes, notes[0]]).toEqual([[50, 51], ["set"], "the part test is left aside"]);
  });

  it.each<[string, Record<string, Buffer>, RegExp]>([
    [
      "float images",
      { images: npy("<f4", [1, 2, 2], { values: new Uint8Array(16) }) },
      /set\.npz: images: its values are f4, expected uint8/,
    ],
    [
      "channels first",
      { images: u1([2, 3, 8, 8]) },
      /its shape is \[2, 3, 8, 8\], expected .*channels come first: save it with \.transpose\(0, 2, 3, 1\)$/,
    ],
    ["flat images", { images: u1([2, 64]) }, /its shape is \[2, 64\], expected \[N, height, width\]/],
    [
      "Fortran order",
      { images: npy("|u1", [2, 2, 2], { values: new Uint8Array(8), fortran: true }) },
      /in Fortran order.*ascontiguousarray/,
    ],
    ["labels of another count", { images: u1([2, 3, 3]), labels: i8(1) }, /labels: 1 labels, but images has 2 images/],
    [
      "one-hot labels",
      { images: u1([2, 3, 3]), labels: npy("|u1", [2, 10], { values: new Uint8Array(20) }) },
      /its shape is \[2, 10\], expected \[2\]/,
    ],
    [
      "float labels",
      { images: u1([2, 3, 3]), labels: npy("<f4", [2], { values: new Uint8Array(8) }) },
      /its values are f4, expected whole numbers/,
    ],
    [
      "negative labels",
      { images: u1([2, 3, 3]), labels: i8(0, -1) },
      /the label of image 1 is -1, expected a whole number from 0 on; -1 marks images without a label/,
    ],
    ["no images", { mu: u1([2, 3, 3]) }, /expected images as arr_0, .* but its arrays are mu/],
    ["other files in a zip", {}, /this is a zip without NumPy arrays; .* unpack it and give the folder$/],
    ["no image", { images: u1([0, 3, 3]) }, /: it holds no images$/],
    [
      "too few values",
      { images: u1([4, 3, 3]).subarray(0, -5) },
      /set\.npz: images ends in image 3 of 4; fetch the file again$/,
    ],
    [
      "labels of one part only",
      { x_train: u1([2, 3, 3]), y_train: i8(0, 1), x_test: u1([2, 3, 3]) },
      /only one of its parts \(x_train, x_test\) has labels/,
    ],
  ])("name %s", async (_, arrays, message) => refused(archive(arrays), message));

  it("name a cut file", async () => {
    const whole = npz({ images: u1([4, 3, 3]) });
    await refused(
      join(folderOf({ "cut.npz": whole.subarray(0, -40) }), "cut.npz"),
      /cut\.npz: the archive is cut short or damaged/,
    );
  });
});

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

  it("is read from one file, whatever its columns are called", async () => {
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
    expect(notes.every((note) => note.startsWith("no training image is of"))).toBe(true);
  });

  it("can be held out by another file", async () => {
    const { train, heldOut } = await open(join(fixtures, first), { heldOut: join(fixtures, test) });
    expect([train.count, reds(heldOut)]).toEqual([6, [12, 13, 14]]);
  });

  it("is not mistaken for a folder of images, nor the other way round", async () => {
    const folder = folderOf({});
    mkdirSync(join(folder, "train", "a"), { recursive: true });
    for (const i of [1, 2, 3]) put(join(folder, "train", "a", `${i}.png`), await plain([i]).png().toBuffer());
    expect((await open(folder)).classes).toEqual(["a"]);
  });

  it("names what is wrong", async () => {
    const cut = folderOf({ "a.parquet": read(first).subarray(0, -20) });
    await refused(cut, /a\.parquet: the Parquet file is cut short or damaged/);
    const damaged = Buffer.from(read(first));
    damaged.fill(0xff, 4, 400);
    await refused(folderOf({ "a.parquet": damaged }), /set\d+.*(cut short or damaged|can be decoded)/);
    const mixed = folderOf({ "train-0.parquet": read(first), "train-1.parquet": read("unnamed.parquet") });
    await refused(
      mixed,
      /train-1\.parquet: its columns of images and labels are img, fine_label, but those of train-0\.parquet are image, label/,
    );
    await refused(folderOf({ "test-0.parquet": read(test) }), /it has Parquet files of test, but none of train/);
    cpSync(join(fixtures, first), join(mixed, "train-1.parquet"));
    expect((await open(mixed, { heldOut: 0.4 })).classes.length).toBe(3);
  });
});
