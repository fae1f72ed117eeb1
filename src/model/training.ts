/**
 * The training loss with all gradients, as one graph or in parts between checkpoints. The last level above the pixels,
 * which has nearly all tokens, runs in a loop over groups of squares, so that its intermediate values stay in the
 * processor's cache. A GPU has no use for that and its provider has no Loop, so its graph computes all squares at once.
 */

import type { ModelConfig } from "../config/model.ts";
import {
  add,
  cast,
  constant,
  gatherRows,
  input,
  loop,
  loopIndex,
  mul,
  pickAt,
  reshape,
  rowsBetween,
} from "../graph/build.ts";
import { gradients } from "../graph/gradient.ts";
import { type Dim, times } from "../graph/shape.ts";
import { nameAt } from "../graph/tree.ts";
import { dim, type Tensor, topological } from "../graph/tensor.ts";
import type { Dropout } from "../layers/layers.ts";
import { kindOf } from "../levels/table.ts";
import { feed, levelFeed, pixelWeightFeed, squareWeightFeed, weightsFeed } from "./feeds.ts";
import { firstSquares, maskOf, passedDown, pixelNats, type TaughtSquares, teachLevel } from "./loss.ts";
import { networksOf } from "./networks.ts";
import { toBytes } from "./patches.ts";

export interface DropoutRates {
  attentionDropout?: number;
  projectionDropout?: number;
}

export interface TrainingOptions extends DropoutRates {
  /** Keep only checkpoints of the forward pass, and recompute the values between them for the gradients. */
  checkpointing?: boolean;
  /** Compute the last level in a loop over groups of squares; true by default. Not on a GPU. */
  loop?: boolean;
}

/**
 * Nats [C], summed over the pixels and over the guiding pixels of each level, each times its weight (`weightOf` of the
 * feeds). Those of the last level are computed with the pixels.
 */
export type Nats<T = Tensor> = { guidingNats: (T | undefined)[]; nats?: T; lastGuidingNats?: T };

/** The graphs between two checkpoints. All parts run forward first, and then backward, from the last to the first. */
export type TrainingPart = {
  /** The checkpoint at its end, from which the next part starts; the last part has none. */
  forward: { checkpoint: (Tensor | undefined)[] };
  /**
   * The nats computed in this part, the gradient of each of its parameters by name, and the gradient of the checkpoint
   * that it starts from, which is an input of the preceding part.
   */
  backward: Nats & { d: Record<string, Tensor>; dCheckpoint: (Tensor | undefined)[] };
};

/** Loss and gradients as one graph. Its inputs are `TrainingFeeds`, as made by `inGroups` in plan.ts. */
export const trainingGraph = (config: ModelConfig, rates: DropoutRates = {}): TrainingPart["backward"] =>
  trainingParts(config, { ...rates, checkpointing: false })[0].backward;

/**
 * The same in parts; without checkpointing there is only one. With it, there is a checkpoint after every level but the
 * last, and within a level of n blocks one every sqrt(n) blocks (Chen et al. 2016, arXiv 1604.06174). The loop of the
 * last level keeps no checkpoints; without the loop, the last level has checkpoints like the others.
 */
