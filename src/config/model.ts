/** The architecture of a model, parsed strictly from the `config.json` of its folder. Knows no weights. */

import { z } from "zod";
import { didYouMean, UserError } from "../core/errors.ts";
import { groupMistake } from "./classes.ts";
import type { PatchLevel, Placed } from "../levels/kind.ts";
import { type PixelLevel, pixelSchema } from "../levels/pixel.ts";
import { whole } from "../levels/schema.ts";
import { kindOf, levelKinds } from "../levels/table.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { samplingSchema } from "./sampling.ts";

const levels = () =>
  z
    .array(
      z.discriminatedUnion("kind", [pixelSchema, ...levelKinds().map(({ schema }) => schema)]) as unknown as z.ZodType<
        PatchLevel | PixelLevel
      >,
    )
    .min(2)
    .max(mostLevels);

/** Patches get smaller at every level, so there cannot be many. */
const mostLevels = 14;

/** The schema of a model configuration. Built on each call, because it includes the level kinds registered by then. */
export const modelSchema = () =>
  z.strictObject({
    name: z.string().optional(),
    imageSize: whole(1, 4096),
    channels: whole(1, 4).default(3),
    classes: z.array(z.string().min(1).max(limits.className)).min(1).max(limits.classes),
    /** Names for groups of classes, which sampling also accepts. */
    groups: z
      .record(z.string().min(1).max(limits.className), z.array(z.string()).min(1).max(limits.classes))
      .optional(),
    levels: levels(),
    /** Weight of the first channel (red) in the training loss; the others have weight 1. */
    redWeight: z.number().positive().default(5),
    /** How the large weights are stored; float32 by default. */
    dtype: z.enum(["float32", "q8", "q4"]).optional(),
    sampling: samplingSchema.prefault({}),
  });

/**
 * The architecture of a model, its classes and its sampling defaults: the content of `config.json`, as returned by
 * `parseModelConfig`.
 */
export type ModelConfig = z.infer<ReturnType<typeof modelSchema>>;
export type { PatchLevel } from "../levels/kind.ts";
export { prefixTokens } from "../levels/kind.ts";
export { guidingPixelRedWeight, type PixelLevel } from "../levels/pixel.ts";

/** A level above the pixels together with the values that follow from its place in the model. */
export type PlacedLevel = Placed;

/** Validates a value read from JSON; `source` names it in errors. Throws a UserError. */
export function parseModelConfig(value: unknown, source: string): ModelConfig {
  checkLengths(value, source);
  const parsed = modelSchema().safeParse(value);
  if (!parsed.success) throw new UserError({ subject: source, problem: explain(parsed.error.issues[0]) });
  checkSizes(parsed.data, source);
  return parsed.data;
}

const isPixel = (level: PatchLevel | PixelLevel): level is PixelLevel => level.kind === "pixel";
const isAbovePixels = (level: PatchLevel | PixelLevel): level is PatchLevel => !isPixel(level);

/** Checked first, so that a list of a million entries does not produce a million errors. */
function checkLengths(value: unknown, source: string): void {
  const { classes, levels } = (value ?? {}) as { classes?: unknown; levels?: unknown };
  const tooMany = (key: string, { length }: ArrayLike<unknown>, most: number) =>
    new UserError({ subject: `${source}: ${key}`, expected: `at most ${most}`, got: String(length) });
  if (Array.isArray(classes) && classes.length > limits.classes) throw tooMany("classes", classes, limits.classes);
  if (Array.isArray(levels) && levels.length > mostLevels) throw tooMany("levels", levels, mostLevels);
}

/** A block of attention and an MLP of four times the width has about 12 width^2 parameters. */
const roughParameters = (levels: ModelConfig["levels"]): number =>
  levels.reduce((sum, { width, depth }) => sum + 12 * depth * width ** 2, 0);

