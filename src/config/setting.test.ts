/** Every declared setting: values survive text and schema unchanged, and values out of bounds are rejected. */

import { describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { samplingNames, samplingSetting, samplingSettings } from "./sampling.ts";
import {
  boundsInWords,
  expectation,
  type SettingKind,
  readSetting,
  schemaOf,
  within,
  writeSetting,
} from "./setting.ts";
import { parseTrainingConfig, trainingNames, trainingSetting } from "./training.ts";

const all: (readonly [string, SettingKind])[] = [
  ...samplingNames.map((name) => [name, samplingSetting(name)] as const),
  ...trainingNames.map((name) => [name, trainingSetting(name)] as const),
];

/** Examples of values that a kind allows. */
function allowed(kind: SettingKind): unknown[] {
  switch (kind.kind) {
    case "choice":
      return [...kind.choices];
    case "several":
      return [[], [kind.choices[0]], [...kind.choices]];
    case "flag":
      return [true, false];
    case "factors":
      return [Object.fromEntries(kind.names.map((name, i) => [name, 0.5 * i]))];
    default: {
      const { least, above, most } = kind;
      const low = least ?? above! + 0.5;
      const high = most ?? low + 12;
      const whole = kind.kind === "whole" || kind.kind === "wholes";
      const middle = whole ? Math.floor((low + high) / 2) : (low + high) / 2;
      if (kind.kind === "wholes" || kind.kind === "numbers") return [[low], [high, middle]];
      if (kind.kind === "pair") return [[low, high]];
      if (kind.kind === "spread") return [low, [high, middle], [low, [low, middle, high]]];
      return [low, middle, high];
    }
  }
}

describe.each(all)("%s", (name, kind) => {
  it("reads back what it writes, and its schema accepts it", () => {
    for (const value of allowed(kind)) {
      expect(readSetting(name, kind, writeSetting(kind, value as never))).toEqual(value);
      expect(schemaOf(kind).parse(value)).toEqual(value);
    }
  });

  it("rejects invalid text with one sentence that names the setting", () => {
    const bad = ["", "nonsense", "NaN", "1e999", "0,", ",", "1;2", "-1e300"];
    for (const text of bad) {
      let error: unknown;
      try {
        readSetting(name, kind, text);
      } catch (thrown) {
        error = thrown;
      }
      expect(error, `${name} took ${JSON.stringify(text)}`).toBeInstanceOf(UserError);
      expect((error as UserError).setting).toBe(name);
      expect((error as UserError).message).toContain(`${name}: expected ${expectation(kind)}, got `);
    }
  });

  it("is rejected if out of bounds, as text and as a value", () => {
    const { least, above, most } = kind as { least?: number; above?: number; most?: number };
    const outside = [
      ...(least === undefined ? [] : [least - 1]),
      ...(above === undefined ? [] : [above]),
      ...(most === undefined || most === Number.MAX_SAFE_INTEGER ? [] : [most + 1]),
    ];
    for (const value of outside) {
      const listed = { wholes: [value], numbers: [value], pair: [value, value], factors: { blocks: value } };
      const full = listed[kind.kind as keyof typeof listed] ?? value;
      expect(() => readSetting(name, kind, writeSetting(kind, full as never))).toThrow(UserError);
      expect(schemaOf(kind).safeParse(full).success, `${name} took ${JSON.stringify(full)}`).toBe(false);
    }
  });
});

it("has a valid default", () => {
  const config = parseTrainingConfig({}, "the test");
  for (const name of trainingNames)
    if (config[name] !== undefined) expect(schemaOf(trainingSetting(name)).safeParse(config[name]).success).toBe(true);
  expect(config).toMatchObject({ betas: [0.9, 0.95], rates: { blocks: 1, codebooks: 1, embeddings: 1 } });
});

it("describes bounds in words", () => {
  expect(boundsInWords({ least: 0, most: 1 })).toBe(" from 0 to 1");
  expect(boundsInWords({ above: 0, most: 1000 })).toBe(" above 0 and of at most 1000");
  expect(boundsInWords({})).toBe("");
  expect([within(0, { above: 0 }), within(1, { most: 1 }), within(Number.NaN, {})]).toEqual([false, true, false]);
});

it("suggests the nearest choice", () => {
  expect(() => readSetting("schedule", samplingSettings.schedule, "constnt")).toThrow(
    'schedule: expected linear or constant, got "constnt"; did you mean "constant"?',
  );
});
