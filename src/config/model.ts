/** The architecture of a model, parsed strictly: what a folder's `config.json` says. Knows no weights. */

import { z } from "zod";
import { didYouMean, UserError } from "../core/errors.ts";
import { groupMistake } from "./classes.ts";
import { samplingSchema } from "./sampling.ts";

const whole = (low: number, high: number) => z.int().min(low).max(high);

const transformer = {
  width: whole(1, 65536),
  depth: whole(1, 1024),
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
  classes: z.array(z.string().min(1)).min(1),
  /** Broader names, each for several of the classes, that sampling takes as well. */
  groups: z.record(z.string().min(1), z.array(z.string()).min(1)).optional(),
  levels: z.array(z.discriminatedUnion("kind", [ar, mar, pixel])).min(2),
  /** Weight of the first channel (red) in the training loss; the others have weight 1. */
  redWeight: z.number().positive().default(5),
  /** How the large weights are stored: float32 unless it says otherwise. */
  dtype: z.enum(["float32", "q8", "q4"]).optional(),
  sampling: samplingSchema.prefault({}),
});

/** The architecture of a model, its classes and its sampling defaults: what `config.json` holds and `parseModelConfig` returns. */
export type ModelConfig = z.infer<typeof schema>;
/** An autoregressive level: patches in raster order, each from those before it. */
export type ArLevel = z.infer<typeof ar>;
/** A masked autoregressive level: patches in random order, several at each step. */
export type MarLevel = z.infer<typeof mar>;
/** A level above the pixels. */
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
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0])}`);
  checkSizes(parsed.data, source);
  return parsed.data;
}

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
  const twice = classes.find((name, i) => classes.indexOf(name) !== i);
  if (twice !== undefined) fail(`the class "${twice}" is named twice`);
  const mistake = groupMistake({ classes, groups });
  if (mistake !== undefined) fail(`groups: ${mistake}`);
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
  const where = issue.path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    "",
  );
  if (issue.code === "unrecognized_keys")
    return `${where ? `${where} has ` : ""}an unknown key "${issue.keys[0]}"${didYouMean(issue.keys[0], known)}`;
  return `${where || "the value"}: ${issue.message.replace(/^Invalid input: /, "")}`;
}

const knownKeys = [schema, ar, mar, pixel, samplingSchema].flatMap(({ shape }) => Object.keys(shape));
