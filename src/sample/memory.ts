/**
 * Estimates the memory that sampling needs from its graphs, and how many images and threads fit into the available
 * memory.
 */

import { drawingLevels, type ModelConfig, placedLevels } from "../config/model.ts";
import { type DrawForm, drawValues, formOf, type SamplingFlags, type SamplingSettings } from "../config/sampling.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { gpuTensorBytes, largestBytes, peakBytes, type Sizes } from "../graph/cost.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named } from "../graph/tree.ts";
import { kindOf } from "../levels/table.ts";
import { beginGraph, pixelGraph, stepGraph } from "../model/steps.ts";

/** Memory used by Node and onnxruntime before any model is loaded. */
const base = 160e6;
/** Memory of each thread's runtime. */
const perLane = 70e6;
/**
 * A factor on the counted values: onnxruntime orders operations differently, keeps buffers for steps of other sizes,
 * and needs workspace for products.
 */
const spare = 3;
/** Copies of the weights in each thread: one packed for its products and, if they are quantized, also the originals. */
const copies = ({ dtype = "float32" }: ModelConfig): number => (dtype === "float32" ? 1 : 2);

/** The size of a sampling run. */
export interface SamplingSize {
  /** Images generated together. */
  batch: number;
  /** Threads that share the images. */
  lanes: number;
  guided: boolean;
  /**
   * The setting inputs of the networks that draw bytes, from the coarsest level to the pixels; the usual inputs by
   * default.
   */
  forms?: readonly DrawForm[];
  /** Steps of each level above the pixels. */
  iterations: readonly number[];
  /** Size of the weights file in bytes. */
  weightBytes: number;
  /** Whether it runs on a GPU, where a step makes new copies of what levels keep; false by default. */
  onGpu?: boolean;
}

/** The settings that memory depends on. */
export type SizingSettings = SamplingFlags & Pick<SamplingSettings, "guidance" | "iterations">;

export type SettingsSize = ReturnType<typeof sizeOf>;

/** The sizes that follow from the settings. */
export function sizeOf(config: ModelConfig, settings: SizingSettings) {
  const guided = settings.guidance !== 1;
  const forms = drawingLevels(config).map((_, place) => formOf(drawValues(settings, place, { guided })));
  return { guided, forms, iterations: settings.iterations } satisfies Partial<SamplingSize>;
}

/** The graphs of a run with the sizes of their values, and what its levels keep between steps in bytes. */
function counted(
  config: ModelConfig,
  { batch, lanes, guided, forms, iterations }: SamplingSize,
): { graphs: (readonly [Record<string, Tensor>, Sizes])[]; kept: number } {
  const levels = placedLevels(config);
  const drawing = drawingLevels(config);
  const options = (l: number) => ({ guided, form: forms?.[drawing.indexOf(l)] });
  const ways = guided ? 2 : 1;
  let rows = Math.ceil(batch / lanes);
  let kept = 0;
  const graphs: (readonly [Record<string, Tensor>, Sizes])[] = [];
  levels.forEach((level, l) => {
    const kind = kindOf(level);
    const each = kind.order.mostAtOnce(level.tokens, iterations[l]);
    const own = kind.memory(level, { rows, ways, each });
    graphs.push(
      [beginGraph(config, l), new Map([["R", ways * rows]])],
      [
        named(stepGraph(config, l, { guided })),
        new Map(Object.entries({ R: rows, M: ways * rows * each, ...own.sizes })),
      ],
    );
    kept += own.kept;
    if (level.guidingPixel) graphs.push([pixelGraph(config, l, options(l)), new Map([["M", rows]])]);
    rows *= each;
  });
  graphs.push([pixelGraph(config, levels.length, options(levels.length)), new Map([["M", rows]])]);
  return { graphs, kept };
}

/** Estimates the peak memory of sampling in bytes, without the finished images. */
export function samplingBytes(config: ModelConfig, size: SamplingSize): number {
  const { graphs, kept } = counted(config, size);
  const values = graphs.reduce((sum, [graph, sizes]) => sum + peakBytes(graph, sizes), 0);
  const past = (size.onGpu ? 2 : 1) * kept;
  return base + size.lanes * (perLane + copies(config) * size.weightBytes + past + spare * values);
}

/** Whether every tensor of a run fits into a buffer of the device. */
const tensorsFit = (config: ModelConfig, size: SamplingSize): boolean =>
  !size.onGpu || counted(config, size).graphs.every(([graph, sizes]) => largestBytes(graph, sizes) <= gpuTensorBytes);

/**
 * Chooses the number of images generated together and of threads, at most those requested, so that sampling stays
 * within `bytes` and, on a GPU, no tensor of several images exceeds a buffer: first with fewer threads, then with fewer
 * images. Throws a UserError, with the memory needed, if not even one image in one thread fits.
 */
export function samplingWithin(
  config: ModelConfig,
  size: SamplingSize,
  bytes: number,
): Pick<SamplingSize, "batch" | "lanes"> {
  for (let batch = size.batch; ; batch = Math.ceil(batch / 2)) {
    for (let lanes = Math.min(size.lanes, batch); lanes >= 1; lanes--)
      if (
        samplingBytes(config, { ...size, batch, lanes }) <= bytes &&
        (batch === 1 || tensorsFit(config, { ...size, batch, lanes }))
      )
        return { batch, lanes };
    if (batch > 1) continue;
    const needed = samplingBytes(config, { ...size, batch: 1, lanes: 1 });
    throw new UserError({
      problem: `sampling this model takes about ${byteCount(needed)} of memory even for one image, but only ${byteCount(bytes)} is available`,
      hint: [
        "close other programs",
        { do: "allow more memory", setting: "memory" },
        { do: "quantize its weights", command: "quantize" },
      ],
    });
  }
}