export function trainingParts(
  config: ModelConfig,
  { checkpointing = false, loop: looped = true, ...rates }: TrainingOptions = {},
): TrainingPart[] {
  const networks = networksOf(config);
  const { levels } = networks;
  const last = levels.length - 1;
  const dropout = dropoutOf(rates);
  const weights = weightsFeed(config);
  const parts: GraphPart[] = [newPart()];

  /** Ends a part at x; returns the tensor from which the next part starts. */
  const checkpoint = (x: Tensor): Tensor => {
    if (!checkpointing) return x;
    const number = parts.length;
    const ended = parts.at(-1)!;
    ended.end = { number, value: x };
    ended.starts.set(x, input(nameAt("dCheckpoint", number), "float32", x.shape));
    const value = input(nameAt("checkpoint", number), "float32", x.shape);
    parts.push({ ...newPart(), given: { number, value } });
    return value;
  };

  const teach = (
    l: number,
    { round, ...squares }: TaughtSquares & { mask?: Tensor; weight?: Tensor; round?: Tensor },
  ) => {
    const stretch = Math.round(Math.sqrt(levels[l].level.depth));
    return teachLevel(levels[l], {
      ...squares,
      training: { dropout: dropout?.(l, dim(squares.images, 0), round) },
      between: (x, block) => (round || block % stretch > 0 ? x : checkpoint(x)),
    });
  };

  let squares = firstSquares(config, networks);
  for (let l = 0; l < last; l++) {
    const { level, guidingPixel } = levels[l];
    const rows = dim(squares.images, 0);
    const own = parts.at(-1)!; // the part in which the level starts; its guiding pixels belong to it
    const mask = maskOf(levels[l], l, [rows, level.tokens]);
    const weight = guidingPixel && squareWeightFeed(l, [rows]);
    const { guiding, ...taught } = teach(l, { ...squares, mask, weight });
    if (guiding) own.starts.set((own.nats.guidingNats[l] = guiding.nats), weights.guiding(l));
    const out = checkpoint(taught.out);
    const count = level.conditionsRead;
    const inverse = levelFeed("inverse", l, "int32", [times(rows, level.tokens), count]);
    const given = { out, patches: taught.patches };
    if (l + 1 === last && looped) {
      finish(lastInRounds(given, inverse));
      break;
    }
    squares = passedDown(levels[l], given, { take: levelFeed("take", l, "int32", [`R${l + 1}`, count]), inverse });
  }
  if (last === 0 || !looped) lastAtOnce(squares);
  return parts.map(({ end, nats, ...part }) => ({
    forward: { checkpoint: placedAt(end?.number, end?.value) },
    backward: { ...nats, ...gradientsOf(part) },
  }));

  function finish({ nats, starts }: Pick<GraphPart, "nats" | "starts">): void {
    const part = parts.at(-1)!;
    part.nats = { ...nats, guidingNats: part.nats.guidingNats };
    for (const [x, dx] of starts) part.starts.set(x, dx);
  }

  /** The last level without a loop. Its checkpoints may end the part in which it starts and which has its guiding pixels. */
  function lastAtOnce(squares: TaughtSquares): void {
    const own = parts.at(-1)!;
    const { nats, starts } = lastLevel(squares);
    for (const [x, dx] of starts) (x === nats.nats ? parts.at(-1)! : own).starts.set(x, dx);
    own.nats.lastGuidingNats = nats.lastGuidingNats;
    parts.at(-1)!.nats.nats = nats.nats;
  }

  /**
   * Like lastLevel, but group by group from the outputs of the level above: nats, and gradients of everything outside
   * the loop.
   */
  function lastInRounds(
    { out, patches }: { out: Tensor; patches: Tensor },
    inverse: Tensor,
  ): Pick<GraphPart, "nats" | "starts"> {
    const above = levels[last - 1];
    const count = above.level.conditionsRead;
    const take = levelFeed("take", last - 1, "int32", ["rounds", "G", count]);
    const round = loopIndex();
    const given = passedDown(above, { out, patches }, { take: pickAt(take, round) });
    const inside = lastLevel({ ...given, round });
    const used = usedWeights([...inside.starts.keys()], new Set(topological([given.conditions])));
    const wanted = gradients(inside.starts, [...used, given.conditions]);
    const back = wanted.pop()!;
    const { sum, stack } = loop(feed("rounds", "int64", []), round, {
      sum: { ...inside.nats, weights: wanted },
      stack: { conditions: back },
    });
    const starts = new Map(used.map((weight, i) => [weight, sum.weights[i]]));
    const all = gatherRows(out, reshape(take, [times("rounds", "G"), count]), inverse);
    starts.set(all, reshape(stack.conditions, all.shape));
    const { weights: _, ...nats } = sum;
    return { nats, starts };
  }

  /** The last level above the pixels: nats, and the gradients of the loss with respect to them. */
  function lastLevel({ round, ...given }: TaughtSquares & { round?: Tensor }): Pick<GraphPart, "nats" | "starts"> {
    const { level, guidingPixel } = levels[last];
    const { tokens, width, channels } = level;
    const rows = dim(given.images, 0);
    /** An input with a value for each square of the current group, or without a loop for all squares. */
    const grouped = (declare: (shape: Dim[]) => Tensor, shape: number[]) =>
      round ? pickAt(declare(["rounds", "G", ...shape]), round) : declare([rows, ...shape]);
    const { hides } = kindOf(level).order;
    const mask = hides ? grouped((shape) => levelFeed("mask", last, "float32", shape), [tokens]) : undefined;
    const weight = guidingPixel && grouped((shape) => squareWeightFeed(last, shape), []);
    const { out, patches, guiding } = teach(last, { ...given, round, mask, weight });
    const inverse = reshape(
      grouped((shape) => levelFeed("inverse", last, "int32", shape), [tokens]),
      [times(rows, tokens), 1],
    );
    const bounds = feed("bounds", "int64", ["bounds"]);
    /** The current group's rows of an input that has one row for each pixel. */
    const ofGroup = (x: Tensor) => (round ? rowsBetween(x, bounds, { index: round, rows: "K" }) : x);
    const take = ofGroup(levelFeed("take", last, "int32", ["pixels", 1]));
    const count = dim(take, 0);
    const condition = reshape(gatherRows(out, take, inverse), [count, width]);
    const bytes = toBytes(reshape(gatherRows(patches, take), [count, channels]));
    const nats = pixelNats(networks.pixels, { condition, bytes, weight: ofGroup(pixelWeightFeed()), training: {} });
    const starts = new Map([[nats, weights.pixels()]]);
    if (guiding) starts.set(guiding.nats, weights.guiding(last));
    return { nats: { guidingNats: [], nats, lastGuidingNats: guiding?.nats }, starts };
  }
}

