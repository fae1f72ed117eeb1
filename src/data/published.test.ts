/**
 * Data sets as they are published: Tiny ImageNet's folder, CIFAR's and ImageNet32's batches, in archives and unpacked.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import type { Split } from "./dataset.ts";
import { type DataOptions, openDataset } from "./open.ts";
import { plain, put } from "./test-files.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-published-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
const newFolder = () => join(root, `set${made++}`);

const open = (path: string, options: Partial<DataOptions> = {}) =>
  openDataset(path, { cache: join(root, "cache"), ...options });

const labelNames = ({ labels }: Split, classes: string[]) => [...labels].map((label) => classes[label]);

/** Image i of a batch: red i, green 100 + i, blue 200, channel after channel. */
const planes = (i: number) =>
  Buffer.concat([Buffer.alloc(1024, i), Buffer.alloc(1024, 100 + i), Buffer.alloc(1024, 200)]);
const colours = (split: Split) => Array.from({ length: split.count }, (_, i) => [...split.image(i).subarray(0, 3)]);

const text = (value: string) => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(value));
  return Buffer.concat([Buffer.from("X"), length, Buffer.from(value)]);
};
const int = (value: number) => Buffer.concat([Buffer.from("J"), Buffer.from(Int32Array.of(value).buffer)]);

/** A dict as pickled by Python 2 or 3: an array of bytes, and a list of labels. */
function pickledBatch(key: string, labels: readonly number[], { python = 3, from = 0 } = {}): Buffer {
  const images = Buffer.concat(labels.map((_, i) => planes(from + i)));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(images.length);
  const raw = Buffer.concat([Buffer.from(python === 2 ? "T" : "B"), length, images]);
  const name = (value: string) =>
    python === 2 ? Buffer.concat([Buffer.from([0x55, value.length]), Buffer.from(value)]) : text(value);
  const latin = (value: string) => Buffer.from(value, "latin1");
  return Buffer.concat([
    Buffer.from([0x80, python]),
    latin("}("),
    name("data"),
    latin("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t"),
    name("b"),
    latin("tR(K\x01("),
    int(labels.length),
    int(3072),
    latin("tcnumpy\ndtype\n("),
    name("u1"),
    latin("K\x00K\x01tR(K\x03"),
    name("|"),
    latin("NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"),
    raw,
    latin("tb"),
    name(key),
    latin("]("),
    ...labels.map(int),
    latin("eu."),
  ]);
}

const pickledNames = (key: string, names: readonly string[]) =>
  Buffer.concat([
    Buffer.from([0x80, 3]),
    Buffer.from("}("),
    text(key),
    Buffer.from("]("),
    ...names.map(text),
    Buffer.from("eu."),
  ]);

const binaryBatch = (labels: readonly number[][], { from = 0 } = {}) =>
  Buffer.concat(labels.flatMap((own, i) => [Buffer.from(own), planes(from + i)]));

async function tarOf(files: Record<string, Uint8Array>): Promise<Buffer> {
  const packer = pack();
  for (const [name, content] of Object.entries(files)) packer.entry({ name }, Buffer.from(content));
  packer.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of packer) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}

