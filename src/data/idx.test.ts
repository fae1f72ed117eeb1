/** IDX files as data sets, and error messages. */

import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { counting, firsts, labelNames, temporaryData } from "./test-arrays.ts";
import { idx } from "./test-files.ts";

const { open, folderOf, refused } = temporaryData();

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
    ["compressed and uncompressed files together", { ...mnist, ...renamed((name) => `${name}.gz`, gzipSync) }],
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

  it("is read from one file, with or without labels next to it, in colour, too", async () => {
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

  it("is cropped on request", async () => {
    const folder = folderOf({ "images-idx3-ubyte": idx([3, 4, 6], counting(3, [4, 6])) });
    const { size, train } = await open(join(folder, "images-idx3-ubyte"), { imageSize: 2 });
    expect([size, train.image(0).length]).toEqual([2, 4]);
    await refused(join(folder, "images-idx3-ubyte"), /3 images of 3 are smaller than the image size 32: .*\(6x4\)/);
  });

  const cut = images(4).subarray(0, -1);
  it.each<[string, Record<string, Uint8Array>, RegExp]>([
    [
      "a truncated file",
      { ...mnist, "train-images-idx3-ubyte": cut },
      /train-images-idx3-ubyte: it ends in image 3 of 4; download it again$/,
    ],
    [
      "a truncated compressed file",
      {
        ...renamed((name) => `${name}.gz`, gzipSync),
        "train-images-idx3-ubyte.gz": gzipSync(images(4)).subarray(0, -12),
      },
      /train-images-idx3-ubyte\.gz: it is truncated or damaged/,
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
    [
      "images of a gigabyte",
      { "train-images-idx3-ubyte.gz": gzipSync(Buffer.concat([idx([1, 40_000, 30_000], []), Buffer.alloc(1e6)])) },
      /its images have 30000x40000 pixels, expected at most 67108864/,
    ],
    ["images without pixels", { "train-images-idx3-ubyte": idx([3, 0, 5], []) }, /its images have no pixels/],
    [
      "more bytes than images",
      { ...mnist, "train-images-idx3-ubyte": Buffer.concat([images(4), Buffer.of(1)]) },
      /it has extra bytes after its 4 images/,
    ],
    [
      "labels of another count",
      { ...mnist, "train-labels-idx1-ubyte": labels(1, 2) },
      /train-labels-idx1-ubyte: 2 labels, but train-images-idx3-ubyte has 4 images/,
    ],
    [
      "truncated labels",
      { ...mnist, "t10k-labels-idx1-ubyte": labels(1, 2).subarray(0, -1) },
      /it ends after 1 of 2 labels/,
    ],
    [
      "floats",
      { ...mnist, "train-images-idx3-ubyte": idx([1, 5, 5], [], { type: 13 }) },
      /its values are float32, expected unsigned bytes/,
    ],
    [
      "labels in place of images",
      { ...mnist, "train-images-idx3-ubyte": labels(1) },
      /it has 1 dimensions, but a file of images has 3 or 4/,
    ],
    ["another kind of file", { ...mnist, "train-images-idx3-ubyte": Buffer.from("hello") }, /not an IDX file/],
    [
      "labels of one part only",
      Object.fromEntries(Object.entries(mnist).slice(0, 3)),
      /t10k-images-idx3-ubyte: it has no file of labels next to it/,
    ],
    [
      "a test part only",
      Object.fromEntries(Object.entries(mnist).slice(2)),
      /contains t10k-images-idx3-ubyte but no train-images-idx3-ubyte/,
    ],
    ["several sets", { ...mnist, "other-train-images-idx3-ubyte": images(2) }, /it contains several data sets/],
  ])("names %s", async (_, files, message) => refused(folderOf(files), message));
});
