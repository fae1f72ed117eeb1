/**
 * The settings of sampling, each said once. Model files, the command line, HTTP, the studio, metadata, the names of kept
 * images and the graphs all follow from this table: to add a setting, add a row here and, where the table of
 * `model/draw.ts` then does not compile, what it does to a distribution.
 */

import { z } from "zod";
import { type Kind, schemaOf, type Spread, type ValueOf } from "./setting.ts";

/**
 * What a setting changes: how strong guidance is at a step (`guidance`), how many patches a step draws (`order`), the
 * logits of a byte (`logits`, always in the graph), or which bytes can be drawn at all (`cut`, in the graph unless off).
 */
export type Changes = "guidance" | "order" | "logits" | "cut";

export type SamplingSetting = Kind & {
  changes: Changes;
  /** As the studio names it. */
  label: string;
  /** What it does, as the end of a sentence. */
  help: string;
  /** More to know, as whole sentences. */
  note?: string;
  /** The letter for its value on the command line. */
  symbol: string;
  /** Where a model says nothing. Without one the model decides: one step for each patch. */
  usual?: unknown;
  /** Without guidance it has no effect, and is not in the graph. */
  guidedOnly?: boolean;
  /** The range of the studio's slider, which grows with what the model itself says. */
  slider?: readonly [low: number, high: number];
};

/** What a `cut` does nothing at is its `usual` value. */
export const samplingSettings = {
  guidance: {
    kind: "number",
    least: 0,
    most: 1000,
    usual: 1,
    changes: "guidance",
    label: "Guidance",
    help: "how strongly the class counts; 1: as trained",
    symbol: "w",
    slider: [0, 10],
  },
  schedule: {
    kind: "choice",
    choices: ["linear", "constant"],
    usual: "linear",
    changes: "guidance",
    label: "Schedule",
    help: "guidance over the first level's steps",
    symbol: "name",
  },
  temperature: {
    kind: "spread",
    above: 0,
    most: 1000,
    usual: 1,
    changes: "logits",
    label: "Temperature",
    help: "logits are multiplied by it: above 1 sharpens",
    symbol: "t",
    slider: [0.25, 4],
  },
  filterThreshold: {
    kind: "spread",
    least: 0,
    most: 1,
    usual: 0,
    changes: "logits",
    guidedOnly: true,
    label: "Filter threshold",
    help: "guidance leaves less likely bytes alone",
    symbol: "p",
  },
  minP: {
    kind: "spread",
    least: 0,
    most: 1,
    usual: 0,
    changes: "cut",
    label: "Min-p",
    help: "bytes less likely than this share of the likeliest one are never drawn; 0: off",
    note: "On a white background an object begins with a rare byte, so even small values leave emoji blank, and so does a temperature above 1. A bound for each channel (such as 0/0.05/0.05) or each level that draws (0,0,0.05) may serve better.",
    symbol: "p",
  },
  topP: {
    kind: "spread",
    above: 0,
    most: 1,
    usual: 1,
    changes: "cut",
    label: "Top-p",
    help: "only the likeliest bytes that reach this probability together are drawn; 1: off",
    note: "On a white background it leaves emoji blank, as min-p does.",
    symbol: "p",
  },
  iterations: {
    kind: "wholes",
    least: 1,
    most: 65536,
    changes: "order",
    label: "Steps at each level",
    help: "steps at each level above the pixels, such as 64,16; fewer is faster",
    symbol: "list",
  },
} as const satisfies Record<string, SamplingSetting>;

type Table = typeof samplingSettings;
/** The sampling settings by name. */
export type SamplingName = keyof Table;
/** All that generated images depend on beside the model, class, seed and index. */
export type SamplingSettings = { [N in SamplingName]: ValueOf<Table[N]> };
/** Some of the settings; those of the model stand in for the others. */
export type SamplingFlags = Partial<SamplingSettings>;
/** How guidance grows over the steps of the first level: `linear`, or not at all (`constant`). */
export type Schedule = SamplingSettings["schedule"];

type NamesThat<C extends Changes> = { [N in SamplingName]: Table[N]["changes"] extends C ? N : never }[SamplingName];
/** Settings of the distribution that a byte is drawn from. */
export type DrawName = NamesThat<"logits" | "cut">;
export type CutName = NamesThat<"cut">;

export const samplingNames = Object.keys(samplingSettings) as SamplingName[];
/** The row of a setting with all that rows can have. */
export const samplingSetting = (name: SamplingName): SamplingSetting => samplingSettings[name];
export const drawNames = samplingNames.filter((name): name is DrawName =>
  ["logits", "cut"].includes(samplingSettings[name].changes),
);

const isOff = (name: SamplingName, value: unknown): boolean =>
  samplingSetting(name).changes === "cut" && value === samplingSetting(name).usual;

/** The settings among other things. */
export const pickSampling = <T extends SamplingFlags>(from: T): Pick<T, SamplingName & keyof T> =>
  Object.fromEntries(samplingNames.flatMap((name) => (name in from ? [[name, from[name]]] : []))) as Pick<
    T,
    SamplingName & keyof T
  >;

/** As they are written down: without those that are off, so that a setting can be added without changing what is kept. */
export const recordedSampling = (from: SamplingSettings): SamplingFlags =>
  Object.fromEntries(Object.entries(pickSampling(from)).filter(([name, value]) => !isOff(name as SamplingName, value)));

type Defaulted = {
  [N in SamplingName]: Table[N] extends { usual: unknown; changes: "guidance" | "logits" } ? N : never;
}[SamplingName];
/** What a model is drawn with where nobody says otherwise; what is left out is off, or one step for each patch. */
export type SamplingDefaults = Pick<SamplingSettings, Defaulted> & Partial<SamplingSettings>;

export const samplingSchema = z.strictObject(
  Object.fromEntries(
    samplingNames.map((name) => {
      const { usual, changes } = samplingSetting(name);
      const schema = schemaOf(samplingSetting(name));
      return [name, usual === undefined || changes === "cut" ? schema.optional() : schema.default(usual as never)];
    }),
  ) as unknown as { [N in Defaulted]: z.ZodDefault<z.ZodType<SamplingSettings[N]>> } & {
    [N in Exclude<SamplingName, Defaulted>]: z.ZodOptional<z.ZodType<SamplingSettings[N]>>;
  },
);

/** The values for one of the networks that draw bytes: a number, or one for each channel; without those that are off. */
export type DrawValues = { [N in DrawName]?: number | readonly number[] };
/** What of them a graph takes as inputs: a number for all channels, or one for each. */
export type DrawForm = { [N in DrawName]?: "one" | "channels" };

/** `place`: which of the networks that draw, from the coarsest to the pixels. */
export function drawValues(settings: SamplingFlags, place: number, { guided }: { guided: boolean }): DrawValues {
  const found: DrawValues = {};
  for (const name of drawNames) {
    const { guidedOnly = false, usual } = samplingSetting(name);
    const spread: Spread = settings[name] ?? (usual as Spread);
    const value = typeof spread === "number" ? spread : spread[spread.length === 1 ? 0 : place];
    if (!isOff(name, value) && (guided || !guidedOnly)) found[name] = value;
  }
  return found;
}

export const formOf = (values: DrawValues): DrawForm =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === "number" ? "one" : "channels"]),
  );

/** The inputs that every graph has. */
export const usualForm = (options: { guided: boolean }): DrawForm => formOf(drawValues({}, 0, options));