const published: Record<string, { files: Record<string, Buffer>; format: string; classes: string[]; train: string[] }> =
  {
    "cifar-10-batches-py": {
      files: {
        data_batch_2: pickledBatch("labels", [1], { from: 3 }),
        data_batch_1: pickledBatch("labels", [0, 1, 0], { python: 2 }),
        test_batch: pickledBatch("labels", [1], { from: 50 }),
        "batches.meta": pickledNames("label_names", ["airplane", "automobile"]),
      },
      format: "CIFAR-10's pickled batches",
      classes: ["airplane", "automobile"],
      train: ["airplane", "automobile", "airplane", "automobile"],
    },
    "cifar-10-batches-bin": {
      files: {
        "data_batch_1.bin": binaryBatch([[0], [1], [0]]),
        "data_batch_2.bin": binaryBatch([[1]], { from: 3 }),
        "test_batch.bin": binaryBatch([[1]], { from: 50 }),
        "batches.meta.txt": Buffer.from("airplane\nautomobile\n\n"),
        "readme.html": Buffer.from("<html>"),
      },
      format: "CIFAR-10's binary batches",
      classes: ["airplane", "automobile"],
      train: ["airplane", "automobile", "airplane", "automobile"],
    },
    "cifar-100-python": {
      files: {
        train: pickledBatch("fine_labels", [2, 0, 1, 1]),
        test: pickledBatch("fine_labels", [2], { from: 50 }),
        meta: pickledNames("fine_label_names", ["apple", "bear", "cloud"]),
      },
      format: "CIFAR-100's pickled batches",
      classes: ["apple", "bear", "cloud"],
      train: ["cloud", "apple", "bear", "bear"],
    },
    "cifar-100-binary": {
      files: {
        "train.bin": binaryBatch([
          [7, 2],
          [7, 0],
          [7, 1],
          [7, 1],
        ]),
        "test.bin": binaryBatch([[7, 2]], { from: 50 }),
        "fine_label_names.txt": Buffer.from("apple\nbear\ncloud\n"),
      },
      format: "CIFAR-100's binary batches",
      classes: ["apple", "bear", "cloud"],
      train: ["cloud", "apple", "bear", "bear"],
    },
    Imagenet32_train: {
      files: {
        train_data_batch_1: pickledBatch("labels", [1, 1000]),
        train_data_batch_10: pickledBatch("labels", [7], { from: 3 }),
        train_data_batch_2: pickledBatch("labels", [7], { from: 2 }),
        val_data: pickledBatch("labels", [1], { from: 50 }),
      },
      format: "ImageNet32's pickled batches",
      classes: ["1", "7", "1000"],
      train: ["1", "1000", "7", "7"],
    },
  };

describe("batches of 32x32 images", () => {
  it.each(Object.keys(published))(
    "%s are read from their folder, the folder around it, and a tar, packed or not",
    async (name) => {
      const { files, format, classes, train } = published[name];
      const folder = newFolder();
      for (const [file, content] of Object.entries(files)) put(join(folder, name, file), content);
      const within = Object.fromEntries(Object.entries(files).map(([file, content]) => [`${name}/${file}`, content]));
      const tar = await tarOf(within);
      const archives = newFolder();
      put(join(archives, "a.tar"), tar);
      put(join(archives, "a.tar.gz"), gzipSync(tar));
      const fingerprints = new Set<string>();
      for (const path of [join(folder, name), folder, join(archives, "a.tar"), join(archives, "a.tar.gz")]) {
        const found = await open(path);
        expect([found.classes, found.size, found.channels, found.report!.format]).toEqual([classes, 32, 3, format]);
        expect([labelNames(found.train, classes), found.heldOut.count]).toEqual([train, 1]);
        expect(colours(found.train).slice(0, 2)).toEqual([
          [0, 100, 200],
          [1, 101, 200],
        ]);
        fingerprints.add(found.fingerprint);
      }
      expect(fingerprints.size).toBe(1);
    },
  );

  it("are read one by one", async () => {
    const folder = newFolder();
    put(join(folder, "data_batch_1"), published["cifar-10-batches-py"].files["data_batch_1"]);
    put(join(folder, "batches.meta"), published["cifar-10-batches-py"].files["batches.meta"]);
    const { classes, train, heldOut, notes } = await open(join(folder, "data_batch_1"), { heldOut: 0.4 });
    expect([classes, train.count + heldOut.count]).toEqual([["airplane", "automobile"], 3]);
    expect(notes).toEqual([]);
  });

  it("report other files in the folder, and which labels of CIFAR-100 are used", async () => {
    const folder = newFolder();
    for (const [file, content] of Object.entries(published["cifar-10-batches-bin"].files))
      put(join(folder, file), content);
    expect((await open(folder)).report!.leftOut).toEqual([
      { why: "not a batch of images", count: 1, names: ["readme.html"] },
    ]);
    const fine = newFolder();
    for (const [file, content] of Object.entries(published["cifar-100-binary"].files)) put(join(fine, file), content);
    expect((await open(fine)).notes).toEqual(["the fine labels are used, not the coarse ones"]);
  });

  it.each<[string, Record<string, Buffer>, RegExp]>([
    [
      "a truncated binary batch",
      { "data_batch_1.bin": binaryBatch([[1]]).subarray(1) },
      /data_batch_1\.bin: it has 3072 bytes, expected a multiple of 3073/,
    ],
    [
      "a truncated pickle",
      { data_batch_1: pickledBatch("labels", [1]).subarray(0, 2000) },
      /data_batch_1: its pickle is truncated/,
    ],
    ["fewer labels", { data_batch_1: pickledBatch("labels", [1, 1]).subarray(0, -8) }, /data_batch_1: /],
    [
      "another pickle",
      { data_batch_1: pickledNames("names", ["a"]) },
      /expected an array of numbers under "data", got the keys names/,
    ],
    [
      "labels without a name",
      { data_batch_1: pickledBatch("labels", [5]), "batches.meta": pickledNames("label_names", ["a"]) },
      /the label of image 0 is 5, expected 0 to 0/,
    ],
  ])("name %s", async (_, files, message) => {
    const folder = newFolder();
    for (const [file, content] of Object.entries(files)) put(join(folder, file), content);
    await expect(open(folder)).rejects.toThrow(UserError);
    await expect(open(folder)).rejects.toThrow(message);
  });

  it("report an archive that is truncated, is something else, or unpacks endlessly", async () => {
    const folder = newFolder();
    const tar = await tarOf({ "a/notes.txt": Buffer.from("x") });
    put(join(folder, "other.tar.gz"), gzipSync(tar));
    await expect(open(join(folder, "other.tar.gz"))).rejects.toThrow(
      /this archive of 1 files \(notes\.txt\) is not CIFAR-10 or CIFAR-100.*; unpack it and give/,
    );
    put(join(folder, "cut.tar.gz"), gzipSync(await tarOf(published["cifar-10-batches-bin"].files)).subarray(0, -30));
    await expect(open(join(folder, "cut.tar.gz"))).rejects.toThrow(/cut\.tar\.gz: .*(truncated|damaged)/);
    const header = tar.subarray(0, 512);
    put(
      join(folder, "bomb.tar.gz"),
      Buffer.concat([gzipSync(Buffer.concat([header, Buffer.alloc(300e6)]), { level: 1 })]),
    );
    await expect(open(join(folder, "bomb.tar.gz"))).rejects.toThrow(/unpacks to more than 200 MB; unpack it/);
  });
});

