import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseClasses } from "../config/classes.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, imagesBetween } from "./dataset.ts";
import {
  classOfEmoji,
  drawnAlikeKey,
  emojiClasses,
  emojiClassTable,
  emojiGroups,
  heldOutEmoji,
} from "./emoji-classes.ts";
import { emojiIcons, emojiRows } from "./emoji-icons.ts";
import { leftOutList, reasonLeftOut } from "./emoji-left-out.ts";
import { defaultSets, emojiSets, emojiSources, parseSets } from "./emoji-sets.ts";
import { emojiDataset, emojiFileName } from "./emoji.ts";

const size = 8;
const sets = ["noto-v1", "fxemoji", "flags"] as const;
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-emoji-"));
const cache = join(temporary, "cache");
const progress: [number, number][] = [];
let dataset: Dataset;

beforeAll(async () => {
  dataset = await emojiDataset({ size, cache, sets, onProgress: (done, total) => progress.push([done, total]) });
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
  // Flags, Noto's first version and Firefox OS lack a few classes.
  expect(new Set(dataset.train.labels).size).toBe(emojiClasses.length);
  expect(new Set(dataset.heldOut.labels).size).toBeGreaterThan(0.8 * emojiClasses.length);
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

test("reading the file and making it again both give the same data set", async () => {
  expect(readdirSync(cache).length).toBe(1);
  const read = await emojiDataset({ size, cache, sets, onProgress: () => expect.unreachable() });
  const all = ({ train, heldOut, ...rest }: Dataset) => ({
    ...rest,
    splits: [train, heldOut].map((split) => ({ ...split, image: imagesBetween(split, { from: 0, to: split.count }) })),
  });
  expect(all(read)).toEqual(all(dataset));
  const few = { size, sets: ["flags"] } as const;
  const [one, other] = [join(temporary, "one"), join(temporary, "other")];
  for (const folder of [one, other]) await emojiDataset({ ...few, cache: folder });
  const [file] = readdirSync(one);
  expect(readFileSync(join(other, file)).equals(readFileSync(join(one, file)))).toBe(true);
});

test("a damaged file is a UserError that names it", async () => {
  const damaged = join(temporary, "damaged");
  await emojiDataset({ size, cache: damaged, sets: ["flags"] });
  const path = join(damaged, readdirSync(damaged)[0]);
  const whole = readFileSync(path);
  for (const bytes of [whole.subarray(0, 5), whole.subarray(0, 100), whole.subarray(0, -1), Buffer.alloc(100)]) {
    writeFileSync(path, bytes);
    const attempt = emojiDataset({ size, cache: damaged, sets: ["flags"] });
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(path);
  }
});

test("stops on abort and leaves no file", async () => {
  const stopped = join(temporary, "stopped");
  const attempt = emojiDataset({ size, cache: stopped, sets: ["flags"], signal: AbortSignal.abort() });
  await expect(attempt).rejects.toThrow("aborted");
  expect(existsSync(stopped)).toBe(false);
});

test("classes match the pictures", () => {
  const classes = classOfEmoji(emojiRows());
  const expected = {
    "1f600": ["smiling face", "face"],
    "1f63a": ["cat face", "animal"], // grinning cat
    "1f34e": ["fruit", "food"],
    "1f9d1-200d-1f33e": ["worker", "person"], // farmer
    "1f697": ["land vehicle", "vehicle"],
    "1f6a6": ["traffic object", "object"], // traffic light, which CLDR files with the vehicles
    "1f1eb-1f1f7": ["country flag", "flag"],
    "1f3e0": ["building", "place"],
    "2764-200d-1f525": ["heart", "heart"], // heart on fire
    "1f48c": ["mail", "object"], // love letter
    "1f44d": ["fist or thumb", "hand"],
    "1f33b": ["flower", "plant"],
    "1f550": ["clock", "clock"],
    "1f455": ["clothing", "clothing"],
    "2600": ["moon or star", "sky"],
    "1f528": ["tool or weapon", "object"],
  };
  for (const [code, names] of Object.entries(expected))
    expect([code, classes.get(code)?.name, classes.get(code)?.group]).toEqual([code, ...names]);
  expect(classes.has("1f44d-1f3fb")).toBe(false);
});

test("emoji that look alike stay together", () => {
  expect(drawnAlikeKey("1f468-200d-1f33e")).toBe(drawnAlikeKey("1f9d1-200d-1f33e"));
  expect(drawnAlikeKey("1f3c3-200d-2640-200d-27a1")).toBe(drawnAlikeKey("1f3c3"));
  expect(drawnAlikeKey("1f1e7-1f1fb")).toBe(drawnAlikeKey("1f1f3-1f1f4")); // Bouvet Island flies Norway's flag
  const heldOut = heldOutEmoji(classOfEmoji(emojiRows()));
  expect(heldOut.has("1f468-200d-1f33e")).toBe(heldOut.has("1f469-200d-1f33e"));
});

test("every class has emoji, and every group name finds its classes", () => {
  const used = new Set([...classOfEmoji(emojiRows()).values()].map(({ name }) => name));
  expect(emojiClasses.filter((name) => !used.has(name))).toEqual([]);
  expect(emojiClasses.length).toBeGreaterThanOrEqual(60);
  expect(emojiClasses.length).toBeLessThanOrEqual(95);
  const names = { classes: emojiClasses, groups: emojiGroups };
  for (const group of ["face", "animal", "food", "person", "vehicle", "flag", "place"].concat(
    ["heart", "hand", "plant", "clock", "clothing", "sky", "object"], // prettier-ignore
  )) {
    const [labels] = parseClasses(group, names);
    expect(labels.map((label) => emojiClassTable[label].group)).toEqual(labels.map(() => group));
    expect(labels.length).toBe(emojiClassTable.filter((row) => row.group === group).length);
  }
});

test("every class has emoji in both splits", () => {
  const classes = classOfEmoji(emojiRows());
  const heldOut = heldOutEmoji(classes);
  for (const side of [true, false]) {
    const there = new Set([...classes].filter(([code]) => heldOut.has(code) === side).map(([, { name }]) => name));
    expect(emojiClasses.filter((name) => !there.has(name))).toEqual([]);
  }
});

test("finds all 270 flags and about 10,000 icons of the default vendors", () => {
  const icons = emojiIcons(emojiSets, emojiRows());
  const taken = icons.filter(({ name }) => defaultSets.some((set) => name.startsWith(`${set}/`)));
  expect(taken.length).toBeGreaterThan(9500);
  expect(icons.length).toBeGreaterThan(12_500);
  expect(icons.filter(({ name }) => name.startsWith("flags/")).length).toBe(270);
  expect(new Set(icons.map(({ name }) => name)).size).toBe(icons.length);
  expect(icons.find(({ name }) => name === "noto/1f44d")).toBeDefined();
});

test("no icon needs a font, which would make pictures differ between machines", () => {
  for (const { name, picture } of emojiIcons(emojiSets, emojiRows()))
    if ("svgBody" in picture && /<text|<image|<foreignObject/.test(picture.svgBody)) expect(name).toBe("without text");
});

test("licences match the packages, and no share-alike set is used by default", () => {
  const { resolve } = createRequire(import.meta.url);
  for (const set of emojiSets.filter((name) => name !== "flags")) {
    const info = JSON.parse(readFileSync(resolve(`${emojiSources[set].package}/info.json`), "utf8"));
    expect([set, emojiSources[set].license]).toEqual([set, info.license.spdx]);
  }
  expect(emojiSets.filter((set) => !defaultSets.includes(set))).toEqual(
    emojiSets.filter((set) => emojiSources[set].license.includes("-SA-")),
  );
});

test("sets are listed once each, in the order of the table", () => {
  expect(parseSets("openmoji, noto,noto")).toEqual(["noto", "openmoji"]);
  expect(() => parseSets("notto")).toThrow(/^sets: there is no set "notto"; did you mean "noto"\?; the sets are /);
  expect(() => parseSets("")).toThrow(/openmoji \(CC-BY-SA-4\.0\)/);
});

test("every left-out icon exists and is reported with its reason", () => {
  const names = emojiIcons(emojiSets, emojiRows()).map(({ name }) => name);
  const left = names.filter((name) => reasonLeftOut(name) !== undefined);
  for (const [reason, icons] of leftOutList)
    for (const icon of icons)
      expect(left.filter((name) => (icon.endsWith("*") ? name.startsWith(icon.slice(0, -1)) : name === icon)).length, `${icon}: ${reason}`).toBeGreaterThan(0); // prettier-ignore
  expect(dataset.skipped).toContainEqual({ name: "fxemoji/1f68b", reason: "it is a black rectangle" });
  expect([...dataset.train.names, ...dataset.heldOut.names]).not.toContain("fxemoji/1f68b");
});

test("no picture is blank", () => {
  for (const { count, image, names } of [dataset.train, dataset.heldOut])
    for (let i = 0; i < count; i++) expect(image(i).filter((value) => value < 240).length, names[i]).toBeGreaterThan(3);
});

test("another choice of sets, including a share-alike set, is another file", () => {
  const sizes = [emojiFileName({ size }), emojiFileName({ size, sets: ["noto"] }), emojiFileName({ size: 16 })];
  expect(new Set(sizes.concat(emojiFileName({ size, sets: [...defaultSets, "openmoji"] }))).size).toBe(4);
});

test("a cache that cannot be written to is noticed before anything is rendered", async () => {
  let rendered = 0;
  const opened = emojiDataset({ size: 8, cache: "/dev/null/cache", onProgress: () => rendered++ });
  await expect(opened).rejects.toThrow(UserError);
  expect(rendered).toBe(0);
});
