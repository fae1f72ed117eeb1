/** The whole model's loss, teacher forced, as one graph for training and for likelihood. */

import {
  conditionsRead,
  guidingPixelLevel,
  type ModelConfig,
  type PlacedLevel,
  pixelLevel,
  placedLevels,
} from "../config/model.ts";
import {
  add,
  concat,
  crossEntropy,
  embedding,
  gatherRows,
  input,
  mul,
  parameter,
  pick,
  reshape,
  sum,
} from "../graph/build.ts";
import { type Dim, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { type Dropout, scope, type Weights } from "./layers.ts";
import { type PlacedAr, type PlacedMar, prefix, teachAr, teachMar, teachPixels } from "./levels.ts";
import { levelPrefix, modelParameters, pixelPrefix } from "./parameters.ts";
import { meanColour, normalize, patchify, toBytes } from "./patches.ts";

export interface LossGraph {
  /** Scalar: over pixels and channels, sum of `weights.pixels` times nats; plus the guiding pixels' with theirs. */
  loss: Tensor;
  /** Nats of each channel, summed over the pixels that were predicted: [C]. */
  nats: Tensor;
  /** The same of each level's guiding pixels. */
  guidingNats: Map<number, Tensor>;
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
 * guiding pixels, `weights.guiding.l` [C]; `seed` with dropout.
 */
export function lossGraph(config: ModelConfig, { attentionDropout = 0, projectionDropout = 0 } = {}): LossGraph {
  const { channels, imageSize } = config;
  const { weights, parameters } = weightsOf(config);
  const dropout = dropoutOf(attentionDropout, projectionDropout);
  const channelWeights = (name: string) => input(`weights.${name}`, "float32", [channels]);

  let images = normalize(input("images", "uint8", ["B", imageSize, imageSize, channels])); // [R, C, S, S]
  const label = labelEmbedding(weights, input("labels", "int32", ["B"]));
  let conditions = repeat(label, conditionsTaken(placedLevels(config)[0])); // [R, c, D']
  let firstLevel: Tensor | undefined;
  const losses: Tensor[] = [];
  const guidingNats = new Map<number, Tensor>();

  placedLevels(config).forEach((level, l) => {
    const scoped = scope(weights, levelPrefix(l));
    const patches = patchify(images, level.patch); // [R * N, C p p]
    let colour: Tensor | undefined;
    if (level.kind === "mar" && level.guidingPixel) {
      colour = meanColour(images);
      const nats = pixelNats(scope(scoped, "guiding_pixel_loss."), guidingPixelLevel, middle(conditions), colour);
      guidingNats.set(l, nats);
      losses.push(sum(mul(nats, channelWeights(`guiding.${l}`)), [0]));
    }
    const before = prefix(scoped, level, conditions, colour);
    const count = conditionsRead(config, l);
    const square = [channels, level.patch, level.patch];
    if (level.kind === "ar") {
      const out = teachAr(scoped, level as PlacedAr, { patches, prefix: before, dropout });
      firstLevel ??= out;
      conditions = reshape(out, [dim(out, 0), 1, level.width]);
      images = reshape(patches, [dim(patches, 0), ...square]);
    } else {
      const mask = input(`mask.${l}`, "float32", [dim(images, 0), level.tokens]);
      const out = teachMar(scoped, level as PlacedMar, { patches, mask, prefix: before, dropout });
      firstLevel ??= out;
      const taken: Dim = `R${l + 1}`;
      const take = input(`take.${l}`, "int32", [taken, count]);
      const inverse = input(`inverse.${l}`, "int32", [times(dim(images, 0), level.tokens), count]);
      conditions = gatherRows(out, take, inverse);
      images = reshape(gatherRows(patches, pick(take, 1, count - 1)), [taken, ...square]);
    }
  });

  const pixels = reshape(images, [dim(images, 0), channels]);
  const nats = pixelNats(scope(weights, pixelPrefix(config)), pixelLevel(config), middle(conditions), pixels);
  losses.push(sum(mul(nats, channelWeights("pixels")), [0]));
  return { loss: losses.reduce((a, b) => add(a, b)), nats, guidingNats, firstLevel: firstLevel!, parameters };
}

/** The middle condition, which stands last: [R, c, D] -> [R, D]. */
const middle = (conditions: Tensor): Tensor => pick(conditions, 1, (dim(conditions, 1) as number) - 1);

const conditionsTaken = (level: PlacedLevel): number => (level.kind === "mar" ? level.conditions : 1);

/** x [R, D] -> [R, count, D] */
export const repeat = (x: Tensor, count: number): Tensor =>
  concat(
    Array.from({ length: count }, () => reshape(x, [dim(x, 0), 1, dim(x, 1)])),
    1,
  );

/** -log p of colours [K, C] given conditions [K, D'], summed over K: [C], nats. */
function pixelNats(weights: Weights, level: typeof guidingPixelLevel, condition: Tensor, colours: Tensor): Tensor {
  const bytes = toBytes(colours);
  const perChannel = teachPixels(weights, level, condition, bytes).map((logits, c) =>
    reshape(sum(crossEntropy(logits, pick(bytes, 1, c)), [0]), [1]),
  );
  return concat(perChannel, 0);
}

function dropoutOf(attention: number, projection: number): Dropout | undefined {
  if (attention === 0 && projection === 0) return undefined;
  let salt = 0;
  return { attention, projection, seed: input("seed", "int32", []), salt: () => salt++ };
}
