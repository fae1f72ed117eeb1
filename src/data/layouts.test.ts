/**
 * Folders in the wild: other names of parts, system files, links, odd names; nothing is ignored silently.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { processorSeconds } from "../files/test-time.ts";
import { type DataOptions, openDataset } from "./open.ts";
import { reportLines } from "./report.ts";
import { plain, put } from "./test-files.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-layouts-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
let colour = 0;

const picture = () =>
  plain([colour++ % 256, colour % 7, 40], { width: 8 })
    .png()
    .toBuffer();

async function folderOf(...names: string[]): Promise<string> {
  const folder = join(root, `set${made++}`);
  for (const name of names) put(join(folder, name), await picture());
  return folder;
}

const open = (folder: string, options: Partial<DataOptions> = {}) =>
  openDataset(folder, { cache: join(root, "cache"), ...options });

it.each([
  ["training_set", "test_set"],
  ["Train", "val"],
  ["train_images", "test_images"],
  ["TrainingData", "ValidationData"],
])("%s/ and %s/ are parts, not classes", async (train, test) => {
  const found = await open(await folderOf(`${train}/cats/1.png`, `${train}/dogs/1.png`, `${test}/cats/2.png`));
  expect([found.classes, found.train.count, found.heldOut.count]).toEqual([["cats", "dogs"], 2, 1]);
  expect(found.report!.taken).toEqual([`${train}/: images to train on`, `${test}/: images to hold out`]);
});

it("parts may be inside a folder with the archive's name, and nested in a folder of their own name", async () => {
  const found = await open(
    await folderOf(
      "pets/training_set/training_set/cats/1.png",
      "pets/training_set/training_set/dogs/1.png",
      "pets/test_set/test_set/dogs/2.png",
    ),
  );
  expect([found.classes, found.train.count, found.heldOut.count]).toEqual([["cats", "dogs"], 2, 1]);
});

it("two folders for one part are rejected", async () => {
  const folder = await folderOf("train/a/1.png", "training/a/2.png", "test/a/3.png");
  await expect(open(folder)).rejects.toThrow(/train\/, training\/ all name the part train; keep one of them$/);
});

it("files of systems and other programs are left out and reported", async () => {
  const folder = await folderOf(
    "cats/1.png",
    "cats/2.png",
    "dogs/1.png",
    "$RECYCLE.BIN/S-1/$R1.png",
    "#recycle/old.png",
    "System Volume Information/x.png",
    "__MACOSX/cats/._1.png",
    "cats/.ipynb_checkpoints/1.png",
  );
  mkdirSync(join(folder, "lost+found"));
  for (const name of [".DS_Store", "Thumbs.db", "desktop.ini", "labels.csv"]) put(join(folder, name), "x");
  const dataset = await open(folder);
  expect(dataset.classes).toEqual(["cats", "dogs"]);
  expect(dataset.report!.leftOut).toEqual([
    { why: "a system file", count: 7, names: ["#recycle", "$RECYCLE.BIN", "System Volume Information"] },
    { why: "hidden", count: 2, names: [".DS_Store", "cats/.ipynb_checkpoints"] },
    { why: "not an image", count: 1, names: ["labels.csv"] },
  ]);
  expect(reportLines(dataset)).toContain(
    "left out: #recycle, $RECYCLE.BIN, System Volume Information and 4 more (a system file)",
  );
});

it("different encodings of one name are one class with the images of both", async () => {
  const { classes, train, heldOut, notes } = await open(
    await folderOf("caf\u00e9/1.png", "cafe\u0301/2.png", "tea/1.png"),
  );
  expect(classes).toEqual(["caf\u00e9", "tea"]);
  const labels = [...train.labels, ...heldOut.labels].toSorted();
  expect(labels).toEqual([0, 0, 1]);
  expect(notes[0]).toMatch(/^caf\u00e9: several folders have this name/);
});

it.skipIf(process.platform === "darwin")(
  "names that are not UTF-8 are read as Latin-1 (skipped on disks that reject them)",
  async () => {
    const folder = await folderOf("tea/1.png");
    const odd = Buffer.concat([Buffer.from(folder), Buffer.from("/caf\xe9", "latin1")]);
    mkdirSync(odd);
    for (const name of ["1.png", "th\xe9.png"])
      writeFileSync(Buffer.concat([odd, Buffer.from(`/${name}`, "latin1")]), await picture());
    const { classes, train, heldOut, notes, skipped } = await open(folder);
    expect([classes, train.count + heldOut.count, skipped]).toEqual([["caf\u00e9", "tea"], 3, []]);
    expect(notes[0]).toBe("2 names are not valid UTF-8 and were read as Latin-1: caf\u00e9, caf\u00e9/th\u00e9.png");
  },
);

it("a dangling class folder is an error; a dangling image is skipped, any other file left out", async () => {
  const folder = await folderOf("cats/1.png", "cats/2.png", "dogs/1.png");
  symlinkSync("/mnt/gone/3.png", join(folder, "cats", "3.png"));
  symlinkSync("/mnt/gone/notes.txt", join(folder, "notes.txt"));
  const { skipped, report } = await open(folder);
  expect(skipped.map(({ name }) => name)).toEqual(["cats/3.png"]);
  expect(report!.leftOut).toEqual([{ why: "a dangling link", count: 1, names: ["notes.txt"] }]);
  symlinkSync("/mnt/gone/birds", join(folder, "birds"));
  await expect(open(folder)).rejects.toThrow(
    /birds is a link to \/mnt\/gone\/birds, which does not exist; mount its disk, or remove the link$/,
  );
});

it("fifty folders that link to each other are each read once", async () => {
  const folder = await folderOf(...Array.from({ length: 50 }, (_, i) => `f${i}/1.png`));
  for (let i = 0; i < 50; i++)
    for (let j = 0; j < 50; j++) if (i !== j) symlinkSync(join(folder, `f${j}`), join(folder, `f${i}`, `to${j}`));
  const before = process.cpuUsage();
  const { classes, train, heldOut, report } = await open(folder);
  expect([classes.length, train.count + heldOut.count]).toEqual([50, 50]);
  expect(report!.leftOut).toMatchObject([{ why: "a link to a folder that is already included", count: 50 * 49 }]);
  expect(processorSeconds(before)).toBeLessThan(30); // for ever, where each way is walked
});

it("does not wait for named pipes", async () => {
  const folder = await folderOf("a.png", "b.png");
  execFileSync("mkfifo", [join(folder, "c.png")]);
  expect((await open(folder)).report!.leftOut).toEqual([
    { why: "neither a file nor a folder", count: 1, names: ["c.png"] },
  ]);
  await expect(open(join(folder, "c.png"))).rejects.toThrow(UserError);
  await expect(open(join(folder, "c.png"))).rejects.toThrow(/c\.png: this is a named pipe, not a file/);
  await expect(open("/dev/zero")).rejects.toThrow(/^\/dev\/zero: this is a device, not a file; check the path$/);
});

it("small images are reported, and left out on request", async () => {
  const folder = await folderOf();
  for (const [i, [width, height]] of [
    [40, 40],
    [64, 50],
    [48, 48],
    [20, 60],
    [4000, 1],
  ].entries())
    put(
      join(folder, `${i}.png`),
      await plain([i * 9, 40, 7], { width, height })
        .png()
        .toBuffer(),
    );
  await expect(open(folder)).rejects.toThrow(
    /2 images of 5 are smaller than the image size 32: 4\.png \(4000x1\), 3\.png \(20x60\); choose an image size of 1 or less or leave them out$/,
  );
  const { train, heldOut, skipped } = await open(folder, { skipSmall: true });
  expect([train.count + heldOut.count, skipped]).toEqual([
    3,
    [
      { name: "3.png", reason: "has 20x60 pixels, too few for 32x32" },
      { name: "4.png", reason: "has 4000x1 pixels, too few for 32x32" },
    ],
  ]);
});

it("the report counts classes, and shortens many of them", async () => {
  const dataset = await open(await folderOf("a/1.png", "a/2.png", "b\u001b[2J/1.png"), { heldOut: 0.4, group: "^a" });
  expect(reportLines(dataset).find((line) => line.startsWith("classes:"))).toMatch(
    /^classes: a \d\+\d, b\\x1b\[2J \d\+\d$/,
  );
  const many = await open(await folderOf(...Array.from({ length: 20 }, (_, i) => `c${i}/1.png`)));
  expect(reportLines(many).find((line) => line.startsWith("classes:"))).toMatch(
    /^classes: (c\d+ 1\+0, ){6}… c\d+ [01]\+[01] \(images to train on/,
  );
});