it("Tiny ImageNet works as unpacked, with names from words.txt", async () => {
  const folder = newFolder();
  const image = (i: number) =>
    plain([i * 9, 255 - i, 40], { width: 64 })
      .jpeg()
      .toBuffer();
  const ids = ["n02124075", "n01443537"];
  for (const [c, id] of ids.entries()) {
    for (let i = 0; i < 3; i++) put(join(folder, "train", id, "images", `${id}_${i}.JPEG`), await image(10 * c + i));
    put(join(folder, "train", id, `${id}_boxes.txt`), "boxes");
  }
  put(join(folder, "val", "images", "val_0.JPEG"), await image(20));
  put(join(folder, "val", "images", "val_1.JPEG"), await image(21));
  put(join(folder, "val", "images", "val_9.JPEG"), await image(22));
  put(
    join(folder, "val", "val_annotations.txt"),
    `val_0.JPEG\t${ids[0]}\t0\t0\t9\t9\nval_1.JPEG\t${ids[1]}\t0\t0\t9\t9\r\n`,
  );
  put(join(folder, "test", "images", "test_0.JPEG"), await image(23));
  put(join(folder, "wnids.txt"), ids.join("\n"));
  put(join(folder, "words.txt"), `n00000001\tother\n${ids[0]}\tEgyptian cat\n${ids[1]}\tgoldfish, Carassius auratus\n`);
  put(join(folder, ".DS_Store"), "x");
  const { classes, train, heldOut, size, notes, report } = await open(folder);
  expect([classes, size]).toEqual([["goldfish, Carassius auratus", "Egyptian cat"], 64]);
  expect(labelNames(train, classes)).toEqual([...Array(3).fill(classes[0]), ...Array(3).fill(classes[1])]);
  expect([heldOut.names, labelNames(heldOut, classes)]).toEqual([
    ["val/images/val_0.JPEG", "val/images/val_1.JPEG"],
    [classes[1], classes[0]],
  ]);
  expect(notes).toEqual(["the part test is not used: its 1 images have no labels"]);
  expect(report!.leftOut).toEqual([
    { why: "hidden", count: 1, names: [".DS_Store"] },
    { why: "no class in val_annotations.txt", count: 1, names: ["val/images/val_9.JPEG"] },
  ]);
});
