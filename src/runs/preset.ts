/** The model and settings of a new run: a preset, overridden by a configuration file. */

import { z } from "zod";
import { explain, type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { emojiPresetFor, type Preset, presetFor, usualIterations } from "../config/presets.ts";
import { parseTrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { readJson } from "../files/model.ts";
import type { RunOptions } from "./options.ts";

const fileSchema = z.strictObject({
  model: z.record(z.string(), z.unknown()).default({}),
  training: z.record(z.string(), z.unknown()).default({}),
});

/** The parts of a configuration file that replace those of the preset. */
export interface Given {
  source: string;
  model: Record<string, unknown>;
  training: Record<string, unknown>;
}

/**
 * Reads the --config file and checks it as far as possible without the data. With `first`, it changes that model instead
 * of the preset.
 */
export function configFile(path: string | undefined, flags: RunOptions, first?: ModelConfig): Given {
  const source = path ?? "the preset";
  const parsed = fileSchema.safeParse(path === undefined ? {} : readJson(path));
  if (!parsed.success)
    throw new UserError({
      subject: source,
      problem: explain(parsed.error.issues[0]),
      hint: 'expected {"model": {…}, "training": {…}}',
    });
  const { model, training } = parsed.data;
  const given = { source, model, training };
  if (first) {
    tunedConfig(first, given, { classes: first.classes, groups: first.groups });
    parseTrainingConfig({ ...presetOf(flags, first.imageSize).training, ...training }, source);
    return given;
  }
  const size = model["imageSize"] ?? flags.imageSize;
  const preset = typeof size === "number" && !("levels" in model) ? presetOf(flags, size) : presetOf(flags, 32);
  // A placeholder class, and any size that the levels can divide, are enough here; the data's own replace them later.
  const { groups: _, ...ungrouped } = model;
  modelOf(
    preset,
    { ...given, model: ungrouped },
    { imageSize: (size as number) ?? sizeFor(model["levels"]), classes: ["any"] },
  );
  parseTrainingConfig({ ...preset.training, ...training }, source);
  return given;
}

function sizeFor(levels: unknown): number {
  const patch = Array.isArray(levels) ? Number(levels[0]?.patch) : Number.NaN;
  return patch >= 1 && patch <= 2048 ? 2 * patch : 32;
}

/** The preset's model, overridden first by `known` and then by the --config file. */
export function modelOf(
  { model: preset }: Pick<Preset, "model">,
  { source, model: given }: Given,
  known: Pick<ModelConfig, "imageSize" | "classes"> & Partial<ModelConfig>,
): ModelConfig {
  const { iterations: _, ...sampling } = preset.sampling;
  const own = given["sampling"] ?? {};
  const merged = typeof own === "object" ? { ...sampling, ...own } : own;
  const model = parseModelConfig({ ...preset, ...known, ...given, sampling: merged }, source);
  const iterations = model.sampling.iterations ?? usualIterations(placedLevels(model));
  return { ...model, sampling: { ...model.sampling, iterations } };
}

/** A model with the classes of the data, and with the levels and sampling settings of the --config file. */
export function tunedConfig(
  first: ModelConfig,
  given: Given,
  known: Pick<ModelConfig, "classes" | "groups">,
): ModelConfig {
  const { levels, sampling = {} } = given.model;
  const kept = levels === undefined ? { iterations: first.sampling.iterations } : {};
  const changed = typeof sampling === "object" ? { ...kept, ...sampling } : sampling;
  return modelOf(
    { model: first },
    { ...given, model: { ...given.model, sampling: changed } },
    { imageSize: first.imageSize, ...known },
  );
}

export function presetOf(flags: RunOptions, imageSize: number, { channels = 3, train }: Partial<Dataset> = {}): Preset {
  const choice = { size: flags.size, kind: flags.kind, recipe: flags.recipe };
  const preset = flags.data === "emoji" ? emojiPresetFor : presetFor;
  return preset(choice, { imageSize, channels, images: train?.count });
}
