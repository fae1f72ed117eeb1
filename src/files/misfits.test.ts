/** Every kind of mismatch is described, and none if everything matches. */

import { expect, it } from "vitest";
import type { DType } from "../core/arrays.ts";
import { misfits } from "./misfits.ts";

const wanted = [
  { name: "a", shape: [2, 3] },
  { name: "b", shape: [4] },
  { name: "c", shape: [] },
];
const found = (change: Record<string, { dtype?: DType; shape?: number[] } | undefined> = {}) => {
  const all = new Map(wanted.map(({ name, shape }) => [name, { dtype: "float32" as DType, shape }]));
  for (const [name, own] of Object.entries(change))
    if (own) all.set(name, { dtype: "float32", shape: [1], ...all.get(name), ...own });
    else all.delete(name);
  return all;
};

it("reports nothing for matching tensors in any order", () => {
  expect(misfits(found(), wanted)).toEqual([]);
  expect(misfits(found(), wanted.toReversed())).toEqual([]);
  expect(misfits(new Map(), [])).toEqual([]);
});

it("reports missing and unexpected tensors, wrong shapes and wrong types", () => {
  expect(misfits(found({ a: undefined, c: undefined }), wanted)).toEqual(["2 missing (a, c)"]);
  expect(misfits(found({ d: {}, e: { dtype: "int64" } }), wanted)).toEqual(["2 unexpected (d, e)"]);
  expect(misfits(found({ a: { shape: [3, 2] }, c: { shape: [1] } }), wanted)).toEqual([
    "2 with the wrong shape (a [3, 2] instead of [2, 3], c [1] instead of [])",
  ]);
  expect(misfits(found({ b: { dtype: "int32" } }), wanted)).toEqual(["1 with a type other than float32 (b int32)"]);
  expect(misfits(found({ b: { dtype: "float64" } }), wanted)).toEqual([]);
});

it("reports all kinds together, and every kind that applies to a tensor", () => {
  const change = { a: { shape: [6], dtype: "int8" as const }, b: undefined, x: {} };
  expect(misfits(found(change), wanted)).toEqual([
    "1 missing (b)",
    "1 unexpected (x)",
    "1 with the wrong shape (a [6] instead of [2, 3])",
    "1 with a type other than float32 (a int8)",
  ]);
});

it("abbreviates long lists", () => {
  const blocks = [0, 1, 2].flatMap((i) => [`blocks.${i}.w`, `blocks.${i}.b`]).map((name) => ({ name, shape: [1] }));
  expect(misfits(new Map(), [...wanted, ...blocks])).toEqual(["9 missing (a, b, c and 6 more)"]);
  expect(misfits(found(), [...wanted, ...blocks])).toEqual(["6 missing (blocks.0-2.w, blocks.0-2.b)"]);
});
