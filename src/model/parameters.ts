/** Every parameter of a model: its name as in the published checkpoints, its shape and how it starts. */

import { product } from "../core/arrays.ts";
import { type Key, normal, uniform } from "../core/random.ts";
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
  /** normal: standard deviation 0.02; xavier: uniform within sqrt(6 / (in + out)). */
  start: "normal" | "xavier" | "ones" | "zeros";
}

type Local = [name: string, shape: number[], start: Parameter["start"]];

const linear = (name: string, to: number, from: number, bias = true): Local[] => [
  [`${name}.weight`, [to, from], "xavier"],
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
  ...linear("attn.proj", width, width),
  ...norm("norm2", width),
  ...linear("mlp.fc1", 4 * width, width),
  ...linear("mlp.fc2", width, 4 * width),
];

/** SwiGLU's hidden width: two thirds of 4 d, rounded up to a multiple of 256. */
export const swigluWidth = (width: number): number => Math.ceil(Math.floor((2 * 4 * width) / 3) / 256) * 256;

const llamaBlock = (width: number): Local[] => [
  ...linear("attention.wqkv", 3 * width, width, false),
  ...linear("attention.wo", width, width, false),
  ...linear("feed_forward.w1", swigluWidth(width), width, false),
  ...linear("feed_forward.w3", swigluWidth(width), width, false),
  ...linear("feed_forward.w2", width, swigluWidth(width), false),
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
  ...channelLetters(channels).map((letter): Local => [`${letter}_codebook.weight`, [256, width], "normal"]),
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

/** A parameter's starting value; `key` is its own. */
export function startingValue({ shape, start }: Parameter, key: Key): Float32Array {
  const value = new Float32Array(product(shape));
  if (start === "ones") return value.fill(1);
  if (start === "normal") return value.map((_, i) => 0.02 * normal(key, i));
  if (start === "xavier") {
    const bound = Math.sqrt(6 / (shape[0] + shape[1]));
    return value.map((_, i) => bound * (2 * uniform(key, i) - 1));
  }
  return value;
}