function checkSizes({ imageSize, levels, sampling, classes, groups }: ModelConfig, source: string): void {
  const fail = (problem: string, hint?: string): never => {
    throw new UserError({ subject: source, problem, hint });
  };
  let size = imageSize;
  let above = { kind: "", handsDown: Infinity };
  levels.forEach((level, i) => {
    const where = `levels[${i}]`;
    const last = i === levels.length - 1;
    const { width, heads = 1 } = level;
    if (width % heads !== 0) fail(`${where}: width ${width} is not a multiple of its ${heads} heads`);
    if (isPixel(level)) {
      if (!last) fail(`${where} is "pixel", but only the last level can be`);
      return;
    }
    if (last) fail(`the last level is "${level.kind}", expected "pixel"`);
    if (size % level.patch !== 0 || level.patch >= size)
      fail(`${where}: patch ${level.patch} does not divide the ${size} pixels that this level generates`);
    if (i === levels.length - 2 && level.patch !== 1)
      fail(`${where}: patch is ${level.patch}, expected 1 at the last level above the pixels`);
    const { fault, handsDown } = kindOf(level);
    const found = fault(level);
    if (found !== undefined) fail(`${where}: ${found}`);
    const { conditions = 1, guidingPixel = false } = level;
    if (conditions > above.handsDown)
      fail(
        `${where} takes ${conditions} conditions, but the "${above.kind}" level above hands down ${above.handsDown}`,
        `set "conditions": ${above.handsDown}`,
      );
    if (guidingPixel && i === 0)
      fail(`${where}: the first level cannot have a guiding pixel; only the levels below it can`);
    above = { kind: level.kind, handsDown };
    size = level.patch;
  });
  if (sampling.iterations && sampling.iterations.length !== levels.length - 1)
    fail(
      `sampling.iterations has ${sampling.iterations.length} numbers, expected ${levels.length - 1} (one per level above the pixels)`,
    );
  const seen = new Set<string>();
  const twice = classes.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) fail(`the class "${shown(twice)}" is listed twice`);
  const mistake = groupMistake({ classes, groups });
  if (mistake !== undefined) fail(`groups: ${mistake}`);
  const parameters = roughParameters(levels);
  if (parameters > limits.parameters)
    fail(
      `the levels have about ${(parameters / 1e9).toFixed(0)} billion parameters, but at most ${limits.parameters / 1e9} billion are supported`,
      "choose smaller widths or depths",
    );
}

/** The levels above the pixels, each with the values that follow from its place. */
export function placedLevels({ imageSize, channels, levels }: ModelConfig): PlacedLevel[] {
  let size = imageSize;
  return levels.filter(isAbovePixels).map((level, i) => {
    const below = levels[i + 1];
    const grid = size / level.patch;
    const placed = {
      conditions: 1,
      guidingPixel: false,
      ...level,
      channels,
      size,
      grid,
      tokens: grid * grid,
      conditionWidth: levels[Math.max(0, i - 1)].width,
      handsDown: kindOf(level).handsDown,
      conditionsRead: isPixel(below) ? 1 : (below.conditions ?? 1),
    };
    size = level.patch;
    return placed;
  });
}

/** The levels that draw bytes: those with a guiding pixel, and the pixels. */
export const drawingLevels = (config: ModelConfig): number[] => [
  ...placedLevels(config).flatMap(({ guidingPixel }, l) => (guidingPixel ? [l] : [])),
  config.levels.length - 1,
];

export const pixelLevel = ({ levels }: ModelConfig): PixelLevel => levels.at(-1) as PixelLevel;

/** One sentence about a validation issue, with the nearest known key for an unknown one. */
export function explain(issue: z.core.$ZodIssue, known: readonly string[] = knownKeys()): string {
  const where = issue.path
    .slice(0, 8)
    .reduce<string>(
      (text, key) =>
        typeof key === "number" ? `${text}[${key}]` : text ? `${text}.${shown(key, 40)}` : shown(key, 40),
      "",
    );
  const problem = problemOf(issue, known);
  if (issue.code === "unrecognized_keys") return where ? `${where} has ${problem}` : problem;
  return `${where || "the value"}: ${problem}`;
}

/** The same without the location. */
export const problemOf = (issue: z.core.$ZodIssue, known: readonly string[]): string =>
  issue.code === "unrecognized_keys"
    ? `an unknown key "${shown(issue.keys[0])}"${didYouMean(issue.keys[0], known)}`
    : issue.message.replace(/^Invalid input: /, "");

const knownKeys = (): string[] =>
  [modelSchema(), ...levelKinds().map((kind) => kind.schema), pixelSchema, samplingSchema].flatMap(({ shape }) =>
    Object.keys(shape),
  );
