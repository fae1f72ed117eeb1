/** Trees of tensors and their names. */

import { expect, it } from "vitest";
import { float32, type HostTensor } from "../core/arrays.ts";
import { input } from "./build.ts";
import { mapped, named, runTree, valuesOf } from "./tree.ts";

const tensor = (name: string) => input(name, "float32", [1]);
const value = (x: number): HostTensor => float32([x], [1]);
const missing: HostTensor | undefined = undefined;

it("names tensors by their path, in order, and omits absent parts", () => {
  const [a, b, c] = [value(1), value(2), value(3)];
  const tree = { mask: [missing, a], weights: { pixels: b, guiding: [] }, "d.name": c };
  expect(Object.entries(named<HostTensor>(tree))).toEqual([
    ["mask.1", a],
    ["weights.pixels", b],
    ["d.name", c],
  ]);
  expect(named<HostTensor>(Object.assign([], { 2: a }))).toEqual({ "2": a });
});

it("replaces tensors by their values", () => {
  const outputs = { conditions: tensor("x"), key: [tensor("y"), tensor("z")], nats: undefined };
  const found = valuesOf(outputs, { conditions: value(1), "key.0": value(2), "key.1": value(3) });
  expect(found.conditions.data[0]).toBe(1);
  expect(found.key.map(({ data }) => data[0])).toEqual([2, 3]);
  expect(found.nats).toBeUndefined();
  expect(mapped<HostTensor, string>({ a: [value(1)] }, (_, name) => name)).toEqual({ a: ["a.0"] });
});

it("runs a session with names on both sides", async () => {
  const run = async (feeds: Record<string, HostTensor>, into: Record<string, HostTensor> = {}) => {
    expect(Object.keys(feeds)).toEqual(["take.0", "take.1"]);
    expect(Object.keys(into)).toEqual(["d.w"]);
    return { "sum.0": value(7) };
  };
  const { sum } = await runTree(
    { run },
    { sum: [tensor("s")] },
    { take: [value(1), value(2)] },
    { d: { w: value(0) } },
  );
  expect(sum[0].data[0]).toBe(7);
});