/** A part under construction. */
interface GraphPart {
  /** The checkpoint that it starts from, and the one at its end. */
  given?: Checkpoint;
  end?: Checkpoint;
  nats: Nats;
  /** The tensors at which backpropagation starts, with their gradients. */
  starts: Map<Tensor, Tensor>;
}

interface Checkpoint {
  number: number;
  value: Tensor;
}

const newPart = (): GraphPart => ({ nats: { guidingNats: [] }, starts: new Map() });

/** A sparse list with x at a place and nothing before it. */
const placedAt = (place: number | undefined, x: Tensor | undefined): (Tensor | undefined)[] =>
  place === undefined || !x ? [] : Object.assign([], { [place]: x });

/**
 * Tensors that depend only on weights and are used by tensors that do not: the weights as the layers use them, scaled
 * or folded. A loop sums the gradients of these over its rounds, and they are propagated to the parameters once.
 */
function usedWeights(outputs: readonly Tensor[], beyond: ReadonlySet<Tensor>): Tensor[] {
  const order = topological(outputs).filter((x) => !beyond.has(x));
  const fixed = new Set<Tensor>();
  const learnt = new Set<Tensor>();
  for (const x of order) {
    if (x.op === "input" || x.op === "loopIndex" || x.inputs.some((from) => !fixed.has(from))) continue;
    fixed.add(x);
    if (x.op === "parameter" || x.inputs.some((from) => learnt.has(from))) learnt.add(x);
  }
  const used = order.filter((x) => !fixed.has(x)).flatMap(({ inputs }) => inputs.filter((from) => learnt.has(from)));
  return [...new Set(used)];
}

/** The gradient of every parameter, by name, and that of the checkpoint. */
function gradientsOf({
  starts,
  given,
}: Pick<GraphPart, "starts" | "given">): Pick<TrainingPart["backward"], "d" | "dCheckpoint"> {
  const order = topological([...starts.keys()]);
  const parameters = order.filter((x): x is Tensor<"parameter"> => x.op === "parameter");
  const found = gradients(starts, given ? [...parameters, given.value] : parameters);
  return {
    d: Object.fromEntries(parameters.map(({ attributes: { name } }, i) => [name, found[i]])),
    dCheckpoint: placedAt(given?.number, given && found.at(-1)),
  };
}

/**
 * Dropout for a level's rows. A mask depends on the row's index within the whole batch, so it is the same however the
 * batch is split: `first` [L] has the index of each level's first row, and the rounds of a loop continue from there.
 */
function dropoutOf({ attentionDropout = 0, projectionDropout = 0 }: DropoutRates) {
  if (attentionDropout === 0 && projectionDropout === 0) return undefined;
  const seed = feed("seed", "int32", []);
  const first = feed("first", "int32", ["levels"]);
  let salt = 0;
  return (l: number, rows: Dim, round?: Tensor): Dropout => {
    const start = pickAt(first, constant({ dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(l)) }));
    return {
      attention: attentionDropout,
      projection: projectionDropout,
      seed,
      first: round ? add(start, mul(cast(round, "int32"), feed("groupRows", "int32", []))) : start,
      rows,
      salt: () => salt++,
    };
  };
}
