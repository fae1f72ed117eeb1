import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UserError } from "../core/errors.ts";
import { type Dataset, imagesBetween } from "./dataset.ts";
import { classOfEmoji, drawnAlikeKey, emojiClasses, heldOutEmoji } from "./emoji-classes.ts";
import { emojiIcons, emojiRows, emojiSets } from "./emoji-icons.ts";
import { emojiDataset } from "./emoji.ts";

const size = 8;
const only = ["noto-v1", "fxemoji", "flags"] as const;
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-emoji-"));
const cache = join(temporary, "cache");
const progress: [number, number][] = [];
let dataset: Dataset;

beforeAll(async () => {
  dataset = await emojiDataset({ size, cache, only, onProgress: (done, total) => progress.push([done, total]) });
}, 60_000);
afterAll(() => rmSync(temporary, { recursive: true }));

const codesOf = (names: readonly string[]) => new Set(names.map((name) => name.split("/")[1]));

test("has the expected images, labels and names", () => {
  const { train, heldOut } = dataset;
  expect(train.count + heldOut.count).toBeGreaterThan(1900);
  for (const split of [train, heldOut]) {
    expect(imagesBetween(split, { from: 0, to: split.count }).length).toBe(split.count * size * size * 3);
    expect([split.labels.length, split.names.length]).toEqual([split.count, split.count]);
    expect(new Set(split.names).size).toBe(split.count);
  }
  expect(heldOut.count / (train.count + heldOut.count)).toBeGreaterThan(0.04);
  expect(heldOut.count / (train.count + heldOut.count)).toBeLessThan(0.1);
  expect(progress.at(-1)![0]).toBe(progress.at(-1)![1]);
  expect(progress.map(([done]) => done)).toEqual(progress.map((_, index) => index + 1));
});

test("every class is in both splits and no emoji is in both", () => {
  expect(dataset.classes).toEqual(emojiClasses);
  for (const { labels } of [dataset.train, dataset.heldOut]) expect(new Set(labels).size).toBe(14);
  const train = codesOf(dataset.train.names);
  expect([...codesOf(dataset.heldOut.names)].filter((code) => train.has(code))).toEqual([]);
});

test("a red heart is red on white", () => {
  const index = dataset.train.names.indexOf("fxemoji/2764");
  const image = dataset.train.image(index);
  expect(dataset.classes[dataset.train.labels[index]]).toBe("heart");
  const [red, green, blue] = image.subarray((3 * size + 4) * 3);
  expect(red).toBeGreaterThan(200);
  expect(green).toBeLessThan(110);
  expect(blue).toBeLessThan(110);
  for (const corner of [size - 1, size * (size - 1), size * size - 1])
    for (const value of image.subarray(corner * 3, corner * 3 + 3)) expect(value).toBeGreaterThan(225);
});

test("the file gives the same data set, and so does making it again", async () => {
  expect(readdirSync(cache).length).toBe(1);
  const read = await emojiDataset({ size, cache, only, onProgress: () => expect.unreachable() });
  const all = ({ train, heldOut, ...rest }: Dataset) => ({
    ...rest,
    splits: [train, heldOut].map((split) => ({ ...split, image: imagesBetween(split, { from: 0, to: split.count }) })),
  });
  expect(all(read)).toEqual(all(dataset));
  const few = { size, only: ["flags"] } as const;
  const [one, other] = [join(temporary, "one"), join(temporary, "other")];
  for (const folder of [one, other]) await emojiDataset({ ...few, cache: folder });
  const [file] = readdirSync(one);
  expect(readFileSync(join(other, file)).equals(readFileSync(join(one, file)))).toBe(true);
});

test("a damaged file is a user's error that names it", async () => {
  const damaged = join(temporary, "damaged");
  await emojiDataset({ size, cache: damaged, only: ["flags"] });
  const path = join(damaged, readdirSync(damaged)[0]);
  const whole = readFileSync(path);
  for (const bytes of [whole.subarray(0, 5), whole.subarray(0, 100), whole.subarray(0, -1), Buffer.alloc(100)]) {
    writeFileSync(path, bytes);
    const attempt = emojiDataset({ size, cache: damaged, only: ["flags"] });
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(path);
  }
});

test("stops when told to and leaves no file", async () => {
  const stopped = join(temporary, "stopped");
  const attempt = emojiDataset({ size, cache: stopped, only: ["flags"], signal: AbortSignal.abort() });
  await expect(attempt).rejects.toThrow("aborted");
  expect(existsSync(stopped)).toBe(false);
});

test("classes follow what is drawn", () => {
  const classes = classOfEmoji(emojiRows());
  const expected = {
    "1f600": "face",
    "1f63a": "animal", // grinning cat
    "1f34e": "food",
    "1f9d1-200d-1f33e": "person", // farmer
    "1f697": "vehicle",
    "1f1eb-1f1f7": "flag",
    "1f3e0": "place",
    "2764-200d-1f525": "heart", // heart on fire
    "1f48c": "object", // love letter
    "1f44d": "hand",
    "1f33b": "plant",
    "1f550": "clock",
    "1f455": "clothing",
    "2600": "sky",
    "1f528": "object",
  };
  for (const [code, name] of Object.entries(expected)) expect([code, classes.get(code)]).toEqual([code, name]);
  expect(classes.has("1f44d-1f3fb")).toBe(false);
});

test("emoji that are drawn alike stay together", () => {
  expect(drawnAlikeKey("1f468-200d-1f33e")).toBe(drawnAlikeKey("1f9d1-200d-1f33e"));
  expect(drawnAlikeKey("1f3c3-200d-2640-200d-27a1")).toBe(drawnAlikeKey("1f3c3"));
  expect(drawnAlikeKey("1f1e7-1f1fb")).toBe(drawnAlikeKey("1f1f3-1f1f4")); // Bouvet Island flies Norway's flag
  const heldOut = heldOutEmoji(classOfEmoji(emojiRows()));
  expect(heldOut.has("1f468-200d-1f33e")).toBe(heldOut.has("1f469-200d-1f33e"));
});

test("finds all 270 flags and at least 6500 icons", () => {
  const icons = emojiIcons(emojiSets, emojiRows());
  expect(icons.length).toBeGreaterThan(6500);
  expect(icons.filter(({ name }) => name.startsWith("flags/")).length).toBe(270);
  expect(new Set(icons.map(({ name }) => name)).size).toBe(icons.length);
  expect(icons.find(({ name }) => name === "noto/1f44d")).toBeDefined();
});
