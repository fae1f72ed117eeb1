/** Folders of images as data sets: classes, parts, sizes, skipped images, and error messages. */

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { type DataOptions, openDataset } from "./open.ts";
import { plain, put } from "./test-files.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-folder-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

/** A new folder with a picture at each path, each in its own colour; other contents are written unchanged. */
async function folderOf(files: Record<string, Parameters<typeof plain>[1] | string>): Promise<string> {
  const folder = join(root, `set${made++}`);
  for (const [index, [name, content = {}]] of Object.entries(files).entries())
    put(
      join(folder, name),
      typeof content === "string"
        ? content
        : await plain([index * 7, 255 - index, 40], content)
            .png()
            .toBuffer(),
    );
  return folder;
}

const pictures = (...names: string[]) => Object.fromEntries(names.map((name) => [name, {}]));
const open = (folder: string, options: Partial<DataOptions> = {}) =>
  openDataset(folder, { cache: join(root, "cache"), ...options });

const all = pictures("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/deep/er/2.jpg");

describe("classes", () => {
  it("are the folders, in the order of code units, with everything below them", async () => {
    const { classes, train, heldOut, size, channels, name, source } = await open(
      await folderOf({ ...all, "Zebras/1.png": {} }),
    );
    expect(classes).toEqual(["Zebras", "cats", "dogs"]);
    expect([size, channels]).toEqual([8, 3]);
    expect(source.endsWith(name)).toBe(true);
    const names = [...train.names, ...heldOut.names];
    expect(names.toSorted()).toEqual(["Zebras/1.png", "cats/1.png", "cats/2.png", "dogs/1.png", "dogs/deep/er/2.jpg"]);
    for (const { names, labels } of [train, heldOut])
      names.forEach((name, i) => expect(classes[labels[i]]).toBe(name.split("/")[0]));
    expect(train.names).toEqual(train.names.toSorted());
  });

  it("are a single one named after the folder if there are no class folders; empty ones are ignored then", async () => {
    const folder = await folderOf(pictures("a.png", "b.png"));
    mkdirSync(join(folder, "notes"));
    const { classes, name, notes } = await open(folder);
    expect(classes).toEqual([name]);
    expect(notes).toEqual([expect.stringMatching(/^there is only one class/)]);
  });

  it("leave out hidden files and other files, and follow links, but not in circles", async () => {
    const outside = await folderOf(pictures("x.png"));
    const folder = await folderOf({
      ...all,
      "cats/notes.txt": "text",
      "cats/Thumbs.db": "x",
      ".git/1.png": {},
      "cats/.2.png": {},
    });
    put(join(folder, "README.md"), "text");
    symlinkSync(join(outside, "x.png"), join(folder, "cats", "linked.png"));
    symlinkSync(outside, join(folder, "linked"));
    symlinkSync(folder, join(folder, "dogs", "circle"));
    const { classes, train, heldOut, skipped } = await open(folder);
    expect(classes).toEqual(["cats", "dogs", "linked"]);
    expect(train.count + heldOut.count).toBe(6);
    expect(skipped).toEqual([]);
  });

  it("give a note if one has no training image", async () => {
    const { notes, heldOut } = await open(await folderOf(all), { heldOut: 0.3, group: "^[^/]*" });
    expect(new Set(heldOut.labels).size).toBe(1);
    expect(notes).toEqual([
      expect.stringMatching(/^(cats|dogs): no training images, because all are held out or skipped$/),
    ]);
  });
});

describe("parts", () => {
  const split = pictures("train/cats/1.png", "train/dogs/1.png", "Test/cats/2.png", "Test/dogs/2.png");
  it("are train/ and test/ if these exist", async () => {
    const { classes, train, heldOut, notes } = await open(await folderOf(split));
    expect(classes).toEqual(["cats", "dogs"]);
    expect([train.names, heldOut.names]).toEqual([
      ["train/cats/1.png", "train/dogs/1.png"],
      ["Test/cats/2.png", "Test/dogs/2.png"],
    ]);
    expect([[...train.labels], [...heldOut.labels], notes]).toEqual([[0, 1], [0, 1], []]);
  });

  it("hold out validation rather than test, and report it", async () => {
    const { heldOut, notes, classes } = await open(await folderOf(pictures("train/1.png", "test/2.png", "val/3.png")));
    expect(heldOut.names).toEqual(["val/3.png"]);
    expect(notes[0]).toBe("the part test is not used");
    expect(classes.length).toBe(1);
  });

  it("may be only train/", async () => {
    expect((await open(await folderOf(pictures("train/a/1.png", "train/b/1.png")))).classes).toEqual(["a", "b"]);
  });

  it("are overridden by a fraction or another folder", async () => {
    const folder = await folderOf(split);
    const fraction = await open(folder, { heldOut: "0.5" });
    expect([...fraction.train.names, ...fraction.heldOut.names].toSorted()).toEqual([
      "train/cats/1.png",
      "train/dogs/1.png",
    ]);
    expect(fraction.notes[0]).toBe("the part Test/ is not used");
    const other = await folderOf({ ...pictures("dogs/5.png", "dogs/6.png"), "dogs/7.png": { width: 30, height: 20 } });
    const { train, heldOut } = await open(folder, { heldOut: other, imageSize: 8 });
    expect(train.count).toBe(2);
    // The other folder's colours start over, so its first image equals a training image.
    expect(heldOut.names).toEqual(["dogs/7.png"]);
    expect([...heldOut.labels]).toEqual([1]);
  });

  it("may be held out of folders without classes, whatever their names", async () => {
    const [folder, other] = [
      await folderOf(pictures("a.png", "b.png")),
      await folderOf(pictures("x.png", "y.png", "z.png")),
    ];
    const { classes, heldOut } = await open(folder, { heldOut: other, imageSize: 8, channels: 1 });
    expect([classes.length, [...heldOut.labels]]).toEqual([1, [0]]);
  });
});

