/**
 * The training loss with all gradients, as one graph or in parts, of which only what they hand on is kept. The last level
 * above the pixels, where nearly all tokens are, goes round a loop, a group of squares at a time, so that what it computes
 * stays in the processor's cache.
 */

import { conditionsRead, type ModelConfig, pixelLevel, placedLevels } from "../config/model.ts";
import {
  add,
  cast,
  constant,
  gatherRows,
  input,
  loop,
  loopIndex,
  mul,
  pick,
  pickAt,
  reshape,
  rowsBetween,
} from "../graph/build.ts";
import { gradients } from "../graph/gradient.ts";
import { type Dim, times } from "../graph/shape.ts";
import { dim, type LoopResult, type Tensor, topological } from "../graph/tensor.ts";
import type { Dropout } from "./layers.ts";
import { scope } from "./layers.ts";
import { conditionsTaken, labelEmbedding, pixelNats, repeat, type Squares, teachLevel, weightsOf } from "./loss.ts";
import { levelPrefix, pixelPrefix } from "./parameters.ts";
import { normalize, toBytes } from "./patches.ts";

export interface DropoutRates {
  attentionDropout?: number;
  projectionDropout?: number;
}

export interface TrainingOptions extends DropoutRates {
  /** Keep only checkpoints of the forward pass, and compute what lies between them again for the gradients. */
  checkpointing?: boolean;
}

/** What lies between two checkpoints: runs forward first, and then, from the last part to the first, backward. */
export interface TrainingPart {
  /** The checkpoint at its end, with which the next part begins; the last part has none. */
  forward: Record<string, Tensor>;
  /**
   * `nats` of the pixels [C] and `guidingNats.l` [C] as far as they come up here, `d.NAME` of every parameter in it, and
   * the gradient of the checkpoint that it begins with, which the part before takes.
   */
  backward: Record<string, Tensor>;
}

/**
 * Loss and gradients as one graph. Inputs as those of lossGraph, in groups as `inGroups` in plan.ts has them; with dropout
 * also `seed` and `first` [L], the number that the first square of each level has in the whole batch.
 */
export const trainingGraph = (config: ModelConfig, rates: DropoutRates = {}): Record<string, Tensor> =>
  trainingParts(config, { ...rates, checkpointing: false })[0].backward;

/**
 * The same in parts: one without checkpointing. With it there is a checkpoint after every level but the last, and within
 * a level of n blocks one every sqrt(n) (Chen et al. 2016, arXiv 1604.06174). The loop of the last level keeps nothing.
 */
