/** The work of `fractalgen edit`: redraws a region, and writes a grid of the variants next to the original. */

import { basename } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { toChannels } from "../data/picture.ts";
import { drawnMask, edit as editImage } from "../sample/edit.ts";
import { checkOutputs, drawImages, owningEach } from "./drawing.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { endDrawing } from "./drawn-report.ts";
import { type MaskFlags, readMask, readOriginal } from "./edit-inputs.ts";
import { findModel, labelsInTurn, parseClasses } from "./models.ts";
import { type SamplingFlags, type SamplingSettings, settingsOf } from "./sampling-options.ts";
import { software } from "./version.ts";

export interface EditFlags extends SamplingFlags, DrawingFlags, MaskFlags {
  model: string;
  image: string;
  class?: string;
  ring: number;
}

/** To prevail over the kept pixels, a class needs stronger guidance than the models' default. */
export const classGuidance = 4;

export async function edit(flags: EditFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const { imageSize: size, channels } = config;
  const { labels, names } = labelsOf(flags, config);
  const settings = settingsFor(flags, config);
  const original = await readOriginal(flags.image, config);
  const mask = drawnMask(config, await readMask(flags, config, original), { ring: flags.ring });
  const all = flags.count + 2;
  const grid = { count: all, size, channels, columns: flags.columns ?? (all <= 8 ? all : undefined) };
  const captions = ["original", "given", ...names];
  const shown = checkOutputs(flags, { ...grid, labels: captions });
  if (original.note !== undefined && !flags.json) console.error(original.note);
  const { seed } = flags;
  await owningEach(flags, async () => {
    const drawn = await drawImages(model, { ...flags, ...settings }, (sampler, running) =>
      editImage(sampler, original.image, mask, { labels, seed, ...settings, ...running }),
    );
    if (!drawn) return;
    const images = Buffer.concat([original.image, hatched(original.image, mask, config), drawn.images]);
    const options = maskOptions(flags);
    const share = mask.reduce((a, b) => a + b, 0) / mask.length;
    const details = { Image: basename(flags.image), Task: flags.task };
    const inTurn = [...new Set(names)];
    const written = {
      software,
      model,
      names,
      inTurn,
      settings,
      options,
      details,
      shown,
      grid: { images, picture: grid, labels: captions },
    };
    await endDrawing(flags, drawn, written, { image: flags.image, task: flags.task, drawn: share });
  });
}

const noClass = "no class";

/** The variants' labels; without a class, the null class, which training learns through label dropout. */
function labelsOf({ class: text, count, task }: EditFlags, config: ModelConfig) {
  const { classes } = config;
  if (text === undefined && task === "class")
    throw new UserError(
      `--class: --task class needs the new class of the region, for example ${classes.slice(0, 3).join(", ")}`,
    );
  const labels = labelsInTurn(text === undefined ? [[classes.length]] : parseClasses(text, config), count);
  return { labels, names: labels.map((label) => classes[label] ?? noClass) };
}

function settingsFor(flags: EditFlags, config: ModelConfig): SamplingSettings {
  const settings = settingsOf(flags, config);
  if (flags.guidance !== undefined && flags.class === undefined && flags.guidance !== 1)
    throw new UserError("--guidance: guidance strengthens a class, so this option needs --class");
  if (flags.class === undefined) return { ...settings, guidance: 1 };
  if (flags.task !== "class" || flags.guidance !== undefined) return settings;
  return { ...settings, guidance: Math.max(settings.guidance, classGuidance) };
}

const maskOptions = ({ mask, given, extent, ring }: EditFlags) => ({ mask, given, extent, ring });

/** The given image, with the region to redraw marked by stripes of two colours, so that it shows on any image. */
function hatched(image: Uint8Array, mask: Uint8Array, { imageSize: size, channels }: ModelConfig): Uint8Array {
  const rgb = Uint8Array.of(224, 64, 160, 255, 200, 232);
  const stripes = toChannels({ data: rgb, width: 2, height: 1, channels: 3 }, channels).data;
  const width = Math.max(2, Math.round(size / 16));
  return image.map((byte, at) => {
    const pixel = Math.floor(at / channels);
    if (mask[pixel] === 0) return byte;
    const stripe = Math.floor(((pixel % size) + Math.floor(pixel / size)) / width) % 2;
    return stripes[stripe * channels + (at % channels)];
  });
}
