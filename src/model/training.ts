/**
 * The training loss with all gradients as one graph. The last level above the pixels, where nearly all tokens are, goes
 * round a loop, a group of squares at a time, so that what it computes stays in the processor's cache.
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

/**
 * `nats` of the pixels [C], `guidingNats.l` [C] of each level with a guiding pixel, and `d.NAME` of every parameter.
 * Inputs as those of lossGraph, in groups as `inGroups` in plan.ts has them; with dropout also `seed` and `first` [L],
 * the number that the first square of each level has in the whole batch.
 */
export function trainingGraph(config: ModelConfig, rates: DropoutRates = {}): Record<string, Tensor> {
  const { channels, imageSize } = config;
  const { weights } = weightsOf(config);
  const levels = placedLevels(config);
  const last = levels.length - 1;
  const dropout = dropoutOf(rates);
  const channelWeights = (name: string) => input(`weights.${name}`, "float32", [channels]);
  const outputs: Record<string, Tensor> = {};
  const starts = new Map<Tensor, Tensor>();

  let images = normalize(input("images", "uint8", ["B", imageSize, imageSize, channels]));
  let conditions = repeat(labelEmbedding(weights, input("labels", "int32", ["B"])), conditionsTaken(levels[0]));
  const teach = (l: number, { round, ...squares }: Squares & { round?: Tensor }) =>
    teachLevel(scope(weights, levelPrefix(l)), levels[l], {
      ...squares,
      training: { dropout: dropout?.(l, dim(squares.images, 0), round) },
    });
  const square = (l: number) => [channels, levels[l].patch, levels[l].patch];

  for (let l = 0; l < last; l++) {
    const rows = dim(images, 0);
    const mask = levels[l].kind === "mar" ? input(`mask.${l}`, "float32", [rows, levels[l].tokens]) : undefined;
    const { out, patches, guidingNats } = teach(l, { images, conditions, mask });
    if (guidingNats) starts.set((outputs[`guidingNats.${l}`] = guidingNats), channelWeights(`guiding.${l}`));
    const count = conditionsRead(config, l);
    const inverse = input(`inverse.${l}`, "int32", [times(rows, levels[l].tokens), count]);
    if (l + 1 < last) {
      const take = input(`take.${l}`, "int32", [`R${l + 1}`, count]);
      conditions = gatherRows(out, take, inverse);
      images = reshape(gatherRows(patches, pick(take, 1, count - 1)), [`R${l + 1}`, ...square(l)]);
      continue;
    }
    const take = input(`take.${l}`, "int32", ["rounds", "G", count]);
    const round = loopIndex();
    const taken = pickAt(take, round);
    const inside = lastLevel({
      conditions: gatherRows(out, taken),
      images: reshape(gatherRows(patches, pick(taken, 1, count - 1)), ["G", ...square(l)]),
      round,
    });
    const wanted = [...inside.wanted];
    const found = loop(input("rounds", "int64", []), round, [
      ...Object.values(inside.nats).map((value): LoopResult => ({ value, how: "sum" })),
      ...wanted.map(([, value]): LoopResult => ({ value, how: "sum" })),
      { value: inside.conditions!, how: "stack" },
    ]);
    for (const name of Object.keys(inside.nats)) outputs[name] = found.shift()!;
    for (const [weight] of wanted) starts.set(weight, found.shift()!);
    const back = found.shift()!;
    const all = gatherRows(out, reshape(take, [times("rounds", "G"), count]), inverse);
    starts.set(all, reshape(back, all.shape));
  }
  if (last === 0) {
    const { nats, wanted } = lastLevel({ images, conditions });
    Object.assign(outputs, nats);
    for (const [weight, gradient] of wanted) starts.set(weight, gradient);
  }
  return { ...outputs, ...gradientsByName(starts) };

  /**
   * The last level above the pixels, and these: nats and the loss's gradients of the weights as they are used, and of the
   * conditions where a loop goes round.
   */
  function lastLevel(given: { images: Tensor; conditions: Tensor; round?: Tensor }): {
    nats: Record<string, Tensor>;
    wanted: Map<Tensor, Tensor>;
    conditions?: Tensor;
  } {
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
    const nats = pixelNats(scope(weights, pixelPrefix(config)), pixelLevel(config), { condition, bytes, training: {} });
    const flow = new Map([[nats, channelWeights("pixels")]]);
    const names: Record<string, Tensor> = { nats };
    if (guidingNats) flow.set((names[`guidingNats.${last}`] = guidingNats), channelWeights(`guiding.${last}`));
    const conditions = round ? [given.conditions] : [];
    const used = usedWeights([...flow.keys()], new Set(topological(conditions)));
    const found = gradients(flow, [...used, ...conditions]);
    return {
      nats: names,
      wanted: new Map(used.map((weight, i) => [weight, found[i]])),
      conditions: round && found.at(-1),
    };
  }
}

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

/** `d.NAME` of every parameter. */
function gradientsByName(starts: ReadonlyMap<Tensor, Tensor>): Record<string, Tensor> {
  const parameters = topological([...starts.keys()]).filter((x): x is Tensor<"parameter"> => x.op === "parameter");
  const found = gradients(starts, parameters);
  return Object.fromEntries(parameters.map(({ attributes }, i) => [`d.${attributes.name}`, found[i]]));
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
