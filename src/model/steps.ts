/**
 * The graphs that sampling runs: for each level, one that begins a square and one that takes a step in it; and one that
 * draws a pixel; on a device, also one that takes several steps with their pixels. Rows are squares being generated. With guidance, the rows with the condition come first, followed by
 * the same rows with the null class.
 */

import type { ModelConfig } from "../config/model.ts";
import { type DrawForm, usualForm } from "../config/sampling.ts";
import { float32 } from "../core/arrays.ts";
import { normalizedValues } from "../core/normalize.ts";
import { concat, constant, embedding, input, reshape, slice } from "../graph/build.ts";
import { over, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { nameAt } from "../graph/tree.ts";
import type { StepOutputs } from "../levels/kind.ts";
import type { PixelNetwork } from "../levels/pixel.ts";
import { distribution, draw, type DrawInputs, drawInputs, ofChannel } from "./draw.ts";
import { middle, repeated } from "./loss.ts";
import { networksOf } from "./networks.ts";

export type Outputs = Record<string, Tensor>;

/** With guidance, every row appears twice. */
const ways = (guided: boolean): number => (guided ? 2 : 1);

/**
 * `prefix`, the placed tokens [R', P, D] before a square's patches, R' = R times ways. Inputs: `labels` [R'] at the first
 * level, `conditions` [R', c, D'] below it; `colour` [R', C] with a guiding pixel.
 */
export function beginGraph(config: ModelConfig, l: number): Outputs {
  const { label, levels } = networksOf(config);
  const { level, network, guidingPixel } = levels[l];
  const conditions =
    l === 0
      ? repeated(label(input("labels", "int32", ["R"])), level.conditions)
      : input("conditions", "float32", ["R", level.conditions, level.conditionWidth]);
  const colour = guidingPixel ? input("colour", "float32", ["R", level.channels]) : undefined;
  return { prefix: network.begin({ conditions, colour }) };
}

/** A step of level l: `conditions` [M', c, D] of the M patches to be drawn, and the kind's own inputs and outputs. */
export const stepGraph = (config: ModelConfig, l: number, options: { guided: boolean }): StepOutputs =>
  networksOf(config).levels[l].network.step(options);

/** The same step with its state as it stays on a device, if the kind has one. */
export const keptStepGraph = (config: ModelConfig, l: number, options: { guided: boolean }) =>
  networksOf(config).levels[l].network.keptStep?.(options);

export interface PixelGraphOptions {
  guided: boolean;
  /** Which settings are inputs, and whether they are scalars or have a value per channel. */
  form?: DrawForm;
  probabilities?: boolean;
}

/**
 * Draws bytes of level l (see `drawingLevels`): guiding pixels or, at the last one, pixels: `bytes` [M, C] int32.
 * Inputs: `conditions` [M', c, D'], M' = M times ways (the middle condition last); `uniforms` [M, C]; with guidance,
 * `guidance`, a scalar; and the settings of `form`, scalars or [C]. Each channel is one token. Keys and values are
 * cached from channel to channel; the last channel's own token is never computed because nothing reads it. With
 * `probabilities`, also returns the probabilities that the bytes were drawn with, [M, C, 256].
 */
export function pixelGraph(
  config: ModelConfig,
  l: number,
  { guided, form = usualForm({ guided }), probabilities = false }: PixelGraphOptions,
): Outputs {
  const { levels, pixels } = networksOf(config);
  const [network, count] = l === levels.length ? [pixels, 1] : [levels[l].guidingPixel!, levels[l].level.conditions];
  const { channels, conditionWidth } = network;
  const conditions = input("conditions", "float32", [times(ways(guided), "M"), count, conditionWidth]);
  const uniforms = input("uniforms", "float32", ["M", channels]);
  const settings = drawInputs(form, { guided, channels });
  const { bytes, expected } = drawnPixels(network, { conditions, uniforms, settings, guided });
  if (!probabilities) return { bytes: concat(bytes, 1) };
  return { bytes: concat(bytes, 1), probabilities: together(expected) };
}

/** The probabilities [M, 256] of each channel as [M, C, 256]. */
const together = (expected: readonly Tensor[]): Tensor =>
  concat(
    expected.map((of) => reshape(of, [dim(of, 0), 1, 256])),
    1,
  );

/** The bytes of each channel, [M, 1] int32, and the probabilities that they are drawn with, [M, 256]. */
function drawnPixels(
  network: PixelNetwork,
  {
    conditions,
    uniforms,
    settings,
    guided,
  }: { conditions: Tensor; uniforms: Tensor; settings: DrawInputs; guided: boolean },
): { bytes: Tensor[]; expected: Tensor[] } {
  const past = network.past();
  let token = network.first(middle(conditions));
  const expected: Tensor[] = [];
  const bytes = Array.from({ length: network.channels }, (_, c) => {
    expected.push(distribution(network.next(c, token, past), ofChannel(settings, c)));
    const drawn = draw(expected[c], slice(uniforms, 1, c, c + 1)); // [M]
    const embedded = network.token(c, drawn);
    token = guided ? concat([embedded, embedded], 0) : embedded;
    return reshape(drawn, [dim(drawn, 0), 1]);
  });
  return { bytes, expected };
}

export interface DrawnStepsOptions {
  guided: boolean;
  form: DrawForm;
  /** The number of steps. */
  steps: number;
  probabilities?: boolean;
}

/**
 * Several steps of the level above the pixels, each with the pixels that it draws: `bytes` [M0 + M1 + .., C] int32 of
 * all steps, with `probabilities` as in `pixelGraph`, and the kind's state, which stays on the device. Inputs: those of the kind; `uniforms.i` [Mi, C] for each
 * step; guidance and settings as in `pixelGraph`. Undefined if the kind has no such graph.
 */
export function drawnStepsGraph(
  config: ModelConfig,
  { guided, form, steps, probabilities = false }: DrawnStepsOptions,
): { bytes: Tensor; probabilities?: Tensor; kept: readonly Tensor[] } | undefined {
  const { levels, pixels } = networksOf(config);
  const { channels } = pixels;
  const settings = drawInputs(form, { guided, channels });
  const values = normalizedValues(channels);
  const table = (c: number) => constant(float32(values.subarray(c * 256, (c + 1) * 256), [256, 1]));
  const tables = Array.from({ length: channels }, (_, c) => table(c));
  const all: Tensor[] = [];
  const probable: Tensor[] = [];
  const kept = levels.at(-1)!.network.drawnSteps?.({
    guided,
    steps,
    draw(conditions) {
      const count = over(dim(conditions, 0), ways(guided));
      const uniforms = input(nameAt("uniforms", all.length), "float32", [count, channels]);
      const { bytes, expected } = drawnPixels(pixels, { conditions, uniforms, settings, guided });
      all.push(concat(bytes, 1));
      probable.push(together(expected));
      return concat(
        bytes.map((drawn, c) => embedding(tables[c], reshape(drawn, [count]))),
        1,
      );
    },
  });
  return kept && { bytes: concat(all, 0), probabilities: probabilities ? concat(probable, 0) : undefined, kept };
}
