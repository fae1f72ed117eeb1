/** The architecture of a model, parsed strictly: what a folder's `config.json` says. Knows no weights. */

import { z } from "zod";
import { didYouMean, UserError } from "../core/errors.ts";
import { groupMistake } from "./classes.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { samplingSchema } from "./sampling.ts";

const whole = (low: number, high: number) => z.int().min(low).max(high);

const transformer = {
  width: whole(1, 65536),
  depth: whole(1, 256),
  heads: whole(1, 1024),
};

/** Queries and keys of each head are normalised (RMS) before attention, without weights of their own. */
const qkNorm = z.boolean().optional();

const ar = z.strictObject({
  kind: z.literal("ar"),
  /** Side of a patch in pixels. */
  patch: whole(1, 4096),
  ...transformer,
  qkNorm,
});

const mar = z.strictObject({
  kind: z.literal("mar"),
  patch: whole(1, 4096),
  ...transformer,
  /** How many of the parent's conditions are taken: 5 (middle, top, right, bottom, left) or 1. */
  conditions: whole(1, 5).default(5),
  /** Predict the mean colour first and take it as one more condition. */
  guidingPixel: z.boolean().default(false),
  qkNorm,
});

const pixel = z.strictObject({ kind: z.literal("pixel"), ...transformer });

const schema = z.strictObject({
  name: z.string().optional(),
  imageSize: whole(1, 4096),
  channels: whole(1, 4).default(3),
  classes: z.array(z.string().min(1).max(limits.className)).min(1).max(limits.classes),
  /** Broader names, each for several of the classes, that sampling takes as well. */
  groups: z.record(z.string().min(1).max(limits.className), z.array(z.string()).min(1).max(limits.classes)).optional(),
  /** Patches are smaller at every level, so there cannot be many. */
  levels: z
    .array(z.discriminatedUnion("kind", [ar, mar, pixel]))
    .min(2)
    .max(14),
  /** Weight of the first channel (red) in the training loss; the others have weight 1. */
  redWeight: z.number().positive().default(5),
  /** How the large weights are stored: float32 unless it says otherwise. */
  dtype: z.enum(["float32", "q8", "q4"]).optional(),
  sampling: samplingSchema.prefault({}),
});

export type ModelConfig = z.infer<typeof schema>;
export type ArLevel = z.infer<typeof ar>;
export type MarLevel = z.infer<typeof mar>;
export type PatchLevel = ArLevel | MarLevel;
export type PixelLevel = z.infer<typeof pixel>;

/** A level above the pixels with what follows from its place. */
export type PlacedLevel = PatchLevel & {
  /** Side in pixels of the square that this level generates. */
  size: number;
  /** Patches per side, and in all. */
  grid: number;
  tokens: number;
  /** Width of the conditions that come from above. */
  conditionWidth: number;
  /** How many conditions this level hands down: 5 from MAR, 1 from AR. */
  handsDown: number;
};

/** The guiding pixel's own small network, as published. */
export const guidingPixelLevel: PixelLevel = { kind: "pixel", width: 128, depth: 3, heads: 4 };
export const guidingPixelRedWeight = 5;