export function trainingParts(
  config: ModelConfig,
  { checkpointing = false, ...rates }: TrainingOptions = {},
): TrainingPart[] {
  const { channels, imageSize } = config;
  const { weights } = weightsOf(config);
  const levels = placedLevels(config);
  const last = levels.length - 1;
  const dropout = dropoutOf(rates);
  const channelWeights = (name: string) => input(`weights.${name}`, "float32", [channels]);
  const parts: Part[] = [newPart()];

  /** Ends a part at x; the next one begins with what is returned. */
  const checkpoint = (x: Tensor): Tensor => {
    if (!checkpointing) return x;
    const name = `checkpoint.${parts.length}`;
    const ended = parts.at(-1)!;
    ended.forward[name] = x;
    ended.starts.set(x, input(`d.${name}`, "float32", x.shape));
    const given = input(name, "float32", x.shape);
    parts.push({ ...newPart(), given: { name, value: given } });
    return given;
  };

  let images = normalize(input("images", "uint8", ["B", imageSize, imageSize, channels]));
  let conditions = repeat(labelEmbedding(weights, input("labels", "int32", ["B"])), conditionsTaken(levels[0]));
  const teach = (l: number, { round, ...squares }: Squares & { round?: Tensor }) => {
    const stretch = Math.round(Math.sqrt(levels[l].depth));
    return teachLevel(scope(weights, levelPrefix(l)), levels[l], {
      ...squares,
      training: { dropout: dropout?.(l, dim(squares.images, 0), round) },
      between: (x, block) => (round || block % stretch > 0 ? x : checkpoint(x)),
    });
  };
  const square = (l: number) => [channels, levels[l].patch, levels[l].patch];

  for (let l = 0; l < last; l++) {
    const rows = dim(images, 0);
    const mask = levels[l].kind === "mar" ? input(`mask.${l}`, "float32", [rows, levels[l].tokens]) : undefined;
    const own = parts.at(-1)!; // what the level begins with, its guiding pixels among it
    const { out: end, patches, guidingNats } = teach(l, { images, conditions, mask });
    if (guidingNats) own.starts.set((own.nats[`guidingNats.${l}`] = guidingNats), channelWeights(`guiding.${l}`));
    const out = checkpoint(end);
    const count = conditionsRead(config, l);
    const inverse = input(`inverse.${l}`, "int32", [times(rows, levels[l].tokens), count]);
    if (l + 1 === last) {
      finish(lastInRounds(out, { patches, count, inverse }));
      break;
    }
    const take = input(`take.${l}`, "int32", [`R${l + 1}`, count]);
    conditions = gatherRows(out, take, inverse);
    images = reshape(gatherRows(patches, pick(take, 1, count - 1)), [`R${l + 1}`, ...square(l)]);
  }
  if (last === 0) finish(lastLevel({ images, conditions }));
  return parts.map(({ forward, nats, ...part }) => ({ forward, backward: { ...nats, ...gradientsByName(part) } }));

  function finish({ nats, starts }: Pick<Part, "nats" | "starts">): void {
    const part = parts.at(-1)!;
    Object.assign(part.nats, nats);
    for (const [x, dx] of starts) part.starts.set(x, dx);
  }

  /** The same as lastLevel from what the level above gives, group by group: nats, and gradients of all that is outside. */
  function lastInRounds(
    out: Tensor,
    { patches, count, inverse }: { patches: Tensor; count: number; inverse: Tensor },
  ): Pick<Part, "nats" | "starts"> {
    const take = input(`take.${last - 1}`, "int32", ["rounds", "G", count]);
    const round = loopIndex();
    const taken = pickAt(take, round);
    const given = gatherRows(out, taken);
    const inside = lastLevel({
      conditions: given,
      images: reshape(gatherRows(patches, pick(taken, 1, count - 1)), ["G", ...square(last - 1)]),
      round,
    });
    const used = usedWeights([...inside.starts.keys()], new Set(topological([given])));
    const wanted = gradients(inside.starts, [...used, given]);
    const back = wanted.pop()!;
    const found = loop(input("rounds", "int64", []), round, [
      ...Object.values(inside.nats).map((value): LoopResult => ({ value, how: "sum" })),
      ...wanted.map((value): LoopResult => ({ value, how: "sum" })),
      { value: back, how: "stack" },
    ]);
    const nats = Object.fromEntries(Object.keys(inside.nats).map((name) => [name, found.shift()!]));
    const starts = new Map(used.map((weight) => [weight, found.shift()!]));
    const all = gatherRows(out, reshape(take, [times("rounds", "G"), count]), inverse);
    starts.set(all, reshape(found.shift()!, all.shape));
    return { nats, starts };
  }

  /** The last level above the pixels: nats, and the loss's gradients for them. */
  function lastLevel(given: { images: Tensor; conditions: Tensor; round?: Tensor }): Pick<Part, "nats" | "starts"> {
    const level = levels[last];
    const { round } = given;
    const rows = dim(given.images, 0);
    const grouped = (name: string, dtype: "float32" | "int32", shape: number[]) =>
      round ? pickAt(input(name, dtype, ["rounds", "G", ...shape]), round) : input(name, dtype, [rows, ...shape]);
    const mask = level.kind === "mar" ? grouped(`mask.${last}`, "float32", [level.tokens]) : undefined;
    const valid = level.kind === "mar" && level.guidingPixel ? grouped("valid", "float32", []) : undefined;
    const { out, patches, guidingNats } = teach(last, { ...given, mask, valid });
    const inverse = reshape(grouped(`inverse.${last}`, "int32", [level.tokens]), [times(rows, level.tokens), 1]);
    const takes = input(`take.${last}`, "int32", ["pixels", 1]);
    const take = round ? rowsBetween(takes, input("bounds", "int64", ["bounds"]), { index: round, rows: "K" }) : takes;
    const count = dim(take, 0);
    const condition = reshape(gatherRows(out, take, inverse), [count, level.width]);
    const bytes = toBytes(reshape(gatherRows(patches, take), [count, channels]));
    const pixels = pixelNats(scope(weights, pixelPrefix(config)), pixelLevel(config), {
      condition,
      bytes,
      training: {},
    });
    const nats: Record<string, Tensor> = { nats: pixels };
    const starts = new Map([[pixels, channelWeights("pixels")]]);
    if (guidingNats) starts.set((nats[`guidingNats.${last}`] = guidingNats), channelWeights(`guiding.${last}`));
    return { nats, starts };
  }
}

/** A part that is being built. */
interface Part {
  /** The checkpoint that it begins with. */
  given?: { name: string; value: Tensor };
  forward: Record<string, Tensor>;
  nats: Record<string, Tensor>;
  /** Where gradients start from, and which. */
  starts: Map<Tensor, Tensor>;
}

const newPart = (): Part => ({ forward: {}, nats: {}, starts: new Map() });

/**
 * What follows from weights alone and is used beside what doesn't: the weights as the layers use them, scaled or folded.
 * Gradients of a loop's rounds are added up there, and flow on to the parameters once.
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

/** `d.NAME` of every parameter, and of the checkpoint. */
function gradientsByName({ starts, given }: Pick<Part, "starts" | "given">): Record<string, Tensor> {
  const order = topological([...starts.keys()]);
  const parameters = order.filter((x): x is Tensor<"parameter"> => x.op === "parameter");
  const wanted = new Map<string, Tensor>(parameters.map((x) => [x.attributes.name, x]));
  if (given) wanted.set(given.name, given.value);
  const found = gradients(starts, [...wanted.values()]);
  return Object.fromEntries([...wanted.keys()].map((name, i) => [`d.${name}`, found[i]]));
}

/**
 * Dropout for a level's rows. A mask depends on the row's number in the whole batch, so it is the same however the batch
 * is cut: `first` [L] has each level's first row, and rounds of a loop go on from there.
 */
function dropoutOf({ attentionDropout = 0, projectionDropout = 0 }: DropoutRates) {
  if (attentionDropout === 0 && projectionDropout === 0) return undefined;
  const seed = input("seed", "int32", []);
  const first = input("first", "int32", ["levels"]);
  let salt = 0;
  return (l: number, rows: Dim, round?: Tensor): Dropout => {
    const start = pickAt(first, constant({ dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(l)) }));
    return {
      attention: attentionDropout,
      projection: projectionDropout,
      seed,
      first: round ? add(start, mul(cast(round, "int32"), input("groupRows", "int32", []))) : start,
      rows,
      salt: () => salt++,
    };
  };
}
