/**
 * The training loss with all gradients as one graph. The last level above the pixels, where nearly all tokens are, goes
 * round a loop, a group of squares at a time, so that what it computes stays in the processor's cache.
 */

import { conditionsRead, type ModelConfig, pixelLevel, placedLevels } from "../config/model.ts";
import { add, cast, constant, gatherRows, input, loop, loopIndex, mul, pick, pickAt, reshape, rowsBetween } from "../graph/build.ts";
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
      dropout: dropout?.(l, dim(squares.images, 0), round),
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
    const results: [string, LoopResult][] = Object.entries(inside).map(([name, value]) => [
      name,
      { value, how: name === "d.conditions" ? "stack" : "sum" },
    ]);
    const found = loop(
      input("rounds", "int64", []),
      round,
      results.map(([, result]) => result),
    );
    results.forEach(([name], i) => (outputs[name] = found[i]));
    const { "d.conditions": back } = outputs;
    delete outputs["d.conditions"];
    const all = gatherRows(out, reshape(take, [times("rounds", "G"), count]), inverse);
    starts.set(all, reshape(back, all.shape));
  }
  return last === 0
    ? lastLevel({ images, conditions })
    : { ...outputs, ...gradientsByName(starts, []) };

  /** The last level above the pixels and they themselves: nats and gradients, `d.conditions` too where they are given. */
  function lastLevel(given: { images: Tensor; conditions: Tensor; round?: Tensor }): Record<string, Tensor> {
    const level = levels[last];
    const { round } = given;
    const rows = dim(given.images, 0);
    const grouped = (name: string, dtype: "float32" | "int32", shape: number[]) =>
      round
        ? pickAt(input(name, dtype, ["rounds", "G", ...shape]), round)
        : input(name, dtype, [rows, ...shape]);
    const mask = level.kind === "mar" ? grouped(`mask.${last}`, "float32", [level.tokens]) : undefined;
    const valid = level.kind === "mar" && level.guidingPixel ? grouped("valid", "float32", []) : undefined;
    const { out, patches, guidingNats } = teach(last, { ...given, mask, valid });
    const inverse = reshape(grouped(`inverse.${last}`, "int32", [level.tokens]), [times(rows, level.tokens), 1]);
    const takes = input(`take.${last}`, "int32", ["pixels", 1]);
    const take = round
      ? rowsBetween(takes, input("bounds", "int64", ["bounds"]), { index: round, rows: "K" })
      : takes;
    const count = dim(take, 0);
    const condition = reshape(gatherRows(out, take, inverse), [count, level.width]);
    const bytes = toBytes(reshape(gatherRows(patches, take), [count, channels]));
    const nats = pixelNats(scope(weights, pixelPrefix(config)), pixelLevel(config), { condition, bytes });
    const found: Record<string, Tensor> = { nats };
    const flow = new Map([[nats, channelWeights("pixels")]]);
    if (guidingNats) flow.set((found[`guidingNats.${last}`] = guidingNats), channelWeights(`guiding.${last}`));
    return { ...found, ...gradientsByName(flow, round ? [["d.conditions", given.conditions]] : []) };
  }
}

/** `d.NAME` of every parameter on the way, and of the tensors asked for beside them, beyond which nothing is sought. */
function gradientsByName(
  starts: ReadonlyMap<Tensor, Tensor>,
  beside: readonly [string, Tensor][],
): Record<string, Tensor> {
  const beyond = new Set(topological(beside.map(([, x]) => x)));
  const used = topological([...starts.keys()]).filter(
    (x): x is Tensor<"parameter"> => x.op === "parameter" && !beyond.has(x),
  );
  const wanted = [...used.map((x): [string, Tensor] => [`d.${x.attributes.name}`, x]), ...beside];
  const found = gradients(
    starts,
    wanted.map(([, x]) => x),
  );
  return Object.fromEntries(wanted.map(([name], i) => [name, found[i]]));
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
