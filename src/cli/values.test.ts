/** Option values and rewording of commander's messages, without starting a process. */

import { Command, CommanderError } from "commander";
import { describe, expect, it, test } from "vitest";
import { usage } from "./mistakes.ts";
import { parseClasses } from "./models.ts";
import { trainingSettings } from "../config/training.ts";
import { collected, filled, number, oneOf, settingParser, whole, wholes } from "./values.ts";

describe("values", () => {
  test.each([
    [number(), "1e-3", 0.001],
    [number(), " -2.5 ", -2.5],
    [number({ least: 0, most: 1 }), "1", 1],
    [number({ above: 0 }), "1e-30", 1e-30],
    [whole(), "-3", -3],
    [whole({ least: 1 }), "1e3", 1000],
    [wholes({ least: 1 }), "64, 16", [64, 16]],
    [filled, "a b", "a b"],
    [oneOf(["linear", "constant"]), "constant", "constant"],
  ])("reads (%#)", (parse: (text: string) => unknown, text, value) => expect(parse(text)).toEqual(value));

  test.each([
    [number(), "", "expected a number, got an empty string"],
    [number(), "ten", 'expected a number, got "ten"'],
    [number(), "Infinity", 'expected a number, got "Infinity"'],
    [number({ least: 0, most: 1 }), "-0.1", 'expected a number from 0 to 1, got "-0.1"'],
    [number({ above: 0 }), "0", 'expected a number above 0, got "0"'],
    [number({ above: 0, most: 9 }), "10", 'expected a number above 0 and of at most 9, got "10"'],
    [whole({ least: 1 }), "0", 'expected a whole number of at least 1, got "0"'],
    [whole({ most: 5 }), "6", 'expected a whole number of at most 5, got "6"'],
    [whole(), "1.5", 'expected a whole number, got "1.5"'],
    [whole(), "9007199254740993", 'expected a whole number, got "9007199254740993"'],
    [whole(), "4\n5", String.raw`expected a whole number, got "4\n5"`],
    [wholes({ least: 1 }), "64,,16", "expected a whole number of at least 1, got an empty string"],
    [filled, " ", "expected a name, got an empty string"],
    [oneOf(["linear", "constant"]), "liner", 'expected linear or constant, got "liner"; did you mean "linear"?'],
    [oneOf(["cpu", "webgpu"]), "", "expected cpu or webgpu, got an empty string"],
  ])("refuses (%#)", (parse: (text: string) => unknown, text, sentence) =>
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: "InvalidArgumentError", message: sentence })),
  );

  it("a repeated option adds to its names", () => {
    expect(collected("face,2", undefined)).toBe("face,2");
    expect(collected("heart", "face,2")).toBe("face,2,heart");
  });
});

describe("commander's messages become one sentence", () => {
  const sentence = (...args: string[]): string => {
    const program = new Command("program").exitOverride().configureOutput({ outputError: () => {} });
    program
      .command("draw")
      .option("-n, --count <n>", "how many", whole({ least: 1 }))
      .option("--out <file>")
      .action(() => {});
    try {
      program.parse(args, { from: "user" });
    } catch (error) {
      return usage((error as CommanderError).message, "program draw --help");
    }
    return "no mistake";
  };
  test.each([
    [["draw", "-n", "0"], '--count: expected a whole number of at least 1, got "0"'],
    [["draw", "--count", "' is invalid. x"], `--count: expected a whole number of at least 1, got "' is invalid. x"`],
    [["draw", "--count=\n"], String.raw`--count: expected a whole number of at least 1, got "\n"`],
    [["draw", "--count"], "--count needs a value, --count <n>; see program draw --help"],
    [["draw", "--cuont", "3"], "unknown option '--cuont'; did you mean --count?"],
    [["draw", "-x"], "unknown option '-x'; see program draw --help"],
    [["draw", "a"], "draw takes no arguments, but got 1; see program draw --help"],
    [["draw", "a", "b"], "draw takes no arguments, but got 2; see program draw --help"],
    [["darw"], "unknown command 'darw'; did you mean draw?"],
    [["draw", "--count", "-3"], '--count: expected a whole number of at least 1, got "-3"'],
    [["draw", "-n", "3", "-n", "4"], "no mistake"],
  ])("%j", (args, expected) => expect(sentence(...args)).toBe(expected));
});

describe("classes", () => {
  const classes = ["face", "tench, Tinca tinca", "7"];
  test.each([
    ["face", [0]],
    [" FACE ,2", [0, 2]],
    ["0,face", [0, 0]],
    ["tench, Tinca tinca", [1]],
    ["7", [2]], // a name takes precedence over a number
  ])("%j", (text, labels) => expect(parseClasses(text, { classes }).flat()).toEqual(labels));

  test.each([
    ["fase", 'class: the model has no class "fase"; did you mean "face"?'],
    ["3", 'class: the model has no class "3"; it has face, tench, Tinca tinca, 7, or numbers from 0 to 2'],
    ["-1", /^class: the model has no class "-1"; it has .* 0 to 2$/],
    ["0.5", /^class: the model has no class "0\.5"; it has/],
    ["", /^class: expected names of classes, .* got an empty string$/],
    ["face,", /^class: expected names of classes, .* got an empty name in "face,"$/],
  ])("%j is refused", (text, sentence) => expect(() => parseClasses(text, { classes })).toThrow(sentence));

  it("a long list is shortened", () => {
    const many = Array.from({ length: 1000 }, (_, i) => `name${i}`);
    expect(() => parseClasses("1000", { classes: many })).toThrow(
      /name29 … \(1000 in all\), or numbers from 0 to 999$/,
    );
  });
});

describe("ways to augment", () => {
  const ways = settingParser("augment", trainingSettings.augment);
  it.each([
    ["shift", ["shift"]],
    ["hue,shift", ["shift", "hue"]],
    ["all", ["shift", "flip", "hue"]],
    ["none", []],
  ])("%j", (text, found) => expect(ways(text)).toEqual(found));
  it.each([
    ["flipp", /expected shift, flip, hue.*got "flipp"; did you mean "flip"\?$/],
    ["", /got an empty string$/],
    ["shift,all", /got "shift,all"/],
  ])("%j is refused", (text, message) => expect(() => ways(text)).toThrow(message));
});
