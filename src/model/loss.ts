/**
 * The recursion with teacher forcing: the whole model's loss as one graph. `training.ts` builds it with its gradients;
 * sampling performs the same recursion step by step (`sample/sampler.ts`).
 */

import type { ModelConfig } from "../config/model.ts";
import {
  add,
  concat,
  crossEntropy,
  div,
  gatherRows,
  less,
  max,
  mul,
  oneHot,
  pick,
  reshape,
  softmax,
  sum,
  where,
} from "../graph/build.ts";
import { type Shape, times } from "../graph/shape.ts";
import { dim, is, type Tensor, topological } from "../graph/tensor.ts";
import type { Training } from "../layers/layers.ts";
import type { Between } from "../levels/kind.ts";
import type { PixelNetwork } from "../levels/pixel.ts";
import { kindOf } from "../levels/table.ts";
import { feed, levelFeed, weightsFeed } from "./feeds.ts";
import { type LevelNetwork, networksOf } from "./networks.ts";
import { meanColour, normalize, patchify, toBytes } from "./patches.ts";

export interface LossGraph {
  /**
   * Scalar: the sum over pixels and channels of `weights.pixels` times nats, plus the guiding pixels' nats times their
   * weights.
   */
  loss: Tensor;
  /** Nats of each channel, summed over the predicted pixels: [C]. */
  nats: Tensor;
  /** The same for each level's guiding pixels. */
  guidingNats: Map<number, Tensor>;
  /** Nats of every predicted pixel [K, C], and of every square's guiding pixel [R, C], by level. */
  each: { pixels: Tensor; guiding: (Tensor | undefined)[] };
  /** The likeliest byte for every value of these pixels: its probability, and whether it is correct, [K, C] each. */
  likeliest: { probability: Tensor; right: Tensor };
  /** Logits of each channel of the predicted pixels: [K, 256] each. */
  logits: Tensor[];
  /** The first level's output at every patch: [B * N, D]. */
  firstLevel: Tensor;
  /** By name, in the order of the checkpoint. */
  parameters: Map<string, Tensor>;
}

/** The squares that a level is trained on. */
export interface TaughtSquares {
  /** [R, C, S, S], normalised. */
  images: Tensor;
  /** [R, c, D'] */
  conditions: Tensor;
}

/** The loss graph. Its inputs are `LossFeeds`, without `mask`, `take` and `inverse` of levels that hide no patches. */
export function lossGraph(config: ModelConfig): LossGraph {
  const networks = networksOf(config);
  const weights = weightsFeed(config);
  let squares = firstSquares(config, networks);
  let firstLevel: Tensor | undefined;
  const losses: Tensor[] = [];
  const guidingNats = new Map<number, Tensor>();
  const guiding: (Tensor | undefined)[] = [];

  networks.levels.forEach((one, l) => {
    const { level } = one;
    const rows = dim(squares.images, 0);
    const taught = teachLevel(one, { ...squares, mask: maskOf(one, l, [rows, level.tokens]) });
    const { out, patches } = taught;
    firstLevel ??= out;
    guiding.push(taught.guiding?.each);
    if (taught.guiding) {
      guidingNats.set(l, taught.guiding.nats);
      losses.push(sum(mul(taught.guiding.nats, weights.guiding(l)), [0]));
    }
    if (!kindOf(level).order.hides) squares = everyPatch(one, { out, patches });
    else {
      const count = level.conditionsRead;
      const take = levelFeed("take", l, "int32", [`R${l + 1}`, count]);
      const inverse = levelFeed("inverse", l, "int32", [times(rows, level.tokens), count]);
      squares = passedDown(one, { out, patches }, { take, inverse });
    }
  });

  const { condition, bytes } = pixelsOf(config, squares);
  const logits = networks.pixels.teach({ condition, bytes });
  const nats = natsOf(logits, bytes);
  losses.push(sum(mul(nats, weights.pixels()), [0]));
  const loss = losses.reduce((a, b) => add(a, b));
  const each = { pixels: eachNats(logits, bytes), guiding };
  const used = new Map(
    topological([loss]).flatMap((x) => (is(x, "parameter") ? [[x.attributes.name, x as Tensor]] : [])),
  );
  return {
    loss,
    nats,
    logits,
    guidingNats,
    each,
    likeliest: likeliestByte(logits, bytes),
    firstLevel: firstLevel!,
    parameters: new Map(networks.parameters.map(({ name }) => [name, used.get(name)!])),
  };
}

/** The first level's squares: all images, with their labels as conditions. */
export function firstSquares(
  { imageSize, channels }: ModelConfig,
  { label, levels }: Pick<ReturnType<typeof networksOf>, "label" | "levels">,
): TaughtSquares {
  const images = feed("images", "uint8", ["B", imageSize, imageSize, channels]);
  return {
    images: normalize(images),
    conditions: repeated(label(feed("labels", "int32", ["B"])), levels[0].level.conditions),
  };
}

