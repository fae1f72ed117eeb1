/** Operation counts against counts by hand. */

import { expect, it } from "vitest";
import { input, linear, matmul, parameter } from "./build.ts";
import { boundSizes, floatingPointOperations, sizeOf } from "./cost.ts";

it("evaluates symbolic sizes", () => {
  const sizes = new Map([
    ["R", 3],
    ["P", 4],
  ]);
  expect(sizeOf("2*R", sizes)).toBe(6);
  expect(sizeOf("P+1", sizes)).toBe(5);
  expect(sizeOf("8*P*R", sizes)).toBe(96);
  expect(sizeOf("2*(P+1)*R", sizes)).toBe(30);
  expect(sizeOf("2*(P+1)+R", sizes)).toBe(13);
  expect(() => sizeOf("Q", sizes)).toThrow("Q");
});

it("counts products and layers", () => {
  const x = input("x", "float32", ["2*R", 4]);
  const y = linear(x, parameter("w", [5, 4])); // 2 R rows, 4 in, 5 out
  const z = matmul(y, y, { transA: true }); // 5 x 2R x 5
  const sizes = boundSizes({ z }, { x: [6, 4] });
  expect(sizes.get("R")).toBe(3);
  expect(floatingPointOperations({ z }, sizes)).toBe(2 * 6 * 4 * 5 + 2 * 5 * 6 * 5);
});
