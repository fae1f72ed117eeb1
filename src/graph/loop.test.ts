/** Loops compared with the same sums without a loop. */

import { expect, it } from "vitest";
import { float32 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { add, gatherRows, input, loop, loopIndex, matmul, mul, pickAt, rowsBetween, sum } from "./build.ts";
import { writeOnnx } from "./onnx.ts";

const engine = await nodeEngine({ threads: 1 });
const count = (n: number) => ({ dtype: "int64" as const, shape: [], data: BigInt64Array.of(BigInt(n)) });
const longs = (values: number[]) => ({
  dtype: "int64" as const,
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

it("sums and stacks the results of rounds, which use values from outside", async () => {
  const [w, x] = [input("w", "float32", [2, 2]), input("x", "float32", ["N", 2])];
  const outside = add(w, 1);
  const round = loopIndex();
  const rows = rowsBetween(x, input("bounds", "int64", ["bounds"]), { index: round, rows: "K" });
  const chosen = pickAt(input("groups", "int32", ["rounds", "G"]), round);
  const inner = matmul(rows, outside);
  const found = loop(input("rounds", "int64", []), round, {
    stack: [gatherRows(x, chosen)],
    sum: { total: sum(inner, [0]), squares: sum(mul(inner, inner), [0]) },
  });
  const { total, squares } = found.sum;
  const session = await engine.session(writeOnnx({ total, taken: found.stack[0], squares, doubled: mul(total, 2) }));
  const results = await session.run({
    w: float32([0, 1, 2, 3], [2, 2]), // outside: [[1, 2], [3, 4]]
    x: float32([1, 0, 0, 1, 1, 1, 2, 0, 0, 2], [5, 2]),
    bounds: longs([0, 2, 2, 5]), // the second round has none
    groups: { dtype: "int32", shape: [3, 2], data: Int32Array.of(0, 1, 4, 5, 2, 2) },
    rounds: count(3),
  });
  await session.dispose();
  const products = [[1, 2], [3, 4], [4, 6], [2, 4], [6, 8]]; // prettier-ignore
  const columns = (f: (v: number) => number) => [0, 1].map((c) => products.reduce((s, row) => s + f(row[c]), 0));
  expect([...results.total.data]).toEqual(columns((v) => v));
  expect([...results.doubled.data]).toEqual(columns((v) => 2 * v));
  expect([...results.squares.data]).toEqual(columns((v) => v * v));
  expect(results.taken.shape).toEqual([3, 2, 2]);
  expect([...results.taken.data]).toEqual([1, 0, 0, 1, 0, 2, 0, 0, 1, 1, 1, 1]); // index 5: the row of zeros
});

it("rejects a result that does not depend on the round", () => {
  const x = input("x", "float32", [2]);
  expect(() => loop(input("n", "int64", []), loopIndex(), { sum: [add(x, 1)] })).toThrow(
    "does not depend on the round",
  );
});
