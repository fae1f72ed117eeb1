/** Every parameter of a model: its name as in the published checkpoints, its shape and how it starts. */

import { product } from "../core/arrays.ts";
import { type Key, normal, permutation, uniform } from "../core/random.ts";
import {
  type ArLevel,
  guidingPixelLevel,
  type MarLevel,
  type ModelConfig,
  type PixelLevel,
  type PlacedLevel,
  pixelLevel,
  placedLevels,
  prefixTokens,
} from "../config/model.ts";
import { channelLetters } from "../config/normalize.ts";

export interface Parameter {
  name: string;
  shape: number[];
  /**
   * normal: standard deviation 0.02; xavier: uniform within sqrt(6 / (in + out)); codebook and residual: normal and
   * xavier as published, or as `Starts` says.
   */
  start: "normal" | "xavier" | "ones" | "zeros" | "codebook" | "residual";
}

/** Starts that differ from the published ones. */
export interface Starts {
  codebookStart?: "normal" | "cosine";
  residualStart?: "xavier" | "zero";
}

type Local = [name: string, shape: number[], start: Parameter["start"]];

const linear = (
  name: string,
  to: number,
  from: number,
  { bias = true, start = "xavier" }: { bias?: boolean; start?: Parameter["start"] } = {},
): Local[] => [
  [`${name}.weight`, [to, from], start],
  ...(bias ? [[`${name}.bias`, [to], "zeros"] satisfies Local] : []),
];

const norm = (name: string, width: number): Local[] => [
  [`${name}.weight`, [width], "ones"],
  [`${name}.bias`, [width], "zeros"],
];

const under = (prefix: string, locals: Local[]): Local[] => locals.map(([name, ...rest]) => [prefix + name, ...rest]);

const blocks = (depth: number, block: Local[]): Local[] =>
  Array.from({ length: depth }, (_, i) => under(`blocks.${i}.`, block)).flat();

const vitBlock = (width: number): Local[] => [
  ...norm("norm1", width),
  ...linear("attn.qkv", 3 * width, width),
  ...linear("attn.proj", width, width, { start: "residual" }),
  ...norm("norm2", width),
  ...linear("mlp.fc1", 4 * width, width),
  ...linear("mlp.fc2", width, 4 * width, { start: "residual" }),
];

/** SwiGLU's hidden width: two thirds of 4 d, rounded up to a multiple of 256. */
export const swigluWidth = (width: number): number => Math.ceil(Math.floor((2 * 4 * width) / 3) / 256) * 256;

const llamaBlock = (width: number): Local[] => [
  ...linear("attention.wqkv", 3 * width, width, { bias: false }),
  ...linear("attention.wo", width, width, { bias: false, start: "residual" }),
  ...linear("feed_forward.w1", swigluWidth(width), width, { bias: false }),
  ...linear("feed_forward.w3", swigluWidth(width), width, { bias: false }),
  ...linear("feed_forward.w2", width, swigluWidth(width), { bias: false, start: "residual" }),
  ["attention_norm.weight", [width], "ones"],
  ["ffn_norm.weight", [width], "ones"],
];

type Placed<L> = PlacedLevel & L;

const arLevel = ({ width, depth, patch, tokens, conditionWidth }: Placed<ArLevel>, channels: number): Local[] => [
  ["pos_embed_learned", [1, tokens + 1, width], "normal"],
  ...linear("patch_emb", width, channels * patch ** 2),
  ...norm("patch_emb_ln", width),
  ...linear("cond_emb", width, conditionWidth),
  ...blocks(depth, llamaBlock(width)),
  ...norm("norm", width),
];

const marLevel = (level: Placed<MarLevel>, channels: number): Local[] => {
  const { width, depth, patch, tokens, conditionWidth, guidingPixel } = level;
  return [
    ["mask_token", [1, 1, width], "normal"],
    ["pos_embed_learned", [1, tokens + prefixTokens(level), width], "normal"],
    ...linear("patch_emb", width, channels * patch ** 2),
    ...norm("patch_emb_ln", width),
    ...linear("cond_emb", width, conditionWidth),
    ...(guidingPixel ? linear("pix_proj", width, channels) : []),
    ...blocks(depth, vitBlock(width)),
    ...norm("norm", width),
    ...(guidingPixel ? under("guiding_pixel_loss.", pixels(guidingPixelLevel, conditionWidth, channels)) : []),
  ];
};

