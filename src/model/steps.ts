/**
 * The graphs that sampling runs: for each level one that begins a square and one that takes a step in it, and one that
 * draws a pixel. Rows are squares in the making; with guidance, rows with the condition come first and the same rows
 * with the null class behind them.
 */

import {
  conditionsRead,
  guidingPixelLevel,
  type ModelConfig,
  type PatchLevel,
  type PixelLevel,
  pixelLevel,
  placedLevels,
  prefixTokens,
} from "../config/model.ts";
import { channelLetters } from "../config/normalize.ts";
import { type DrawForm, usualForm } from "../config/sampling.ts";
import {
  add,
  cast,
  concat,
  embedding,
  flatten,
  gatherRows,
  gatherTokens,
  input,
  less,
  pick,
  reshape,
  slice,
  where,
} from "../graph/build.ts";
import { times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { distribution, draw, drawInputs, ofChannel } from "./draw.ts";
import { type FewPast, vitBlockNext } from "./few-tokens.ts";
import { dense, llamaBlock, norm, type Past, scope } from "./layers.ts";
import { rotaryOf } from "./rotary.ts";
import { channelLogits, marBlocks, maskedPatches, placed, type PlacedAr, type PlacedMar, prefix } from "./levels.ts";
import { labelEmbedding, repeat, weightsOf } from "./loss.ts";
import { levelPrefix, pixelPrefix } from "./parameters.ts";

export type Outputs = Record<string, Tensor>;

/** With guidance every row stands twice. */
const ways = (guided: boolean): number => (guided ? 2 : 1);

const conditionsTaken = (level: PatchLevel): number => (level.kind === "mar" ? level.conditions : 1);

/**
 * `prefix`, the placed tokens [R', P, D] before a square's patches, R' = R times ways. Inputs: `labels` [R'] at the first
 * level, `conditions` [R', c, D'] below it; `colour` [R', C] with a guiding pixel.
 */
export function beginGraph(config: ModelConfig, l: number): Outputs {
  const { weights } = weightsOf(config);
  const level = placedLevels(config)[l];
  const scoped = scope(weights, levelPrefix(l));
  const count = conditionsTaken(level);
  const conditions =
    l === 0
      ? repeat(labelEmbedding(weights, input("labels", "int32", ["R"])), count)
      : input("conditions", "float32", ["R", count, level.conditionWidth]);
  const guided = level.kind === "mar" && level.guidingPixel;
  const colour = guided ? input("colour", "float32", ["R", config.channels]) : undefined;
  return { prefix: placed(scoped, prefix(scoped, level, conditions, colour), 0, prefixTokens(level)) };
}

/**
 * A MAR step: `conditions` [M, c, D] of the M patches to be drawn. Inputs: `prefix`; `patches` [R, N, C p^2] and `mask`
 * [R, N] as they are; `read` [R', r], the tokens whose outputs are needed; `take` [M, c], which of those R' * r outputs
 * are which condition (R' * r for none, beyond the edge).
 */
export function marStepGraph(config: ModelConfig, l: number, { guided }: { guided: boolean }): Outputs {
  const { weights } = weightsOf(config);
  const level = placedLevels(config)[l] as PlacedMar;
  const scoped = scope(weights, levelPrefix(l));
  const rows = times(ways(guided), "R");
  const before = input("prefix", "float32", [rows, prefixTokens(level), level.width]);
  const patches = input("patches", "float32", ["R", level.tokens, config.channels * level.patch ** 2]);
  const shown = maskedPatches(scoped, level, flatten(patches), input("mask", "float32", ["R", level.tokens]));
  const after = placed(scoped, shown, prefixTokens(level), prefixTokens(level) + level.tokens);
  const tokens = concat([before, guided ? concat([after, after], 0) : after], 1);
  const read = input("read", "int32", [rows, "r"]);
  const out = marBlocks(scoped, level, tokens, { read: (x) => gatherTokens(x, read) });
  const take = input("take", "int32", ["M", conditionsRead(config, l)]);
  return { conditions: gatherRows(flatten(out), take) };
}

/**
 * An AR step: `conditions` [R', 1, D] of the patch at `position`, and this position's `key.i` and `value.i` [R', H, D/H]
 * in each block i. Inputs: `prefix`; `patch` [R, C p^2], the one before (anything at position 0); `position` [1]; room
 * for L positions, of which those before this one are filled: `keys.i` and `values.i` [R', H, L, D/H], and `seen` [L], 0
 * where there is a position and -1e30 where there is none yet.
 */
export function arStepGraph(config: ModelConfig, l: number, { guided }: { guided: boolean }): Outputs {
  const { weights } = weightsOf(config);
  const level = placedLevels(config)[l] as PlacedAr;
  const scoped = scope(weights, levelPrefix(l));
  const rows = times(ways(guided), "R");
  const headWidth = level.width / level.heads;
  const before = input("prefix", "float32", [rows, 1, level.width]);
  const position = input("position", "int32", [1]);
  const patch = input("patch", "float32", ["R", config.channels * level.patch ** 2]);
  const positions = reshape(scoped("pos_embed_learned"), [level.tokens + 1, level.width]);
  const shown = norm(scoped, "patch_emb_ln", add(dense(scoped, "patch_emb", patch), embedding(positions, position)));
  const isFirst = less(cast(position, "float32"), 0.5);
  let x = where(isFirst, flatten(before), guided ? concat([shown, shown], 0) : shown);
  const rotary = rotaryOf(level.grid, headWidth, cast(reshape(position, [1, 1]), "int64"));
  const seen = input("seen", "float32", ["L"]);
  const outputs: Outputs = {};
  for (let i = 0; i < level.depth; i++) {
    const past: Past = {
      keys: input(`keys.${i}`, "float32", [rows, level.heads, "L", headWidth]),
      values: input(`values.${i}`, "float32", [rows, level.heads, "L", headWidth]),
      seen,
    };
    const block = llamaBlock(scope(scoped, `blocks.${i}.`), x, {
      tokens: 1,
      heads: level.heads,
      qkNorm: level.qkNorm,
      rotary,
      past,
    });
    x = block.x;
    outputs[`key.${i}`] = reshape(block.key, [rows, level.heads, headWidth]);
    outputs[`value.${i}`] = reshape(block.value, [rows, level.heads, headWidth]);
  }
  return { conditions: reshape(norm(scoped, "norm", x), [rows, 1, level.width]), ...outputs };
}

/** Where the pixel graph's weights stand, what it is and how many conditions its parent hands it. */
interface PixelPlace {
  level: PixelLevel;
  prefix: string;
  conditions: number;
  conditionWidth: number;
}

/** The last level's pixels. */
export function lastPixels(config: ModelConfig): PixelPlace {
  const last = placedLevels(config).at(-1)!;
  return { level: pixelLevel(config), prefix: pixelPrefix(config), conditions: 1, conditionWidth: last.width };
}

/** The guiding pixel of level l. */
export function guidingPixels(config: ModelConfig, l: number): PixelPlace {
  const level = placedLevels(config)[l];
  return {
    level: guidingPixelLevel,
    prefix: `${levelPrefix(l)}guiding_pixel_loss.`,
    conditions: conditionsTaken(level),
    conditionWidth: level.conditionWidth,
  };
}

/**
 * Draws pixels: `bytes` [M, C] int32. Inputs: `conditions` [M', c, D'], M' = M times ways (the middle one last);
 * `uniforms` [M, C]; guided, `guidance`, a scalar; and the settings of `form`, scalars or [C]. Each channel is one token:
 * keys and values are kept from channel to channel, and the last channel's own token is never made, for nobody reads it.
 * With `probabilities` also those that bytes were drawn with, [M, C, 256].
 */
export function pixelGraph(
  config: ModelConfig,
  { level, prefix: prefixName, conditions: count, conditionWidth }: PixelPlace,
  {
    guided,
    form = usualForm({ guided }),
    probabilities = false,
  }: { guided: boolean; form?: DrawForm; probabilities?: boolean },
): Outputs {
  const weights = scope(weightsOf(config).weights, prefixName);
  const letters = channelLetters(config.channels);
  const rows = times(ways(guided), "M");
  const conditions = input("conditions", "float32", [rows, count, conditionWidth]);
  const uniforms = input("uniforms", "float32", ["M", letters.length]);
  const settings = drawInputs(form, { guided, channels: letters.length });
  const pasts: FewPast[] = Array.from({ length: level.depth }, () => ({ keys: [], values: [] }));
  let token = dense(weights, "cond_proj", pick(conditions, 1, count - 1));
  const expected: Tensor[] = [];
  const bytes = letters.map((letter, c) => {
    let x = norm(weights, "ln", token);
    pasts.forEach((past, i) => {
      x = vitBlockNext(scope(weights, `blocks.${i}.`), x, { heads: level.heads, past });
    });
    expected.push(distribution(channelLogits(weights, letter, norm(weights, "norm", x)), ofChannel(settings, c)));
    const drawn = draw(expected[c], slice(uniforms, 1, c, c + 1)); // [M]
    const embedded = embedding(weights(`${letter}_codebook.weight`), drawn);
    token = guided ? concat([embedded, embedded], 0) : embedded;
    return reshape(drawn, [dim(drawn, 0), 1]);
  });
  if (!probabilities) return { bytes: concat(bytes, 1) };
  const each = expected.map((of) => reshape(of, [dim(of, 0), 1, 256]));
  return { bytes: concat(bytes, 1), probabilities: concat(each, 1) };
}