describe("sizes and channels", () => {
  it("are the images' own if they are small squares of one size, otherwise 32 and RGB", async () => {
    const sizes = async (...sides: number[]) => {
      const files = sides.map((width, i) => [`${i}.png`, { width, height: width + (width > 100 ? 1 : 0) }] as const);
      return (await open(await folderOf(Object.fromEntries(files)))).size;
    };
    expect([await sizes(12, 12), await sizes(64, 64), await sizes(65, 65), await sizes(40, 50)]).toEqual([
      12, 64, 32, 32,
    ]);
  });

  it("are grey if every image is", async () => {
    const folder = await folderOf({});
    put(join(folder, "a.png"), await plain([10]).png().toBuffer());
    put(join(folder, "b.jpg"), await plain([200]).jpeg().toBuffer());
    expect((await open(folder)).channels).toBe(1);
    put(join(folder, "c.png"), await plain([1, 2, 3, 100]).png().toBuffer());
    expect((await open(folder)).channels).toBe(3);
    const { channels, train, heldOut } = await open(folder, { channels: 4 });
    expect(channels).toBe(4);
    const at = [...train.names, ...heldOut.names].indexOf("c.png");
    const image = at < train.count ? train.image(at) : heldOut.image(at - train.count);
    expect([...image.subarray(0, 4)]).toEqual([1, 2, 3, 100]);
  });
});

it("skips images that do not decode, by name", async () => {
  const folder = await folderOf({ ...all, "cats/broken.jpeg": "no image", "dogs/photo.HEIC": "nor this" });
  const said: string[] = [];
  const { skipped, train, heldOut } = await open(folder, {
    onSkipped: (name, reason) => said.push(`${name} ${reason}`),
  });
  expect(skipped.map(({ name }) => name)).toEqual(["cats/broken.jpeg", "dogs/photo.HEIC"]);
  expect(said).toEqual(skipped.map(({ name, reason }) => `${name} ${reason}`));
  expect(said[0]).toMatch(/^cats\/broken\.jpeg does not decode \(.+\)$/);
  expect(train.count + heldOut.count).toBe(4);
});

it("holds out neither training images nor parts of a group", async () => {
  const folder = await folderOf({});
  // Images 2 i and 2 i + 1 are equal.
  for (let i = 0; i < 40; i++)
    put(
      join(folder, `${i}.png`),
      await plain([i >> 1, 0, 0])
        .png()
        .toBuffer(),
    );
  for (const group of [undefined, "\\d\\."]) {
    const { train, heldOut, skipped } = await open(folder, { heldOut: 0.5, group });
    const trained = new Set(Array.from({ length: train.count }, (_, i) => train.image(i)[0]));
    for (let i = 0; i < heldOut.count; i++) expect(trained.has(heldOut.image(i)[0])).toBe(false);
    expect(train.count + heldOut.count + skipped.length).toBe(40);
    if (group)
      for (const { reason } of skipped)
        expect(reason).toMatch(/^is identical to the training image \d+\.png, so it is not held out$/);
    else expect(skipped).toEqual([]);
  }
});

