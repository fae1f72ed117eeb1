/** The held-out set depends only on names, never on order, and never splits a group. */

import { describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { chooseHeldOut } from "./split.ts";

const names = Array.from({ length: 4000 }, (_, i) => `class/${Math.floor(i / 4)}_${i % 4}.png`);
const heldOut = (names: readonly string[], options: Parameters<typeof chooseHeldOut>[1]) => {
  const held = chooseHeldOut(names, options);
  return new Set(names.filter((_, i) => held[i]));
};

describe("chooseHeldOut", () => {
  it.each([0.05, 0.5, 0.9])("holds out about the fraction %f", (fraction) => {
    const share = heldOut(names, { fraction }).size / names.length;
    expect(Math.abs(share - fraction)).toBeLessThan(4 * Math.sqrt((fraction * (1 - fraction)) / names.length));
  });

  it("moves no image when others are added or removed, or in another order", () => {
    const all = heldOut(names, { fraction: 0.1 });
    const some = names.filter((_, i) => i % 3 !== 0).reverse();
    expect(heldOut(some, { fraction: 0.1 })).toEqual(new Set(some.filter((name) => all.has(name))));
  });

  it("keeps groups together by the first capture group or the whole match; other names stand alone", () => {
    for (const group of [/\/(\d+)_/, /\d+_/]) {
      const held = heldOut(names, { fraction: 0.2, group });
      expect(held.size / names.length).toBeGreaterThan(0.14);
      expect(held.size / names.length).toBeLessThan(0.26);
      for (let i = 0; i < names.length; i += 4)
        expect(new Set(names.slice(i, i + 4).map((name) => held.has(name))).size, names[i]).toBe(1);
    }
    const mixed = ["a_1", "a_2", "b", "c", "d", "e"];
    const held = chooseHeldOut(mixed, { fraction: 0.5, group: /^a/ });
    expect(held[0]).toBe(held[1]);
    expect(new Set(held).size).toBe(2);
  });

  it("holds out one of a few, and never all", () => {
    for (let count = 2; count < 30; count++) {
      const few = names.slice(0, count);
      expect(heldOut(few, { fraction: 1e-9 }).size).toBe(1);
      expect(heldOut(few, { fraction: 1 - 1e-9 }).size).toBe(count - 1);
    }
  });

  it.each<[string, string[], RegExp | undefined, RegExp]>([
    [
      "one image",
      ["a.png"],
      undefined,
      /^nothing can be held out: there is only one image, "a.png"; at least 2 are needed$/,
    ],
    ["one group", ["a1", "a2"], /a/, /^group: it puts all 2 images into one group, "a"/],
    ["no match", ["a1", "a2"], /x(\d)/, /^group: x\(\\d\) matches no image's name; the names look like a1 and a2$/],
  ])("refuses %s", (_, names, group, message) => {
    expect(() => chooseHeldOut(names, { fraction: 0.5, group })).toThrow(UserError);
    expect(() => chooseHeldOut(names, { fraction: 0.5, group })).toThrow(message);
  });
});
