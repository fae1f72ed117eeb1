/** NumPy archives of images as data sets, and error messages. */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { counting, firsts, labelNames, temporaryData } from "./test-arrays.ts";
import { npy, npz } from "./test-files.ts";

const { open, folderOf, refused } = temporaryData();

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

  it("may have their own held-out part, and stay grey", async () => {
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

  it("hold out MedMNIST's validation part, and need no labels", async () => {
    const parts = { train_images: u1([4, 3, 3]), val_images: u1([2, 3, 3], 50), test_images: u1([2, 3, 3], 100) };
    const { heldOut, classes, notes } = await open(archive(parts));
    expect([firsts(heldOut), classes, notes[0]]).toEqual([[50, 51], ["set"], "the part test is not used"]);
  });

  it.each<[string, Record<string, Buffer>, RegExp]>([
    [
      "values that are not brightness",
      { images: npy("<f4", [1, 1, 2], { values: bytesOf(Float32Array.of(-7, 300)) }) },
      /set\.npz: images: its values range from -7 to 300, expected bytes \(0 to 255\), or floats from 0 to 1 or from -1 to 1; rescale them/,
    ],
    [
      "values that are not finite",
      { images: npy("<f4", [1, 1, 2], { values: bytesOf(Float32Array.of(0, NaN)) }) },
      /set\.npz: images: it contains NaN, expected finite numbers/,
    ],
    [
      "flat images that are not square",
      { images: u1([2, 63]) },
      /its shape is \[2, 63\], expected \[N, height, width\]/,
    ],
    [
      "images of a gigabyte",
      { images: npy("|u1", [1, 20_000, 20_000, 3], { values: new Uint8Array(9) }) },
      /images: its header claims 1\.20 GB of values, but it has/,
    ],
    [
      "Fortran order",
      { images: npy("|u1", [2, 2, 2], { values: new Uint8Array(8), fortran: true }) },
      /in Fortran order.*ascontiguousarray/,
    ],
    ["labels of another count", { images: u1([2, 3, 3]), labels: i8(1) }, /labels: 1 label, but images has 2 images/],
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
    ["no images", { mu: u1([2]), sigma: u1([2, 2]) }, /expected images as arr_0, .*, got the arrays mu, sigma/],
    [
      "two candidates for the images",
      { before: u1([2, 3, 3]), after: u1([2, 3, 3]) },
      /expected images as arr_0, .*, got the arrays before, after/,
    ],
    ["other files in a zip", {}, /this zip contains no NumPy arrays; .* unpack it and give the folder$/],
    ["no image", { images: u1([0, 3, 3]) }, /: it contains no images; check the path$/],
    [
      "too few values",
      { images: u1([4, 3, 3]).subarray(0, -5) },
      /set\.npz: images ends in image 3 of 4; save or download the file again$/,
    ],
    [
      "labels of one part only",
      { x_train: u1([2, 3, 3]), y_train: i8(0, 1), x_test: u1([2, 3, 3]) },
      /only one of its parts \(x_train, x_test\) has labels/,
    ],
  ])("name %s", async (_, arrays, message) => refused(archive(arrays), message));

  const floats = (...values: number[]) =>
    npy("<f4", [values.length, 1, 1], { values: bytesOf(Float32Array.from(values)) });
  it.each<[string, Buffer, number[], RegExp]>([
    ["0 to 1", floats(0, 0.5, 1, 64 / 255), [0, 128, 255, 64], /from 0 to 1 are scaled from black to white/],
    ["-1 to 1", floats(-1, 0, 1, 0.5), [0, 128, 255, 191], /from -1 to 1 are scaled from black to white/],
    [
      "0 to 255",
      floats(0, 1.2, 254.7, 7),
      [0, 1, 255, 7],
      /values from 0 to 254\.7 are used unchanged, on a scale of 0 to 255/,
    ],
    ["halves", npy("<f2", [2, 1, 1], { values: bytesOf(Uint16Array.of(0, 0x3c00)) }), [0, 255], /from 0 to 1/],
    [
      "int64",
      npy("<i8", [2, 1, 1], { values: bytesOf(BigInt64Array.of(3n, 200n)) }),
      [3, 200],
      /used unchanged, on a scale of 0 to 255/,
    ],
    ["booleans", npy("|b1", [2, 1, 1], { values: Uint8Array.of(0, 1) }), [0, 255], /true is white/],
  ])("are converted to bytes from %s, and report it", async (_, images, expected, said) => {
    const { train, heldOut, report } = await open(archive({ images }));
    const seen = [train, heldOut].flatMap((split) => split.names.map((name, i) => [name, split.image(i)[0]] as const));
    expect(new Map(seen)).toEqual(new Map(expected.map((byte, i) => [`train/${i}`, byte])));
    expect(report!.taken[0]).toMatch(said);
  });

  it("report that all images are almost black, as after a cast of floats from 0 to 1", async () => {
    const cast = npy("|u1", [3, 2, 2], { values: Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0) });
    const { notes } = await open(archive({ images: cast }));
    expect(notes[0]).toMatch(/^no value in any image is above 1 of 255.*\(255 \* x\)\.round\(\)\.astype\("uint8"\)$/);
  });

  it("are read with channels first, and flat as in ImageNet32", async () => {
    // Two images of 2x2 pixels: all red, all green, all blue.
    const planar = Uint8Array.of(
      1,
      2,
      3,
      4,
      11,
      12,
      13,
      14,
      21,
      22,
      23,
      24,
      5,
      6,
      7,
      8,
      15,
      16,
      17,
      18,
      25,
      26,
      27,
      28,
    );
    for (const [shape, said] of [
      [[2, 3, 6, 6], /channels first/],
      [[2, 12], /flat rows of 12, read as 2x2 with separate red, green and blue planes/],
    ] as const) {
      const values = shape.length === 2 ? planar : Uint8Array.from({ length: 216 }, (_, i) => i);
      const { train, heldOut, channels, report, size } = await open(archive({ data: npy("|u1", shape, { values }) }));
      expect([channels, size, train.count, heldOut.count]).toEqual([3, shape.length === 2 ? 2 : 6, 1, 1]);
      expect(report!.taken[0]).toMatch(said);
      if (shape.length === 2)
        expect([train.image(0), heldOut.image(0)].map((image) => [...image]).toSorted((a, b) => a[0] - b[0])).toEqual([
          [1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24],
          [5, 15, 25, 6, 16, 26, 7, 17, 27, 8, 18, 28],
        ]);
    }
  });

  it.each([
    ["label", "images"],
    ["y", "arr_0"],
    ["target", "data"],
    ["classes", "images"],
    ["wealth", "samples"],
    ["y", "faces"],
  ])("find labels under %s next to %s, and report unused arrays", async (labels, images) => {
    const { classes, report } = await open(
      archive({ [images]: u1([3, 3, 3, 3]), [labels]: i8(4, 2, 4), mean: u1([27]) }),
    );
    expect(classes).toEqual(["2", "4"]);
    expect(report!.taken).toEqual([`${images}: images to train on, labels from ${labels}`]);
    expect(report!.leftOut).toEqual([{ why: "an unused array", count: 1, names: ["mean"] }]);
  });

  it("are read together from a folder, as in ImageNet32; other archives must be unpacked", async () => {
    const batch = (from: number, ...labels: number[]) =>
      npz({
        data: npy("|u1", [labels.length, 12], { values: counting(labels.length, [1, 12], { from }) }),
        labels: i8(...labels),
      });
    const folder = folderOf({
      "train_data_batch_1.npz": batch(0, 10, 2),
      "train_data_batch_10.npz": batch(2, 10),
      "train_data_batch_2.npz": batch(3, 7),
      "val_data.npz": batch(100, 7, 2),
      "map_clsloc.txt": Buffer.from("x"),
    });
    const { train, heldOut, classes, report } = await open(folder);
    expect(classes).toEqual(["2", "7", "10"]);
    expect([firsts(train), labelNames(train, classes)]).toEqual([
      [0, 1, 3, 2],
      ["10", "2", "7", "10"],
    ]);
    expect([firsts(heldOut), labelNames(heldOut, classes)]).toEqual([
      [100, 101],
      ["7", "2"],
    ]);
    expect(report!.leftOut).toEqual([{ why: "not a NumPy archive", count: 1, names: ["map_clsloc.txt"] }]);
    const packed = folderOf({ "a.tar.bz2": Buffer.from("BZh91AY") });
    await refused(
      join(packed, "a.tar.bz2"),
      /compressed with bzip2, which is not supported; unpack it and give the folder$/,
    );
  });

  it("report an array with a wrong checksum", async () => {
    const whole = npz({ images: u1([4, 3, 3]) });
    whole[whole.indexOf(Buffer.of(1, 2, 3, 4, 5, 6, 7, 8)) + 3] ^= 1;
    await refused(join(folderOf({ "a.npz": whole }), "a.npz"), /images\.npy inside it is damaged: its checksum/);
  });

  it("report a truncated file", async () => {
    const whole = npz({ images: u1([4, 3, 3]) });
    await refused(
      join(folderOf({ "cut.npz": whole.subarray(0, -40) }), "cut.npz"),
      /cut\.npz: the archive is truncated or damaged/,
    );
  });
});