describe("mistakes are reported in one sentence", () => {
  it.each<[string, Record<string, object | string>, RegExp, Partial<DataOptions>?]>([
    [
      "a folder without files",
      { "x/y.txt": "" },
      /: it contains no images \(PNG, .*\), only 1 other file \(\.txt\); check the path$/,
    ],
    [
      "images next to class folders",
      { ...all, "a.png": {} },
      /: 1 image \(a\.png\) next to the class folders cats, dogs; move every/,
    ],
    [
      "images next to the parts",
      { ...pictures("train/1.png", "test/1.png", "a.png") },
      /a\.png is next to train\/ and test\//,
    ],
    [
      "a class only in test",
      pictures("train/a/1.png", "test/b/1.png"),
      /test\/b is a class that train\/ does not have \(it has a\)/,
    ],
    ["classes only in train", pictures("train/a/1.png", "test/1.png"), /train\/ has class folders and test\/ has none/],
    ["an empty part", { "train/a.png": {}, "test/a.txt": "" }, /test: it contains no images; add some/],
    [
      "no decodable image",
      { "a.png": "no", "b.png": "no" },
      /none of its 2 images can be decoded: a\.png does not decode/,
    ],
    ["one image", pictures("a.png"), /nothing can be held out: there is only one image, "a\.png"/],
    [
      "small images",
      { "a.png": { width: 40 }, "b.png": { width: 20, height: 64 }, "c.png": { width: 30 } },
      /: 2 images of 3 are smaller than the image size 32: b\.png \(20x64\), c\.png \(30x30\); choose an image size of 20 or less or leave them out$/,
    ],
    [
      "a size too large",
      all,
      /: 4 images of 4 are smaller than the image size 16: cats\/1\.png \(8x8\); choose an image size of 8/,
      { imageSize: 16 },
    ],
    ["an invalid size", all, /^imageSize: expected a whole number from 1 to 4096, got 2\.5$/, { imageSize: 2.5 }],
    ["invalid channels", all, /^channels: expected 1 \(grey\).*, got 5$/, { channels: 5 }],
    ["a fraction of 1", all, /^heldOut: expected a fraction above 0 and below 1, or a path, got 1$/, { heldOut: "1" }],
    ["a missing held-out folder", all, /nowhere: there is no such folder or file/, { heldOut: "/nowhere" }],
    ["an invalid regular expression", all, /^group: "\(" is not a regular expression/, { group: "(" }],
    [
      "a group and a part",
      pictures("train/1.png", "test/2.png"),
      /^group: test\/ of .* is held out, so groups are not used/,
      { group: "." },
    ],
  ])("%s", async (_, files, message, options) => {
    const attempt = open(await folderOf(files as Parameters<typeof folderOf>[0]), options);
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(message);
  });

  it("an empty class folder", async () => {
    const folder = await folderOf(all);
    mkdirSync(join(folder, "birds"));
    await expect(open(folder)).rejects.toThrow(
      /the class folder birds contains no images; add some, or remove the folder$/,
    );
  });

  it("held-out images that are the training images", async () => {
    const folder = await folderOf(all);
    await expect(open(folder, { heldOut: folder })).rejects.toThrow(/every held-out image is also a training image/);
  });

  it("another folder with another class, or with its own parts", async () => {
    const folder = await folderOf(all);
    const birds = await folderOf(pictures("birds/1.png", "cats/1.png"));
    await expect(open(folder, { heldOut: birds })).rejects.toThrow(/have no class "birds" \(they have cats, dogs\)/);
    const parts = await folderOf(pictures("train/cats/1.png", "test/cats/1.png"));
    await expect(open(folder, { heldOut: parts })).rejects.toThrow(/has a held-out part of its own \(test\/\)/);
  });

  it("a missing path, with a suggestion", async () => {
    await expect(open("emoij")).rejects.toThrow(
      /^emoij: there is no such folder or file; check the path; did you mean "emoji"\?$/,
    );
    put(join(root, "text.txt"), "text");
    await expect(open(join(root, "text.txt"))).rejects.toThrow(
      /text\.txt: not a data set, expected a folder of images/,
    );
  });

  it("options that do not apply to emoji", async () => {
    await expect(open("emoji", { heldOut: 0.1 })).rejects.toThrow(
      /^heldOut: the held-out set of emoji is fixed.*leave it out$/,
    );
    await expect(open("emoji", { group: "a" })).rejects.toThrow(/^group: .*; leave it out$/);
    await expect(open("emoji", { channels: 1 })).rejects.toThrow(/^channels: expected 3 \(RGB\) for emoji, got 1/);
  });
});

it("depends on the images, not on the location of the folder", async () => {
  const folder = await folderOf(all);
  const one = await open(folder);
  renameSync(folder, `${folder}-moved`);
  const moved = await open(`${folder}-moved`);
  expect(moved.fingerprint).toBe(one.fingerprint);
  put(join(`${folder}-moved`, "cats", "1.png"), await plain([1, 2, 3]).png().toBuffer());
  expect((await open(`${folder}-moved`)).fingerprint).not.toBe(one.fingerprint);
});
