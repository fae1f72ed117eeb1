/** Every declared sampling setting reaches every command and every other place that accepts settings. */

import { expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import {
  pickSampling,
  recordedSampling,
  samplingNames,
  samplingSetting,
  type SamplingSettings,
} from "../config/sampling.ts";
import { writeSetting } from "../config/setting.ts";
import { kebabCase, snakeCase } from "../core/names.ts";
import { samplingSettings as declared } from "../config/sampling.ts";
import { settingsOf } from "../sample/settings.ts";
import { openApiDocument } from "../server/openapi.ts";
import { defaultLimits, requestSchemas, samplingIn } from "../server/schemas.ts";
import { defaultSettings, readAddress, writeAddress } from "../web/address.ts";
import { commandLine } from "./program.ts";

const config = parseModelConfig(
  {
    imageSize: 8,
    classes: ["one", "two"],
    levels: [
      { kind: "mar", patch: 4, width: 8, depth: 1, heads: 1 },
      { kind: "mar", patch: 1, width: 8, depth: 1, heads: 1, guidingPixel: true },
      { kind: "pixel", width: 8, depth: 1, heads: 1 },
    ],
  },
  "the test",
);

/** For each setting, a value other than the model's. */
const other = Object.fromEntries(
  samplingNames.map((name) => {
    const { kind } = samplingSetting(name);
    const values = { number: 2.5, spread: [0.25, [0.5, 0.75, 1]], wholes: [3, 2], choice: "constant" };
    return [name, values[kind as keyof typeof values]];
  }),
) as unknown as SamplingSettings;

it("is an option of every command that samples", async () => {
  const program = await commandLine();
  const evaluate = program.commands.find((command) => command.name() === "evaluate")!;
  const named = (from: typeof program, name: string) => from.commands.find((command) => command.name() === name)!;
  const commands = [
    named(program, "sample"),
    named(program, "edit"),
    ...["quality", "memorisation", "editing"].map((name) => named(evaluate, name)),
  ];
  for (const command of commands) {
    const flags = samplingNames.map((name) => `--${kebabCase(name)}`);
    expect(command.options.map(({ long }) => long)).toEqual(expect.arrayContaining(flags));
    for (const name of samplingNames) {
      const option = command.options.find(({ long }) => long === `--${kebabCase(name)}`)!;
      expect(option.parseArg!(writeSetting(declared[name], other[name] as never), undefined)).toEqual(other[name]);
    }
  }
});

it("is a field of requests and in the OpenAPI document", () => {
  const fields = Object.fromEntries(samplingNames.map((name) => [snakeCase(name), other[name]]));
  const { GenerationRequest, EditRequest } = requestSchemas({ images: 4 });
  expect(samplingIn(GenerationRequest.parse({ prompt: "one", ...fields }))).toEqual(other);
  expect(Object.keys(EditRequest.shape)).toEqual(expect.arrayContaining(Object.keys(fields)));
  const { components } = openApiDocument({ version: "1", limits: defaultLimits }) as {
    components: { schemas: Record<string, { properties: Record<string, { description: string }> }> };
  };
  for (const name of samplingNames)
    expect(components.schemas["GenerationRequest"].properties[snakeCase(name)].description).toContain(
      samplingSetting(name).help,
    );
});

it("is carried by the studio's links", () => {
  const settings = { ...defaultSettings(config), ...other };
  expect(readAddress(writeAddress(settings, config), config)).toEqual(settings);
});

it("is completed, selected and recorded as given", () => {
  expect(settingsOf(other, config)).toEqual(other);
  expect(pickSampling({ ...other, batch: 4 })).toEqual(other);
  expect(recordedSampling(other)).toEqual(other);
  expect(Object.keys(recordedSampling(settingsOf({}, config)))).toEqual(
    samplingNames.filter((name) => samplingSetting(name).changes !== "cut"),
  );
});

it("is one number if a list has equal ones, and fits the levels and channels that draw", () => {
  const temperatureOf = (temperature: SamplingSettings["temperature"]) =>
    settingsOf({ temperature }, config).temperature;
  expect(temperatureOf([2, 2])).toBe(2);
  expect(temperatureOf([[2, 2, 2]])).toBe(2);
  expect(temperatureOf([[2, 2, 2], 3])).toEqual([2, 3]);
  expect(() => temperatureOf([1, 2, 3])).toThrow(
    "temperature: expected one number or 2, one for each of the model's levels that draw colours (2, 3), got 3",
  );
  expect(() => temperatureOf([[1, 2]])).toThrow(/one for each of the model's channels, got 2$/);
});
