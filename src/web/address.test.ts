/** The page's state in an address: written, read back, and invalid values refused in one sentence. */

import { expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import {
  defaultSettings,
  firstSettings,
  quickIterations,
  readAddress,
  type Settings,
  writeAddress,
} from "./address.ts";

const config = parseModelConfig(
  {
    imageSize: 8,
    classes: ["cat", "golden retriever, dog", "a&b=c"],
    levels: [
      { kind: "mar", patch: 2, width: 8, depth: 1, heads: 1 },
      { kind: "mar", patch: 1, width: 8, depth: 1, heads: 1 },
      { kind: "pixel", width: 8, depth: 1, heads: 1 },
    ],
  },
  "the test",
);

it("reads back what it wrote", () => {
  const settings: Settings = {
    ...defaultSettings(config),
    classes: [2, 0, 1],
    count: 7,
    seed: 2 ** 53 - 1,
    guidance: 2.5,
    schedule: "constant",
    temperature: 1.1,
    filterThreshold: 0.002,
    iterations: [3, 2],
    device: "webgpu",
    selected: 6,
    step: 12,
    view: "entropy",
    edit: {
      ring: 1,
      image: Uint8Array.from({ length: 192 }, (_, i) => (i * 37) % 256),
      mask: Uint8Array.from({ length: 64 }, (_, i) => Number(i % 3 === 0)),
    },
  };
  const text = writeAddress(settings, config);
  expect(text).toMatch(/^[\w=&,.%-]+$/);
  expect(readAddress(`#${text}`, config)).toEqual(settings);
});

it("stores the painted mask separately from the ring, and reads old links without a ring", () => {
  const mask = Uint8Array.from({ length: 64 }, (_, i) => Number(i === 9));
  const edit = { image: new Uint8Array(192), mask };
  const [without, withRing] = [edit, { ...edit, ring: 1 }].map((one) =>
    writeAddress({ ...defaultSettings(config), edit: one }, config),
  );
  expect(withRing).toBe(`${without}&ring=1`);
  expect(readAddress(without, config).edit).toEqual(edit);
  expect(readAddress(withRing, config).edit).toEqual({ ...edit, ring: 1 });
});

it("draws with fewer steps if the page is opened without a link, and writes them to the address", () => {
  const more = { ...config, sampling: { ...config.sampling, iterations: [16, 4] } };
  expect(quickIterations(more)).toEqual([8, 4]);
  expect(firstSettings(more)).toMatchObject({ classes: [0], iterations: [8, 4] });
  expect(writeAddress(firstSettings(more), more)).toBe("classes=cat&n=4&seed=1&iterations=8,4");
  const many = { ...more, classes: Array.from({ length: 40 }, (_, i) => `class ${i}`) };
  expect(firstSettings(many).classes).toEqual([0, 10, 20, 30]);
  const ar = {
    ...more,
    levels: more.levels.map((level) => (level.kind === "mar" ? { ...level, kind: "ar" as const } : level)),
  };
  expect(quickIterations(ar as typeof more)).toBeUndefined();
});

it("defaults to the model's settings, and leaves them out of the address", () => {
  expect(readAddress("", config)).toEqual(defaultSettings(config));
  expect(writeAddress(defaultSettings(config), config)).toBe("classes=cat&n=4&seed=1");
});

it.each([
  ["classes=cta", `the link's classes: the model has no class "cta"; did you mean "cat"?`],
  ["n=1000", `the link's n should be a whole number from 1 to 36, not "1000"`],
  ["n=2.5", `the link's n should be a whole number from 1 to 36, not "2.5"`],
  ["seed=", `the link's seed should be a whole number from 0 to 9007199254740991, not ""`],
  ["guidance=x", `the link's guidance should be a number from 0 to 10, not "x"`],
  [
    "iterations=4",
    `the link's iterations should be 2 numbers, one for each of the model's levels above the pixels, such as 16,4, not "4"`,
  ],
  ["schedule=cosine", `the link's schedule should be linear or constant, not "cosine"`],
  ["filter-threshold=2", `the link's filter-threshold should be a number from 0 to 1, or a list of them, not "2"`],
  ["device=tpu", `the link's device should be auto, webgpu, webgpu-float16 or wasm, not "tpu"`],
  ["view=x", `the link's view should be image or uncertainty, not "x"`],
  ["classes=%E0%A4", `the link is cut short at "%E0%A4"; copy the whole link`],
  ["from=abc&mask=abc&ring=7", `the link's ring should be a whole number from 0 to 1, not "7"`],
  ["from=abc&mask=abc", "the link's picture is cut short; copy the whole link"],
])("%s is refused", (text, message) => {
  expect(() => readAddress(text, config)).toThrow(new UserError(message));
});

it("accepts names of groups, and draws all of their classes in turn", () => {
  const grouped = { ...config, groups: { animals: ["golden retriever, dog", "cat"] } };
  expect(readAddress("classes=a%26b%3Dc,Animals", grouped).classes).toEqual([2, 1, 0]);
  expect(() => readAddress("classes=animal", grouped)).toThrow(/did you mean "animals"\?$/);
});
