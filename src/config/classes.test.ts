/** Groups of classes: cycled through, listed in errors, and validated in a model's configuration. */

import { describe, expect, it } from "vitest";
import { allClasses, labelsInTurn, parseClasses } from "./classes.ts";
import { parseModelConfig } from "./model.ts";

const names = { classes: ["fruit", "boat", "drink", "A", "a", "sea bird", "land bird"], groups: { food: ["drink", "fruit"], "Birds": ["sea bird", "land bird"] } }; // prettier-ignore

describe("a group", () => {
  it.each<[string, number[][]]>([
    ["food", [[2, 0]]],
    ["FOOD, boat", [[2, 0], [1]]],
    ["birds,3", [[5, 6], [3]]],
    ["a,A", [[4], [3]]],
  ])("resolves %j", (text, choices) => expect(parseClasses(text, names)).toEqual(choices));

  it("alternates with other names and cycles through its classes", () => {
    expect(labelsInTurn([[2, 0], [1]], 7)).toEqual([2, 1, 0, 1, 2, 1, 0]);
    expect(labelsInTurn(parseClasses("food", names), 3)).toEqual([2, 0, 2]);
  });

  it("is used by default if no class is named", () => {
    expect(allClasses(names)).toEqual([[0, 2], [1], [3], [4], [5, 6]]);
    expect(allClasses({ classes: ["x", "y"] })).toEqual([[0], [1]]);
  });
});

describe("an unknown name", () => {
  const many = {
    classes: [...names.classes, ...Array.from({ length: 90 }, (_, i) => `thing ${i}`)],
    groups: { ...names.groups, things: Array.from({ length: 90 }, (_, i) => `thing ${i}`) },
  };
  it.each([
    ["bird", 'class: the model has no class "bird"; did you mean "Birds" or "sea bird" or "land bird"?'],
    ["foods", 'class: the model has no class "foods"; did you mean "food"?'],
    [
      "zeppelin",
      'class: the model has no class "zeppelin"; it has food, Birds, things, boat, A, a (groups and classes; 97 classes in all), or numbers from 0 to 96',
    ],
  ])("%j gets a short error", (text, sentence) => {
    let message = "";
    try {
      parseClasses(text, many);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.length).toBeLessThan(200);
    expect(message).toBe(sentence);
  });
});

describe("groups of a model", () => {
  const config = (groups: unknown) => ({
    imageSize: 8,
    classes: ["fruit", "drink", "boat"],
    groups,
    levels: [
      { kind: "ar", patch: 1, width: 8, depth: 1, heads: 2 },
      { kind: "pixel", width: 8, depth: 1, heads: 1 },
    ],
  });
  it("are kept", () => {
    expect(parseModelConfig(config({ food: ["fruit", "drink"] }), "c").groups).toEqual({ food: ["fruit", "drink"] });
    expect(parseModelConfig(config(undefined), "c").groups).toBe(undefined);
  });
  it.each<[unknown, RegExp]>([
    [
      { food: ["fruit", "drinks"] },
      /^c: groups: the group "food" contains the unknown class "drinks"; did you mean "drink"\?$/,
    ],
    [{ food: ["fruit", "fruit"] }, /lists the class "fruit" twice$/],
    [{ Boat: ["fruit"] }, /^c: groups: the group "Boat" has the name of a class; rename one of them$/],
    [{ food: [] }, /^c: groups\.food: /],
    [["fruit"], /^c: groups: /],
    [{ food: "fruit" }, /^c: groups\.food: /],
  ])("%j are rejected", (groups, message) => expect(() => parseModelConfig(config(groups), "c")).toThrow(message));
});
