/** Abbreviated name lists: runs of blocks, several parts of a block, and the number left out. */

import { describe, expect, it } from "vitest";
import { blockwise } from "./blockwise.ts";

const ofBlocks = (blocks: number[], ...parts: string[]) =>
  blocks.flatMap((block) => parts.map((part) => `generator.blocks.${block}.${part}`));

describe("names", () => {
  it("are listed; if there are more than four, only three and the number left out", () => {
    expect(blockwise(["a"])).toBe("a");
    expect(blockwise(["a", "b.weight", "c", "d"])).toBe("a, b.weight, c, d");
    expect(blockwise(["a", "b", "c", "d", "e"])).toBe("a, b, c and 2 more");
    expect(blockwise([])).toBe("");
  });

  it("that repeat in several blocks are listed once, with neighbouring blocks as a range", () => {
    expect(blockwise(ofBlocks([0, 1, 2, 5], "norm1.weight"))).toBe("generator.blocks.0-2,5.norm1.weight");
    expect(blockwise(ofBlocks([3, 4], "norm1.weight", "norm1.bias"))).toBe(
      "generator.blocks.3-4.norm1.weight, generator.blocks.3-4.norm1.bias",
    );
    expect(blockwise([...ofBlocks([1], "a"), "next_fractal.blocks.1.a", "alone"])).toBe(
      "generator.blocks.1.a, next_fractal.blocks.1.a, alone",
    );
  });

  it("of whole blocks are counted per block", () => {
    expect(blockwise(ofBlocks([2, 3, 4], "a", "b", "c", "d", "e"))).toBe("5 each of generator.blocks.2-4 such as a");
  });

  it("that are left out are counted individually", () => {
    const items = [...ofBlocks([0, 1], "a"), "b", ...ofBlocks([0, 1, 2], "c", "d", "e", "f", "g"), "h", "i", "j"];
    expect(blockwise(items)).toBe("generator.blocks.0-1.a, b, 5 each of generator.blocks.0-2 such as c and 3 more");
    const cut = ["x", ...ofBlocks([0, 1], "a"), "y", ...ofBlocks([3, 4, 5], "b"), "z"];
    expect(blockwise(cut)).toBe("x, generator.blocks.0-1.a, y and 4 more");
  });

  it("may be followed by more text, such as shapes", () => {
    expect(blockwise(ofBlocks([0, 1], "norm.weight [2] for [3]"))).toBe("generator.blocks.0-1.norm.weight [2] for [3]");
  });
});
