/**
 * The MAR kind: a bidirectional transformer over all patches of a square, with a mask token for patches not yet drawn.
 * Patches are generated in random order, several per step. Each patch hands down the outputs at the patch itself and at
 * its neighbours.
 */

import { z } from "zod";
import { float32, int32 } from "../core/arrays.ts";
import {
  add,
  concat,
  constant,
  flatten,
  gatherRows,
  gatherTokens,
  input,
  less,
  reshape,
  slice,
  where,
} from "../graph/build.ts";
import { over, times } from "../graph/shape.ts";
import { nameAt } from "../graph/tree.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { dense, norm, type Training } from "../layers/layers.ts";
import { blocks, declareNorm, type Declare } from "../layers/parameters.ts";
import { declareVit, vitBlock } from "../layers/vit.ts";
import { decodingSteps, readAndTake } from "./decoding.ts";
import {
  type Between,
  type DecodedStep,
  type Decoding,
  type LevelKind,
  type Network,
  type Placed,
  prefixTokens,
} from "./kind.ts";
import { anyOrder } from "./order.ts";
import { patchSide, qkNorm, transformer } from "./schema.ts";
import { declareEmbedding, placed, prefix } from "./tokens.ts";

const schema = z.strictObject({
  kind: z.literal("mar"),
  patch: patchSide,
  ...transformer,
  /** How many of the parent's conditions it uses: the last of left, bottom, right, top, middle. */
  conditions: z.int().min(1).max(5).default(5),
  /** Predict the mean colour first and use it as an additional condition. */
  guidingPixel: z.boolean().default(false),
  qkNorm,
});

export type MarLevel = z.infer<typeof schema>;

export interface MarStep {
  /** [M, c, D] */
  conditions: Tensor;
  [name: string]: Tensor;
}

function network(declare: Declare, level: Placed<MarLevel>): Network<MarStep> {
  const { tokens, width, depth, channels, patch } = level;
  const before = prefixTokens(level);
  const total = before + tokens;
  const maskToken = declare("mask_token", [1, 1, width], "normal");
  const embedding = declareEmbedding(declare, level, total);
  const transformer = blocks(declare, depth, (block) => declareVit(block, level));
  const last = declareNorm(declare, "norm", width);
  const half = constant(float32([0.5], []));

  /** Embeds patches [R * N, C p p] -> [R, N, D]; those with a mask [R, N] above 0.5 become the mask token. */
  function masked(patches: Tensor, mask: Tensor): Tensor {
    const rows = dim(patches, 0);
    const hidden = less(half, reshape(mask, [rows, 1]));
    const shown = dense(embedding.patches, patches);
    return reshape(where(hidden, reshape(maskToken, [1, width]), shown), [over(rows, tokens), tokens, width]);
  }

  /** Runs the blocks over placed tokens [R, T, D]; `read` selects the tokens whose outputs are needed: [R, r, D]. */
  function run(
    x: Tensor,
    { read, training, between }: { read: (x: Tensor) => Tensor; training?: Training; between?: Between },
  ): Tensor {
    const count = dim(x, 1) as number;
    let rows = flatten(x);
    transformer.forEach((block, i) => {
      if (between && i > 0) rows = between(rows, i);
      rows = vitBlock(block, rows, { tokens: count, training, read: i === depth - 1 ? read : undefined });
    });
    return norm(last, rows);
  }

  /** One step: the conditions [M, c, D] of the patches that it draws. */
  function conditionsOf(
    begun: Tensor,
    { patches, mask, read, take, guided }: Record<"patches" | "mask" | "read" | "take", Tensor> & { guided: boolean },
  ): Tensor {
    const after = placed(embedding, masked(flatten(patches), mask), before, total);
    const all = concat([begun, guided ? concat([after, after], 0) : after], 1);
    return gatherRows(flatten(run(all, { read: (x) => gatherTokens(x, read) })), take);
  }

  return {
    begin: (above) => placed(embedding, prefix(embedding, above), 0, before),
    teach({ patches, mask, training, between, ...above }) {
      const shown = concat([prefix(embedding, above), masked(patches, mask!)], 1);
      const read = (x: Tensor) => slice(x, 1, before, total);
      return flatten(run(placed(embedding, shown, 0, total), { read, training, between }));
    },
    /**
     * Inputs: `prefix`; the current `patches` [R, N, C p p] and `mask` [R, N]; `read` [R', r], the tokens whose outputs
     * are needed; `take` [M, c], which of those R' * r outputs serve as conditions (R' * r for a neighbour outside the
     * grid).
     */
    step({ guided }) {
      const rows = times(guided ? 2 : 1, "R");
      const begun = input("prefix", "float32", [rows, before, width]);
      const patches = input("patches", "float32", ["R", tokens, channels * patch ** 2]);
      const mask = input("mask", "float32", ["R", tokens]);
      const read = input("read", "int32", [rows, "r"]);
      const take = input("take", "int32", ["M", level.conditionsRead]);
      return { conditions: conditionsOf(begun, { patches, mask, read, take, guided }) };
    },
    /**
     * Inputs: `prefix` and `patches` as above; `mask.s`, `read.s` and `take.s` of each step s; and, for each but the
     * last, `slots.s` [R * N, 1]: for each patch, its number among those that the step draws, or their total number.
     */
    drawnSteps({ guided, steps, draw }) {
      const ways = guided ? 2 : 1;
      const rows = times(ways, "R");
      const begun = input("prefix", "float32", [rows, before, width]);
      let patches = input("patches", "float32", ["R", tokens, channels * patch ** 2]);
      for (let s = 0; s < steps; s++) {
        const mask = input(nameAt("mask", s), "float32", ["R", tokens]);
        const read = input(nameAt("read", s), "int32", [rows, `r${s}`]);
        const take = input(nameAt("take", s), "int32", [times(ways, `M${s}`), level.conditionsRead]);
        const values = draw(conditionsOf(begun, { patches, mask, read, take, guided }));
        if (s + 1 === steps) break;
        const slots = input(nameAt("slots", s), "int32", [times("R", tokens), 1]);
        // Patches that are not yet drawn are zeros.
        patches = add(patches, reshape(gatherRows(values, slots), patches.shape));
      }
      return [];
    },
    counted: (patches, condition) => ({
      condition: prefix(embedding, { conditions: condition }),
      out: run(masked(patches, input("mask", "float32", ["R", tokens])), { read: (x) => x }),
    }),
  };
}

