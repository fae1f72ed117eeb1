/** How much memory sampling takes, counted from its graphs; and how many images and threads at a time fit in what there is. */

import { drawingLevels, type ModelConfig, placedLevels } from "../config/model.ts";
import { type DrawForm, drawValues, formOf, type SamplingFlags, type SamplingSettings } from "../config/sampling.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { peakBytes, type Sizes } from "../graph/cost.ts";
import { named } from "../graph/tree.ts";
import { kindOf } from "../levels/table.ts";
import { beginGraph, pixelGraph, stepGraph } from "../model/steps.ts";

/** What Node and onnxruntime take before any model. */
const base = 160e6;
/** Each thread's own runtime. */
const perLane = 70e6;
/** onnxruntime keeps the order of its own, and room for steps of other sizes and for products beside the values that are counted. */
const spare = 3;
/** Copies of the weights in each lane, laid out for its products; those in few bits are kept beside theirs. */
const copies = ({ dtype = "float32" }: ModelConfig): number => (dtype === "float32" ? 1 : 2);

/** How much is sampled at once. */
export interface SamplingSize {
  /** Images side by side. */
  batch: number;
  /** Threads that share them out. */
  lanes: number;
  guided: boolean;
  /** What the networks that draw take as inputs, from the coarsest to the pixels; what every graph has by default. */
  forms?: readonly DrawForm[];
  /** Steps at each level above the pixels. */
  iterations: readonly number[];
  /** Size of the weights' file. */
  weightBytes: number;
}

/** Settings as far as memory depends on them. */
export type SizingSettings = SamplingFlags & Pick<SamplingSettings, "guidance" | "iterations">;

export type SettingsSize = ReturnType<typeof sizeOf>;

/** What of the settings memory depends on. */
export function sizeOf(config: ModelConfig, settings: SizingSettings) {
  const guided = settings.guidance !== 1;
  const forms = drawingLevels(config).map((_, place) => formOf(drawValues(settings, place, { guided })));
  return { guided, forms, iterations: settings.iterations } satisfies Partial<SamplingSize>;
}

/** An estimate in bytes of what sampling takes at most, without the finished images. */
export function samplingBytes(
  config: ModelConfig,
  { batch, lanes, guided, forms, iterations, weightBytes }: SamplingSize,
): number {
  const levels = placedLevels(config);
  const drawing = drawingLevels(config);
  const options = (l: number) => ({ guided, form: forms?.[drawing.indexOf(l)] });
  const ways = guided ? 2 : 1;
  let rows = Math.ceil(batch / lanes);
  let values = 0;
  let past = 0; // what levels keep from step to step
  levels.forEach((level, l) => {
    const kind = kindOf(level);
    const each = kind.order.mostAtOnce(level.tokens, iterations[l]);
    const own = kind.memory(level, { rows, ways, each });
    const sizes: Sizes = new Map(Object.entries({ R: rows, M: ways * rows * each, ...own.sizes }));
    values += peakBytes(beginGraph(config, l), new Map([["R", ways * rows]]));
    values += peakBytes(named(stepGraph(config, l, { guided })), sizes);
    past += own.kept;
    if (level.guidingPixel) values += peakBytes(pixelGraph(config, l, options(l)), new Map([["M", rows]]));
    rows *= each;
  });
  values += peakBytes(pixelGraph(config, levels.length, options(levels.length)), new Map([["M", rows]]));
  return base + lanes * (perLane + copies(config) * weightBytes + past + spare * values);
}

/**
 * The images side by side and threads, at most those asked for, with which sampling stays within `bytes`: fewer threads
 * first, then fewer images. UserError where not even one image in one thread does, with what that would take.
 */
export function samplingWithin(
  config: ModelConfig,
  size: SamplingSize,
  bytes: number,
): Pick<SamplingSize, "batch" | "lanes"> {
  for (let batch = size.batch; ; batch = Math.ceil(batch / 2)) {
    for (let lanes = Math.min(size.lanes, batch); lanes >= 1; lanes--)
      if (samplingBytes(config, { ...size, batch, lanes }) <= bytes) return { batch, lanes };
    if (batch > 1) continue;
    const needed = samplingBytes(config, { ...size, batch: 1, lanes: 1 });
    throw new UserError({
      problem: `sampling this model takes about ${byteCount(needed)} of memory even for one image, but there are ${byteCount(bytes)}`,
      hint: [
        "close other programs",
        { do: "allow more memory", setting: "memory" },
        { do: "store its weights in fewer bits", command: "quantize" },
      ],
    });
  }
}
