/**
 * The sampling settings, each declared once. Model files, the command line, HTTP, the studio, metadata, the names of
 * cached images and the graphs all follow from this table. To add a setting, add a row here and, if the table in
 * `model/draw.ts` then does not compile, its effect on a distribution there.
 */

import { z } from "zod";
import { type SettingKind, schemaOf, type Spread, type SettingValue } from "./setting.ts";

/**
 * What a setting affects: the guidance strength of a step (`guidance`), the number of patches a step draws (`order`),
 * the logits of a byte (`logits`, always in the graph), or which bytes can be drawn at all (`cut`, in the graph unless
 * off).
 */
export type Changes = "guidance" | "order" | "logits" | "cut";

export type SamplingSetting = SettingKind & {
  changes: Changes;
  /** Its name in the studio. */
  label: string;
  /** What it does, as a phrase without a full stop. */
  help: string;
  /** Further information, in full sentences. */
  note?: string;
  /** What its numbers count; shares, factors and strengths have no unit. */
  unit?: string;
  /** The placeholder for its value on the command line. */
  symbol: string;
  /** The default if the model sets none. If absent, it follows from the model: one step per patch. */
  usual?: unknown;
  /** Without guidance it has no effect and is not in the graph. */
  guidedOnly?: boolean;
  /** The range of the studio's slider, which is extended to include the model's own value. */
  slider?: readonly [low: number, high: number];
};

/** The sampling settings. The `usual` value of a `cut` setting turns it off. */
export const samplingSettings = {
  guidance: {
    kind: "number",
    least: 0,
    most: 1000,
    usual: 1,
    changes: "guidance",
    label: "Guidance",
    help: "strength of classifier-free guidance; 1 turns it off",
    symbol: "w",
    slider: [0, 10],
  },
  schedule: {
    kind: "choice",
    choices: ["linear", "constant"],
    usual: "linear",
    changes: "guidance",
    label: "Schedule",
    help: "whether guidance grows linearly over the steps of the first level or stays constant",
    symbol: "name",
  },
  temperature: {
    kind: "spread",
    above: 0,
    most: 1000,
    usual: 1,
    changes: "logits",
    label: "Temperature",
    help: "factor that logits are multiplied by; values above 1 sharpen the distribution",
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
    help: "probability below which guidance does not boost a byte",
    symbol: "p",
  },
  minP: {
    kind: "spread",
    least: 0,
    most: 1,
    usual: 0,
    changes: "cut",
    label: "Min-p",
    help: "never draw bytes less likely than this share of the likeliest byte; 0 turns it off",
    note: "On a white background, every object starts with an unlikely byte, so even small values (or a temperature above 1) can leave emoji blank. Separate values for each channel (such as 0/0.05/0.05) or each level that draws bytes (such as 0,0,0.05) may work better.",
    symbol: "p",
  },
  topP: {
    kind: "spread",
    above: 0,
    most: 1,
    usual: 1,
    changes: "cut",
    label: "Top-p",
    help: "draw only from the likeliest bytes whose total probability reaches this value; 1 turns it off",
    note: "On a white background it can leave emoji blank, like min-p.",
    symbol: "p",
  },
  iterations: {
    kind: "wholes",
    least: 1,
    most: 65536,
    changes: "order",
    label: "Steps at each level",
    help: "number of steps at each level above the pixels, such as 64,16; fewer are faster",
    unit: "steps",
    symbol: "list",
  },
} as const satisfies Record<string, SamplingSetting>;

/** The table of sampling settings. */
export type SamplingTable = typeof samplingSettings;
/** The sampling settings by name. */
export type SamplingName = keyof SamplingTable;
/** Everything that generated images depend on besides the model, class, seed and index. */
export type SamplingSettings = { [N in SamplingName]: SettingValue<SamplingTable[N]> };
/** Some of the settings; the others default to those of the model. */
export type SamplingFlags = Partial<SamplingSettings>;
/** How guidance changes over the steps of the first level: it grows (`linear`) or stays the same (`constant`). */
export type Schedule = SamplingSettings["schedule"];

/** The names of the settings that change something. */
export type SettingsThat<C extends Changes> = {
  [N in SamplingName]: SamplingTable[N]["changes"] extends C ? N : never;
}[SamplingName];
/** Settings of the distribution that a byte is drawn from. */
export type DrawName = SettingsThat<"logits" | "cut">;
export type LogitName = SettingsThat<"logits">;
export type CutName = SettingsThat<"cut">;

export const samplingNames = Object.keys(samplingSettings) as SamplingName[];
/** The row of a setting, typed with all optional fields. */
export const samplingSetting = (name: SamplingName): SamplingSetting => samplingSettings[name];
export const drawNames = samplingNames.filter((name): name is DrawName =>
  ["logits", "cut"].includes(samplingSettings[name].changes),
);

const isOff = (name: SamplingName, value: unknown): boolean =>
  samplingSetting(name).changes === "cut" && value === samplingSetting(name).usual;

/** Picks the sampling settings from an object. */
export const pickSampling = <T extends SamplingFlags>(from: T): Pick<T, SamplingName & keyof T> =>
  Object.fromEntries(samplingNames.flatMap((name) => (name in from ? [[name, from[name]]] : []))) as Pick<
    T,
    SamplingName & keyof T
  >;

/**
 * The settings as recorded, without those that are off, so that adding a setting does not change existing records and
 * keys.
 */
export const recordedSampling = (from: SamplingFlags): SamplingFlags =>
  Object.fromEntries(Object.entries(pickSampling(from)).filter(([name, value]) => !isOff(name as SamplingName, value)));

type Defaulted = {
  [N in SamplingName]: SamplingTable[N] extends { usual: unknown; changes: "guidance" | "logits" } ? N : never;
}[SamplingName];
/** The sampling defaults of a model. A setting left out is off, or for `iterations` one step per patch. */
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

/** Values for one of the networks that draw bytes: a number, or one per channel. Settings that are off are left out. */
export type DrawValues = { [N in DrawName]?: number | readonly number[] };
/** Which of them are inputs of a graph: one number for all channels, or one per channel. */
export type DrawForm = { [N in DrawName]?: "one" | "channels" };

/** The values for the network at `place` among those that draw bytes, from the coarsest level to the pixels. */
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