/** The mask input of level l, if its kind hides patches. */
export const maskOf = ({ level }: LevelNetwork, l: number, shape: Shape): Tensor | undefined =>
  kindOf(level).order.hides ? levelFeed("mask", l, "float32", shape) : undefined;

/** The result of a level: its output at every patch [R * N, D], and the patches [R * N, C p p]. */
export interface TaughtLevel {
  out: Tensor;
  patches: Tensor;
}

/**
 * Runs one level over its squares with teacher forcing. If it has guiding pixels, also returns their nats: summed [C],
 * and for each square [R, C]. `weight` [R] multiplies each square's part of the sum; 1 by default.
 */
export function teachLevel(
  { level, network, guidingPixel }: LevelNetwork,
  {
    images,
    conditions,
    mask,
    weight,
    training,
    between,
  }: TaughtSquares & { mask?: Tensor; weight?: Tensor; training?: Training; between?: Between },
): TaughtLevel & { guiding?: { nats: Tensor; each: Tensor } } {
  const patches = patchify(images, level.patch);
  const colour = guidingPixel && meanColour(images);
  const out = network.teach({ conditions, colour, patches, mask, training, between });
  if (!guidingPixel || !colour) return { out, patches };
  const bytes = toBytes(colour);
  const logits = guidingPixel.teach({
    condition: middle(conditions),
    bytes,
    training: training && {}, // no dropout, as for the pixels
  });
  return { out, patches, guiding: { nats: natsOf(logits, bytes, weight), each: eachNats(logits, bytes) } };
}

/** All patches of a level as squares of the next level, each with its own output as its only condition. */
const everyPatch = ({ level }: LevelNetwork, { out, patches }: TaughtLevel): TaughtSquares => ({
  conditions: reshape(out, [dim(out, 0), 1, level.width]),
  images: reshape(patches, [dim(patches, 0), level.channels, level.patch, level.patch]),
});

/** The patches `take` [.., c] as squares of the next level, or as pixels; gradients need the inverse index. */
export function passedDown(
  { level: { channels, patch } }: Pick<LevelNetwork, "level">,
  { out, patches }: TaughtLevel,
  { take, inverse }: { take: Tensor; inverse?: Tensor },
): TaughtSquares {
  const own = pick(take, -1, (dim(take, -1) as number) - 1);
  return {
    conditions: gatherRows(out, take, inverse),
    images: reshape(gatherRows(patches, own), [dim(take, 0), channels, patch, patch]),
  };
}

/** Squares of one pixel: the condition [K, D'] and bytes [K, C] of each. */
export function pixelsOf(
  { channels }: ModelConfig,
  { images, conditions }: TaughtSquares,
): { condition: Tensor; bytes: Tensor } {
  return {
    condition: middle(conditions),
    bytes: toBytes(reshape(images, [dim(images, 0), channels])),
  };
}

/** The middle condition, which is the last one: [R, c, D] -> [R, D]. */
export const middle = (conditions: Tensor): Tensor => pick(conditions, 1, (dim(conditions, 1) as number) - 1);

/** x [R, D] -> [R, count, D] */
export const repeated = (x: Tensor, count: number): Tensor =>
  concat(
    Array.from({ length: count }, () => reshape(x, [dim(x, 0), 1, dim(x, 1)])),
    1,
  );

/**
 * Nats [C]: -log p of colours, bytes [K, C] int32, given conditions [K, D'], summed over K, each times its `weight` [K],
 * 1 by default.
 */
export const pixelNats = (
  network: PixelNetwork,
  { weight, ...given }: Parameters<PixelNetwork["teach"]>[0] & { weight?: Tensor },
): Tensor => natsOf(network.teach(given), given.bytes, weight);

/** The same for every colour, without weights: [K, C]. */
const eachNats = (logits: readonly Tensor[], bytes: Tensor): Tensor =>
  concat(
    logits.map((one, c) => reshape(crossEntropy(one, pick(bytes, 1, c)), [dim(one, 0), 1])),
    1,
  );

/** If n bytes tie for likeliest, the correct one among them counts 1 / n, as if one of them were drawn at random. */
function likeliestByte(logits: readonly Tensor[], bytes: Tensor): LossGraph["likeliest"] {
  const perChannel = logits.map((one, c) => {
    const among = where(less(one, max(one)), 0, 1); // [K, 256]
    const hit = mul(among, oneHot(pick(bytes, 1, c), 256));
    return {
      probability: max(softmax(one)),
      right: div(sum(hit, [1], { keep: true }), sum(among, [1], { keep: true })),
    };
  });
  const together = (name: "probability" | "right") =>
    concat(
      perChannel.map((one) => one[name]),
      1,
    );
  return { probability: together("probability"), right: together("right") };
}

function natsOf(logits: readonly Tensor[], bytes: Tensor, weight?: Tensor): Tensor {
  const perChannel = logits.map((one, c) => {
    const nats = crossEntropy(one, pick(bytes, 1, c)); // [K]
    return reshape(sum(weight ? mul(nats, weight) : nats, [0]), [1]);
  });
  return concat(perChannel, 0);
}
