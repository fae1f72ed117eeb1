/** Symbolic sizes, and the errors of operations whose shapes do not match. */

import { describe, expect, it } from "vitest";
import { float32 } from "../core/arrays.ts";
import * as g from "./build.ts";
import { broadcast, type Dim, over, plus, sameShape, times } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

describe("dimensions", () => {
  it("multiply to the same text in any order", () => {
    expect(times()).toBe(1);
    expect(times(3, 4)).toBe(12);
    expect(times("B", 64)).toBe("64*B");
    expect(times(1, "B")).toBe("B");
    expect(times("R", 5, "B")).toBe("5*B*R");
    expect(times("5*R", "2*B")).toBe("10*B*R");
    expect(times("B", "B")).toBe("B*B");
    expect(times("B", 0)).toBe(0);
    expect(times("R*B")).toBe("B*R");
  });

  it("divide exactly", () => {
    expect(over("64*B", 64)).toBe("B");
    expect(over("64*B", "B")).toBe(64);
    expect(over("64*B", "16*B")).toBe(4);
    expect(over("B*B", "B")).toBe("B");
    expect(over("B*R", "R")).toBe("B");
    expect(over("B", 1)).toBe("B");
    expect(over("B", "B")).toBe(1);
    for (const [a, b] of [
      ["B", 2],
      ["4*B", 8],
      ["B", "R"],
      [6, 4],
      [6, "B"],
      ["B", "B*B"],
      [1, 0],
    ] as [Dim, Dim][])
      expect(() => over(a, b), `${a} / ${b}`).toThrow(`${b} does not divide ${a}`);
  });

  it("division undoes multiplication", () => {
    const some: Dim[] = [1, 3, "B", "4*B", "B*R", "6*B*R", "P+1", "4*(P+1)"];
    for (const a of some)
      for (const b of some) {
        expect(times(a, b)).toBe(times(b, a));
        expect(over(times(a, b), b), `${a} * ${b} / ${b}`).toBe(a);
        for (const c of some) expect(times(times(a, b), c)).toBe(times(a, times(b, c)));
      }
  });

  it("add up, combining like terms", () => {
    expect(plus(2, 3)).toBe(5);
    expect(plus("B", "B")).toBe("2*B");
    expect(plus("2*B*R", "3*R*B")).toBe("5*B*R");
    expect(plus("P", 1)).toBe("P+1");
    expect(plus(1, "P")).toBe("P+1");
    expect(plus("P+1", 1)).toBe("P+2");
    expect(plus("P+1", "P")).toBe("2*P+1");
    expect(plus("R", "B")).toBe("B+R");
    expect(plus("P", 0)).toBe("P");
    expect(plus(0, "P")).toBe("P");
    expect(plus("4*(P+1)", 1)).toBe("4*(P+1)+1");
    expect(plus("4*(P+1)", "P+1")).toBe("P+4*(P+1)+1");
  });

  it("distinguish four times a sum from a sum with a fourfold term", () => {
    expect(times(4, plus("P", 1))).toBe("4*(P+1)");
    expect(plus(times(4, "P"), 1)).toBe("4*P+1");
    expect(over("4*(P+1)", 4)).toBe("P+1");
    expect(over("B*(P+1)", "P+1")).toBe("B");
    expect(() => over("4*P+1", 4)).toThrow("4 does not divide 4*P+1");
    expect(times("P+1", "P+1")).toBe("(P+1)*(P+1)");
  });
});

describe("shapes", () => {
  it("broadcast as in numpy", () => {
    expect(broadcast([2, 3], [3], "add")).toEqual([2, 3]);
    expect(broadcast([2, 1], [1, 3], "add")).toEqual([2, 3]);
    expect(broadcast([], ["B", 3], "add")).toEqual(["B", 3]);
    expect(broadcast(["B", 1], [1, "R"], "add")).toEqual(["B", "R"]);
    expect(() => broadcast(["B"], ["R"], "add")).toThrow("add: shapes do not broadcast: [B] and [R]");
    expect(() => broadcast(["B"], [3], "mul")).toThrow("mul: shapes do not broadcast: [B] and [3]");
  });

  it("are equal if every size is equal", () => {
    expect(sameShape([2, "B"], [2, "B"])).toBe(true);
    expect(sameShape([2, "B"], [2, "R"])).toBe(false);
    expect(sameShape([2], [2, 1])).toBe(false);
  });
});

describe("a violated shape rule names the actual and the expected shape", () => {
  const x = (...shape: Dim[]): Tensor => g.input("x", "float32", shape);
  const whole = (...shape: Dim[]): Tensor => g.input("i", "int32", shape);
  it.each<[string, () => unknown, ...string[]]>([
    ["add", () => g.add(x(2, 3), x(4, 5)), "[2, 3]", "[4, 5]"],
    ["add", () => g.add(x(2), whole(2)), "float32", "int32"],
    ["less", () => g.less(x("B"), x("R")), "[B]", "[R]"],
    ["where", () => g.where(x(2), x(2), x(2)), "float32", "bool"],
    ["where", () => g.where(g.less(x(2), 0), x(3), x(3)), "[2]", "[3]"],
    ["matmul", () => g.matmul(x(2, 3), x(4, 5)), "[2, 3]", "[4, 5]"],
    ["matmul", () => g.matmul(x(2, 3), x(2, 3), { transA: true, transB: true }), "[2, 3]ᵀ", "[2, 3]ᵀ"],
    ["matmul", () => g.matmul(x("B", 2, 3), x("R", 3, 2)), "[B, 2, 3]", "[R, 3, 2]"],
    ["matmul", () => g.matmul(x(3), x(3)), "[3]", "[3]"],
    ["linear", () => g.linear(x(2, 3), x(5, 4)), "[2, 3]", "[5, 4]"],
    ["linear", () => g.linear(x(2, 3), x(5, 3), x(3)), "[3]", "[5]"],
    ["reshape", () => g.reshape(x("B", 4), ["B", 5]), "[B, 4]", "[B, 5]"],
    ["concat", () => g.concat([x("B", 4), x("R", 4)], 1), "[B, 4]", "[R, 4]"],
    ["slice", () => g.slice(x(2, 3), 1, 1, 4), "1 to 4", "[2, 3]"],
    ["slice", () => g.slice(x(2, "B"), 1, 0, 1), "0 to 1", "[2, B]"],
    ["expandLike", () => g.expandLike(x(2), x(3)), "[2]", "[3]"],
    ["crossEntropy", () => g.crossEntropy(x(2, 3), g.input("t", "int64", [4])), "[2, 3]", "[4]"],
    ["layerNorm", () => g.layerNorm(x(2, 3), x(4), x(3), 1e-6), "[4]", "[3]"],
    ["embedding", () => g.embedding(x(2, 3), x(4)), "float32", "int32"],
    ["gatherRows", () => g.gatherRows(x(2, 3, 4), whole(4)), "[2, 3, 4]", "two dimensions"],
    ["gatherTokens", () => g.gatherTokens(x(2, 3, 4), whole(3, 2)), "[2, 3, 4]", "[3, 2]"],
    ["dropout", () => g.dropout(x(2), 0.5, { seed: x(), salt: 0 }), "float32", "int32"],
  ])("%s", (op, make, ...parts) => {
    let message = "nothing was thrown";
    try {
      make();
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.startsWith(`${op}: `), message).toBe(true);
    for (const part of parts) expect(message).toContain(part);
  });

  it("an array whose length does not match its shape", () => {
    expect(() => float32([1, 2, 3], [2, 2])).toThrow("array of 3 values does not fill the shape [2, 2]");
  });
});