/** Checks a value read from JSON; `source` names it in errors. */
export function parseModelConfig(value: unknown, source: string): ModelConfig {
  checkLengths(value, source);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0])}`);
  checkSizes(parsed.data, source);
  return parsed.data;
}

/** Before each of a million entries gets an error of its own. */
function checkLengths(value: unknown, source: string): void {
  const { classes, levels } = (value ?? {}) as { classes?: unknown; levels?: unknown };
  if (Array.isArray(classes) && classes.length > limits.classes)
    throw new UserError(`${source}: classes: expected at most ${limits.classes}, got ${classes.length}`);
  if (Array.isArray(levels) && levels.length > 14)
    throw new UserError(`${source}: levels: expected at most 14, got ${levels.length}`);
}

/** A block of attention and a network of four times its width has about 12 width^2. */
const roughParameters = (levels: ModelConfig["levels"]): number =>
  levels.reduce((sum, { width, depth }) => sum + 12 * depth * width ** 2, 0);

function checkSizes({ imageSize, levels, sampling, classes, groups }: ModelConfig, source: string): void {
  const fail = (what: string): never => {
    throw new UserError(`${source}: ${what}`);
  };
  let size = imageSize;
  let handed = 5;
  levels.forEach((level, i) => {
    const where = `levels[${i}]`;
    const last = i === levels.length - 1;
    if (level.width % level.heads !== 0)
      fail(`${where}: width ${level.width} is not a multiple of its ${level.heads} heads`);
    if (level.kind === "pixel") {
      if (!last) fail(`${where} is "pixel", which only the last level can be`);
      return;
    }
    if (last) fail(`the last level is "${level.kind}", expected "pixel"`);
    if (size % level.patch !== 0 || level.patch >= size)
      fail(`${where}: patch ${level.patch} does not divide the ${size} pixels that this level generates`);
    if (i === levels.length - 2 && level.patch !== 1)
      fail(`${where}: patch ${level.patch} stands before the pixels, where it has to be 1`);
    if (level.kind === "ar" && (level.width / level.heads) % 4 !== 0)
      fail(
        `${where}: width / heads is ${level.width / level.heads}, expected a multiple of 4 (two-dimensional rotary positions)`,
      );
    if (level.kind === "mar" && level.conditions > handed)
      fail(`${where} takes ${level.conditions} conditions, but the "ar" level above hands down 1; set "conditions": 1`);
    if (level.kind === "mar" && level.guidingPixel && i === 0)
      fail(`${where}: the first level has no guiding pixel, only those below it`);
    handed = level.kind === "mar" ? 5 : 1;
    size = level.patch;
  });
  if (sampling.iterations && sampling.iterations.length !== levels.length - 1)
    fail(
      `sampling.iterations has ${sampling.iterations.length} numbers, expected ${levels.length - 1} (one per level above the pixels)`,
    );
  const seen = new Set<string>();
  const twice = classes.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) fail(`the class "${shown(twice)}" is named twice`);
  const mistake = groupMistake({ classes, groups });
  if (mistake !== undefined) fail(`groups: ${mistake}`);
  const parameters = roughParameters(levels);
  if (parameters > limits.parameters)
    fail(
      `the levels have about ${(parameters / 1e9).toFixed(0)} billion parameters, at most ${limits.parameters / 1e9} billion are computed with; choose smaller widths or depths`,
    );
}

/** The levels above the pixels, each with its sizes. */
export function placedLevels({ imageSize, levels }: ModelConfig): PlacedLevel[] {
  let size = imageSize;
  return levels.slice(0, -1).map((level, i) => {
    const { patch, kind } = level as PatchLevel;
    const grid = size / patch;
    const placed = {
      ...(level as PatchLevel),
      size,
      grid,
      tokens: grid * grid,
      conditionWidth: levels[Math.max(0, i - 1)].width,
      handsDown: kind === "mar" ? 5 : 1,
    };
    size = patch;
    return placed;
  });
}

/** The levels that draw bytes: those with a guiding pixel, and the pixels. */
export const drawingLevels = (config: ModelConfig): number[] => [
  ...placedLevels(config).flatMap((level, l) => (level.kind === "mar" && level.guidingPixel ? [l] : [])),
  config.levels.length - 1,
];

export const pixelLevel = ({ levels }: ModelConfig): PixelLevel => levels.at(-1) as PixelLevel;

/** How many tokens stand before the patches: conditions, and the guiding pixel where there is one. */
export const prefixTokens = (level: PatchLevel): number =>
  level.kind === "ar" ? 1 : level.conditions + Number(level.guidingPixel);

/** The conditions that the level after `index` reads from it. */
export function conditionsRead(config: ModelConfig, index: number): number {
  const below = config.levels[index + 1];
  return below.kind === "mar" ? below.conditions : 1;
}

/** One sentence for the first thing that is wrong, with the nearest key for an unknown one. */
export function explain(issue: z.core.$ZodIssue, known: readonly string[] = knownKeys): string {
  const where = issue.path
    .slice(0, 8)
    .reduce<string>(
      (text, key) =>
        typeof key === "number" ? `${text}[${key}]` : text ? `${text}.${shown(key, 40)}` : shown(key, 40),
      "",
    );
  if (issue.code === "unrecognized_keys")
    return `${where ? `${where} has ` : ""}an unknown key "${shown(issue.keys[0])}"${didYouMean(issue.keys[0], known)}`;
  return `${where || "the value"}: ${issue.message.replace(/^Invalid input: /, "")}`;
}

const knownKeys = [schema, ar, mar, pixel, samplingSchema].flatMap(({ shape }) => Object.keys(shape));
