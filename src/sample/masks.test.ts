/** Masks shown as text: # is redrawn. */

import { describe, expect, it } from "vitest";
import { allButMask, centre, grownMask, halfMask, rectangleMask, taskMask } from "./masks.ts";

const shown = (mask: Uint8Array): string[] => {
  const size = Math.sqrt(mask.length);
  return Array.from({ length: size }, (_, y) =>
    [...mask.subarray(y * size, (y + 1) * size)].map((drawn) => (drawn ? "#" : ".")).join(""),
  );
};

describe("masks", () => {
  it("redraw a rectangle, or everything outside it", () => {
    const rectangle = { x: 1, y: 2, width: 3, height: 1 };
    expect(shown(rectangleMask(4, rectangle))).toEqual(["....", "....", ".###", "...."]);
    expect(shown(allButMask(4, rectangle))).toEqual(["####", "####", "#...", "####"]);
    expect(shown(rectangleMask(4, centre(4, 2)))).toEqual(["....", ".##.", ".##.", "...."]);
  });

  it("redraw the half that is not given", () => {
    expect(shown(halfMask(4, "left"))).toEqual(["..##", "..##", "..##", "..##"]);
    expect(shown(halfMask(4, "right"))).toEqual(["##..", "##..", "##..", "##.."]);
    expect(shown(halfMask(4, "top"))).toEqual(["....", "....", "####", "####"]);
    expect(shown(halfMask(4, "bottom"))).toEqual(["####", "####", "....", "...."]);
  });

  it("cover the four tasks", () => {
    const hole = ["....", ".##.", ".##.", "...."];
    expect(shown(taskMask(4, "inpaint"))).toEqual(hole);
    expect(shown(taskMask(4, "class"))).toEqual(hole);
    expect(shown(taskMask(4, "uncrop"))).toEqual(["####", "#..#", "#..#", "####"]);
    expect(shown(taskMask(4, "outpaint"))).toEqual(shown(halfMask(4, "left")));
    expect(shown(taskMask(4, "outpaint", { given: "top" }))).toEqual(shown(halfMask(4, "top")));
    expect(shown(taskMask(5, "inpaint", { extent: 3 }))).toEqual([".....", ".###.", ".###.", ".###.", "....."]);
  });

  it("grow by whole patches, up to the edge", () => {
    const one = rectangleMask(8, { x: 0, y: 3, width: 1, height: 1 });
    expect(grownMask(one, { size: 8, patch: 2, ring: 0 })).toEqual(one);
    const expected = ["####....", "####....", "####....", "####....", "####....", "####....", "........", "........"];
    expect(shown(grownMask(one, { size: 8, patch: 2, ring: 1 }))).toEqual(expected);
  });

  it.each([
    [{ x: 3, y: 0, width: 2, height: 1 }, /2x1 pixels at 3,0$/],
    [{ x: -1, y: 0, width: 2, height: 1 }, /inside the image's 4x4 pixels, got 2x1 pixels at -1,0$/],
    [{ x: 0, y: 0, width: 0, height: 1 }, /0x1 pixels/],
  ])("reject a rectangle that is not inside the image (%o)", (rectangle, sentence) => {
    expect(() => rectangleMask(4, rectangle)).toThrow(sentence);
  });
});
