/** The whole model's loss, teacher forced, as one graph; `training.ts` has it with its gradients. */

import {
  conditionsRead,
  guidingPixelLevel,
  type ModelConfig,
  type PixelLevel,
  type PlacedLevel,
  pixelLevel,
  placedLevels,
} from "../config/model.ts";
import {
  add,
  concat,
  crossEntropy,
  div,
  embedding,
  gatherRows,
  input,
  less,
  max,
  mul,
  oneHot,
  parameter,
  pick,
  reshape,
  softmax,
  sum,
  where,
} from "../graph/build.ts";
import { type Dim, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { scope, type Training, type Weights } from "./layers.ts";
import { type Between, type PlacedAr, type PlacedMar, prefix, teachAr, teachMar, teachPixels } from "./levels.ts";
import { levelPrefix, modelParameters, pixelPrefix } from "./parameters.ts";
import { meanColour, normalize, patchify, toBytes } from "./patches.ts";

export interface LossGraph {
  /** Scalar: over pixels and channels, sum of `weights.pixels` times nats; plus the guiding pixels' with theirs. */
  loss: Tensor;
  /** Nats of each channel, summed over the pixels that were predicted: [C]. */
  nats: Tensor;
  /** The same of each level's guiding pixels. */
  guidingNats: Map<number, Tensor>;
  /** Nats of every pixel that was predicted [K, C], and of every square's guiding pixel [R, C], by level. */
  each: { pixels: Tensor; guiding: Map<number, Tensor> };
  /** Of every value of these pixels the likeliest byte: its probability, and whether it was right, [K, C] each. */
  likeliest: { probability: Tensor; right: Tensor };
  /** Of each channel of the pixels that were predicted: [K, 256] each. */
  logits: Tensor[];
  /** The first level's output at every patch: [B * N, D]. */
  firstLevel: Tensor;
  /** By name, in the order of the checkpoint. */
  parameters: Map<string, Tensor>;
}

/** Weights as graph parameters, each made once. */
export function weightsOf(config: ModelConfig): { weights: Weights; parameters: Map<string, Tensor> } {
  const parameters = new Map(modelParameters(config).map(({ name, shape }) => [name, parameter(name, shape)]));
  const weights = (name: string): Tensor => {
    const found = parameters.get(name);
    if (!found) throw new Error(`the model has no parameter ${name}`);
    return found;
  };
  return { weights, parameters };
}

/** The embedding of labels [R] int32, where the number of classes stands for the null class: -> [R, D]. */
export const labelEmbedding = (weights: Weights, labels: Tensor): Tensor =>
  embedding(concat([weights("class_emb.weight"), weights("fake_latent")], 0), labels);

/**
 * Inputs: `images` bytes [B, S, S, C]; `labels` [B]; for each MAR level l, with R rows and M patches that go down,
 * `mask.l` [R, N], `take.l` [M, c] and `inverse.l` [R * N, c] (made by plan.ts); `weights.pixels` and, where there are
 * guiding pixels, `weights.guiding.l` [C].
 */
export function lossGraph(config: ModelConfig): LossGraph {
  const { channels, imageSize } = config;
  const { weights, parameters } = weightsOf(config);
  const channelWeights = (name: string) => input(`weights.${name}`, "float32", [channels]);

  let images = normalize(input("images", "uint8", ["B", imageSize, imageSize, channels])); // [R, C, S, S]
  const label = labelEmbedding(weights, input("labels", "int32", ["B"]));
  let conditions = repeat(label, conditionsTaken(placedLevels(config)[0])); // [R, c, D']
  let firstLevel: Tensor | undefined;
  const losses: Tensor[] = [];
  const guidingNats = new Map<number, Tensor>();
  const guiding = new Map<number, Tensor>();

  placedLevels(config).forEach((level, l) => {
    const rows = dim(images, 0);
    const mask = level.kind === "mar" ? input(`mask.${l}`, "float32", [rows, level.tokens]) : undefined;
    const taught = teachLevel(scope(weights, levelPrefix(l)), level, { images, conditions, mask });
    const { out, patches } = taught;
    firstLevel ??= out;
    if (taught.guidingNats) {
      guidingNats.set(l, taught.guidingNats);
      guiding.set(l, taught.guidingEach!);
      losses.push(sum(mul(taught.guidingNats, channelWeights(`guiding.${l}`)), [0]));
    }
    const square = [channels, level.patch, level.patch];
    if (level.kind === "ar") {
      conditions = reshape(out, [dim(out, 0), 1, level.width]);
      images = reshape(patches, [dim(patches, 0), ...square]);
    } else {
      const count = conditionsRead(config, l);
      const taken: Dim = `R${l + 1}`;
      const take = input(`take.${l}`, "int32", [taken, count]);
      const inverse = input(`inverse.${l}`, "int32", [times(rows, level.tokens), count]);
      conditions = gatherRows(out, take, inverse);
      images = reshape(gatherRows(patches, pick(take, 1, count - 1)), [taken, ...square]);
    }
  });

  const pixels = reshape(images, [dim(images, 0), channels]);
  const given = { condition: middle(conditions), bytes: toBytes(pixels) };
  const logits = teachPixels(scope(weights, pixelPrefix(config)), pixelLevel(config), given);
  const nats = natsOf(logits, given.bytes);
  losses.push(sum(mul(nats, channelWeights("pixels")), [0]));
  const each = { pixels: eachNats(logits, given.bytes), guiding };
  const loss = losses.reduce((a, b) => add(a, b));
  const likeliest = likeliestByte(logits, given.bytes);
  return { loss, nats, logits, guidingNats, each, likeliest, firstLevel: firstLevel!, parameters };
}

/** The squares that a level is taught on. */
export interface Squares {
  /** [R, C, S, S], normalised. */
  images: Tensor;
  /** [R, c, D'] */
  conditions: Tensor;
  /** [R, N], of MAR levels: 1 where a patch is hidden. */
  mask?: Tensor;
  /** [R]: 0 for squares that only fill up a group, whose guiding pixels do not count. */
  valid?: Tensor;
  training?: Training;
  between?: Between;
}

/**
 * One level over its squares, teacher forced: its output at every patch [R * N, D], the patches [R * N, C p p], and the
 * guiding pixels' nats, summed [C] and each [R, C].
 */
export function teachLevel(
  weights: Weights,
  level: PlacedLevel,
  { images, conditions, mask, valid, training, between }: Squares,
): { out: Tensor; patches: Tensor; guidingNats?: Tensor; guidingEach?: Tensor } {
  const patches = patchify(images, level.patch);
  const colour = level.kind === "mar" && level.guidingPixel ? meanColour(images) : undefined;
  const bytes = colour && toBytes(colour);
  const logits =
    bytes &&
    teachPixels(scope(weights, "guiding_pixel_loss."), guidingPixelLevel, {
      condition: middle(conditions),
      bytes,
      training: training && {}, // no dropout, as in the pixels
    });
  const guiding = logits && { guidingNats: natsOf(logits, bytes!, valid), guidingEach: eachNats(logits, bytes!) };
  const before = prefix(weights, level, conditions, colour);
  const out =
    level.kind === "ar"
      ? teachAr(weights, level as PlacedAr, { patches, prefix: before, training, between })
      : teachMar(weights, level as PlacedMar, { patches, mask: mask!, prefix: before, training, between });
  return { out, patches, ...guiding };
}

/** The middle condition, which stands last: [R, c, D] -> [R, D]. */
export const middle = (conditions: Tensor): Tensor => pick(conditions, 1, (dim(conditions, 1) as number) - 1);

export const conditionsTaken = (level: PlacedLevel): number => (level.kind === "mar" ? level.conditions : 1);

/** x [R, D] -> [R, count, D] */
export const repeat = (x: Tensor, count: number): Tensor =>
  concat(
    Array.from({ length: count }, () => reshape(x, [dim(x, 0), 1, dim(x, 1)])),
    1,
  );

/** -log p of colours, bytes [K, C] int32, given conditions [K, D'], summed over K: [C], nats. */
export function pixelNats(
  weights: Weights,
  level: PixelLevel,
  given: { condition: Tensor; bytes: Tensor; training?: Training },
): Tensor {
  return natsOf(teachPixels(weights, level, given), given.bytes);
}

/** The same of every colour: [K, C]. */
const eachNats = (logits: readonly Tensor[], bytes: Tensor): Tensor =>
  concat(
    logits.map((one, c) => reshape(crossEntropy(one, pick(bytes, 1, c)), [dim(one, 0), 1])),
    1,
  );

/** Where n bytes are the likeliest alike, the right one among them counts 1 / n, as if one of them were drawn. */
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

function natsOf(logits: readonly Tensor[], bytes: Tensor, valid?: Tensor): Tensor {
  const perChannel = logits.map((one, c) => {
    const nats = crossEntropy(one, pick(bytes, 1, c)); // [K]
    return reshape(sum(valid ? mul(nats, valid) : nats, [0]), [1]);
  });
  return concat(perChannel, 0);
}
