import { expect, test } from "vitest";
import { halfBlocks } from "./halfblocks.ts";

const grey = (width: number, height: number, values: number[]) => ({
  width,
  height,
  data: Uint8Array.from(values.flatMap((value) => [value, value, value])),
});

test("four pixels are two half blocks", () => {
  const data = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7);
  expect(halfBlocks({ data, width: 2, height: 2 }, { columns: 80 })).toEqual([
    "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;9;8;7m▀\x1b[0m",
  ]);
});

test("equal neighbours share their colours, and a last odd row has no background", () => {
  expect(halfBlocks(grey(2, 3, [1, 1, 2, 2, 5, 6]), { columns: 2 })).toEqual([
    "\x1b[38;2;1;1;1;48;2;2;2;2m▀▀\x1b[0m",
    "\x1b[38;2;5;5;5m▀\x1b[38;2;6;6;6m▀\x1b[0m",
  ]);
});

test("a large picture is averaged by area", () => {
  const halves = grey(4, 4, [0, 10, 100, 110, 20, 30, 120, 130, 1, 1, 2, 2, 1, 1, 2, 2]);
  expect(halfBlocks(halves, { columns: 2 })).toEqual([
    "\x1b[38;2;15;15;15;48;2;1;1;1m▀\x1b[38;2;115;115;115;48;2;2;2;2m▀\x1b[0m",
  ]);
  // Three pixels to two: the middle one counts half for each, (0 + 60 / 2) / 1.5 and (60 / 2 + 30) / 1.5.
  expect(halfBlocks(grey(3, 1, [0, 60, 30]), { columns: 2 })).toEqual([
    "\x1b[38;2;20;20;20m▀\x1b[38;2;40;40;40m▀\x1b[0m",
  ]);
  expect(() => halfBlocks(halves, { columns: 0 })).toThrow("at least 1");
});