async function* decode(level: Placed<MarLevel>, squares: Decoding<MarStep>): AsyncGenerator<DecodedStep, void> {
  const { tokens, channels, patch } = level;
  const { rows, ways, prefix, patches, mask, iterations } = squares;
  if (squares.drawing) return yield* drawSteps(level, { ...squares, drawing: squares.drawing });
  for (const { decoded, ...step } of decodingSteps(squares.orders(), mask, { tokens, iterations })) {
    const chosen = squares.wanted(step.chosen);
    if (chosen.row.length === 0) continue;
    const { conditions } = await squares.run({
      prefix,
      patches: float32(patches, [rows, tokens, channels * patch ** 2]),
      mask: float32(mask, [rows, tokens]),
      ...readAndTake(chosen, level, { ways, rows }),
    });
    yield { ...step, chosen, conditions, done: Array.from(decoded, (count) => count / tokens) };
  }
}

/** Several steps per run: what each of them chooses, reads and hides is known before. */
async function* drawSteps(
  level: Placed<MarLevel>,
  squares: Decoding<MarStep> & Required<Pick<Decoding, "drawing">>,
): AsyncGenerator<DecodedStep, void> {
  const { tokens, channels, patch } = level;
  const { rows, ways, prefix, patches, mask, iterations, drawing } = squares;
  const all = [...decodingSteps(squares.orders(), mask, { tokens, iterations })];
  for (let from = 0; from < all.length; from += drawing.steps) {
    const some = all.slice(from, from + drawing.steps);
    const chosen = some.map((step) => step.chosen);
    if (chosen.every((part) => squares.wanted(part).row.length === 0)) continue;
    const hidden = mask.slice();
    const feeds = chosen.map((part) => {
      const before = float32(hidden.slice(), [rows, tokens]);
      const slots = new Int32Array(rows * tokens).fill(part.row.length);
      part.row.forEach((row, i) => {
        slots[row * tokens + part.place[i]] = i;
        hidden[row * tokens + part.place[i]] = 0;
      });
      return { mask: before, slots: int32(slots, [rows * tokens, 1]), ...readAndTake(part, level, { ways, rows }) };
    });
    const { drawn } = await drawing.run(chosen, {
      prefix,
      patches: float32(patches, [rows, tokens, channels * patch ** 2]),
      mask: feeds.map((of) => of.mask),
      read: feeds.map(({ read }) => read),
      take: feeds.map(({ take }) => take),
      slots: feeds.slice(0, -1).map(({ slots }) => slots),
    });
    for (const [i, { decoded, ...step }] of some.entries())
      yield { ...step, drawn: drawn[i], done: Array.from(decoded, (count) => count / tokens) };
  }
}

export const mar: LevelKind<MarLevel, MarStep> = {
  name: "mar",
  schema,
  fault: () => undefined,
  handsDown: 5,
  repeatable: true,
  order: anyOrder,
  network,
  decode,
  memory: ({ tokens, conditionsRead }, { each }) => ({
    sizes: { r: Math.min(tokens, each * conditionsRead) },
    kept: 0,
  }),
  exported: {
    steps:
      "n = min(tokens, sampling.iterations of the level). Every row has a random order of its patches. masked starts as tokens. In step s, from 0: next = max(1, min(masked - 1, floor(tokens * cos(pi / 2 * (s + 1) / n)))); until = next, but 0 in the last step; the patches to draw are those at indices until to masked - 1 of the row's order, sorted by number; then set masked = until. If there are none, continue with the next step. Run the step graph with the current patches and mask. read may list all patches of each row, before to before + tokens - 1; the output of a patch then has the number row * tokens + patch. take lists, for each patch to draw, row by row, its neighbours at conditionsFrom, [rows down, columns right] in the grid of patches; for a neighbour outside the grid, give the total number of outputs read. With guidance, take covers all 2*R rows. Then draw the contents of the patches, store their values in patches and set their mask to 0.",
    done: "(tokens - next) / tokens",
    meanings: {
      patches:
        "values of the patches drawn so far, each a flattened [channels, patch, patch]; zeros for patches not yet drawn",
      mask: "1 for a patch that is not yet drawn, 0 for one that is",
      read: "numbers of the tokens whose outputs are needed; patch n is token before + n",
      take: "the conditions of each patch, as indices into the outputs read, numbered across all rows; their total number for a neighbour outside the grid",
    },
    letters: { r: "tokens of each row whose outputs are computed" },
  },
};