const pixels = ({ width, depth }: PixelLevel, conditionWidth: number, channels: number): Local[] => [
  ...linear("cond_proj", width, conditionWidth),
  ...channelLetters(channels).map((letter): Local => [`${letter}_codebook.weight`, [256, width], "codebook"]),
  ...norm("ln", width),
  ...blocks(depth, vitBlock(width)),
  ...norm("norm", width),
  ...channelLetters(channels).map((letter): Local => [`${letter}_mlm.bias`, [1, 256], "zeros"]),
];

/** The prefix of a level's generator, and of the pixels below the last one. */
export const levelPrefix = (index: number): string => `${"next_fractal.".repeat(index)}generator.`;
export const pixelPrefix = (config: ModelConfig): string => "next_fractal.".repeat(config.levels.length - 1);

/** All parameters, in the order of the published state dict (which its optimiser state counts by). */
export function modelParameters(config: ModelConfig): Parameter[] {
  const { classes, channels, levels } = config;
  const placed = placedLevels(config);
  return [
    ["fake_latent", [1, levels[0].width], "normal"] satisfies Local,
    ["class_emb.weight", [classes.length, levels[0].width], "normal"] satisfies Local,
    ...placed.flatMap((level, i) =>
      under(levelPrefix(i), level.kind === "ar" ? arLevel(level, channels) : marLevel(level, channels)),
    ),
    ...under(pixelPrefix(config), pixels(pixelLevel(config), placed.at(-1)!.width, channels)),
  ].map(([name, shape, start]) => ({ name, shape, start }) as Parameter);
}

/** Weight decay is for what has two dimensions or more and is not named a bias; embeddings and positions decay too. */
export const decays = ({ name, shape }: Parameter): boolean => shape.length > 1 && !name.endsWith(".bias");

/** How many matrices stand one below the other in a weight that Muon updates; 0 for what is left to AdamW. */
export function muonMatrices({ name, shape }: Parameter): number {
  if (shape.length !== 2 || !/\bblocks\.\d+\./.test(name)) return 0;
  return name.endsWith("qkv.weight") ? 3 : 1;
}

/** The groups of parameters that have a learning rate of their own; "other" are norms, biases and conditions. */
export function rateGroup({ name, shape }: Parameter): "blocks" | "codebooks" | "embeddings" | "other" {
  if (/\bblocks\.\d+\./.test(name)) return shape.length === 2 ? "blocks" : "other";
  if (name.endsWith("_codebook.weight")) return "codebooks";
  return shape.length > 1 && !name.endsWith(".bias") ? "embeddings" : "other";
}

/** A parameter's starting value, as published unless `starts` says otherwise; `key` is its own. */
export function startingValue(
  { shape, start }: Parameter,
  key: Key,
  { codebookStart = "normal", residualStart = "xavier" }: Starts = {},
): Float32Array {
  const value = new Float32Array(product(shape));
  if (start === "ones") return value.fill(1);
  if (start === "codebook" && codebookStart === "cosine") return cosineCodebook(shape, key);
  if (start === "normal" || start === "codebook") return value.map((_, i) => 0.02 * normal(key, i));
  if (start === "residual" && residualStart === "zero") return value;
  if (start === "xavier" || start === "residual") {
    const bound = Math.sqrt(6 / (shape[0] + shape[1]));
    return value.map((_, i) => bound * (2 * uniform(key, i) - 1));
  }
  return value;
}

/** Mean norm of a cosine codebook's rows. */
const codebookNorm = 0.6;

/**
 * A codebook [256, width] in which neighbouring values are alike: row v holds cos(pi k (v + 1/2) / 256) / k for k = 1 ..
 * width, in a random order and with random signs, scaled to a mean row norm of 0.6.
 */
function cosineCodebook([values, width]: readonly number[], key: Key): Float32Array {
  const frequency = permutation(key, width);
  const table = new Float32Array(values * width);
  for (let column = 0; column < width; column++) {
    const k = frequency[column] + 1;
    const sign = uniform(key, 2 ** 20 + column) < 0.5 ? -1 : 1;
    for (let v = 0; v < values; v++)
      table[v * width + column] = (sign * Math.cos((Math.PI * k * (v + 0.5)) / values)) / k;
  }
  let total = 0;
  for (let v = 0; v < values; v++) total += Math.hypot(...table.subarray(v * width, (v + 1) * width));
  const scale = (codebookNorm * values) / total;
  return table.map((x) => scale * x);
}
