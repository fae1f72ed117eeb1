/** Labels of all types that files have, and the names of classes. */

import { describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { checkClassNames, classesOf, unlabelled } from "./labels.ts";

const of = (...values: unknown[]) => classesOf([{ values: values as number[], where: "x" }]);

describe("labels", () => {
  it("may be numbers, bigints or booleans, and are left out where they are null or NaN", () => {
    expect(of(7, 3, null, 7)).toEqual({ classes: ["3", "7"], labels: [Int32Array.of(1, 0, unlabelled, 1)] });
    expect(of(2n, 0n).classes).toEqual(["0", "2"]);
    expect(of(true, false, true).labels).toEqual([Int32Array.of(1, 0, 1)]);
    expect(of(1, Number.NaN, undefined).labels).toEqual([Int32Array.of(0, unlabelled, unlabelled)]);
  });

  it.each([
    ["a list of one, as several labels for an image", [1]],
    ["an empty list", []],
    ["a struct", { id: 1 }],
    ["a date", new Date(0)],
    ["a text among numbers", "1"],
    ["a fraction", 0.5],
    ["a negative number", -1],
  ])("are refused: %s", (_, value) => {
    expect(() => of(0, value)).toThrow(UserError);
    expect(() => of(0, value)).toThrow(/^x: the label of image 1 is /);
  });
});

describe("names of classes", () => {
  it("are all different, not empty, and fit on a line", () => {
    expect(() => checkClassNames(["a", "b"], "x")).not.toThrow();
    expect(() => checkClassNames(["a", "b", "a"], "x")).toThrow(/^x: two classes have the name a; give every class/);
    expect(() => checkClassNames(["a", ""], "x")).toThrow(/^x: a class has an empty name; give every class/);
    expect(() => checkClassNames(["b".repeat(200_000)], "x")).toThrow(
      /^x: the class name b+…b+ has 200000 characters, /,
    );
  });
});
