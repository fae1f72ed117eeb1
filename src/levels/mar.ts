/**
 * The MAR kind: a bidirectional transformer over all patches of a square, with a mask token for those still to come.
 * Patches are generated in random order, several at a step. It hands down its output at a patch and at the neighbours.
 */

import { z } from "zod";
import { float32 } from "../core/arrays.ts";
import {
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
  /** How many of the parent's conditions are taken: 5 (middle, top, right, bottom, left) or 1. */
  conditions: z.int().min(1).max(5).default(5),
  /** Predict the mean colour first and take it as one more condition. */
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

  /** Patches [R * N, C p p] embedded, those with a mask [R, N] above 0.5 as the mask token -> [R, N, D]. */
  function masked(patches: Tensor, mask: Tensor): Tensor {
    const rows = dim(patches, 0);
    const hidden = less(half, reshape(mask, [rows, 1]));
    const shown = dense(embedding.patches, patches);
    return reshape(where(hidden, reshape(maskToken, [1, width]), shown), [over(rows, tokens), tokens, width]);
  }

  /** Over placed tokens [R, T, D]; `read` takes the tokens whose outputs are wanted: [R, r, D]. */
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

  return {
    begin: (above) => placed(embedding, prefix(embedding, above), 0, before),
    teach({ patches, mask, training, between, ...above }) {
      const shown = concat([prefix(embedding, above), masked(patches, mask!)], 1);
      const read = (x: Tensor) => slice(x, 1, before, total);
      return flatten(run(placed(embedding, shown, 0, total), { read, training, between }));
    },
    /**
     * Inputs: `prefix`; `patches` [R, N, C p p] and `mask` [R, N] as they are; `read` [R', r], the tokens whose outputs
     * are needed; `take` [M, c], which of those R' * r outputs are which condition (R' * r for none, beyond the edge).
     */
    step({ guided }) {
      const rows = times(guided ? 2 : 1, "R");
      const begun = input("prefix", "float32", [rows, before, width]);
      const patches = input("patches", "float32", ["R", tokens, channels * patch ** 2]);
      const shown = masked(flatten(patches), input("mask", "float32", ["R", tokens]));
      const after = placed(embedding, shown, before, total);
      const read = input("read", "int32", [rows, "r"]);
      const all = concat([begun, guided ? concat([after, after], 0) : after], 1);
      const out = run(all, { read: (x) => gatherTokens(x, read) });
      return { conditions: gatherRows(flatten(out), input("take", "int32", ["M", level.conditionsRead])) };
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

export const mar: LevelKind<MarLevel, MarStep> = {
  name: "mar",
  schema,
  fault: () => undefined,
  handsDown: 5,
  order: anyOrder,
  network,
  decode,
  memory: ({ tokens, conditionsRead }, { each }) => ({
    sizes: { r: Math.min(tokens, each * conditionsRead) },
    kept: 0,
  }),
  exported: {
    steps:
      "n = min(tokens, sampling.iterations of the level). Every row has a random order of its patches. masked begins as tokens. In step s from 0: next = max(1, min(masked - 1, floor(tokens * cos(pi / 2 * (s + 1) / n)))); until = next, but 0 in the last step; the patches to draw are those at until, until + 1, ... masked - 1 of the row's order, in ascending number; then masked = until. Where there are none go on with the next step. Run step with patches and mask as they are. read may hold all patches of each row, before to before + tokens - 1; then output number row * tokens + patch is that of a patch. take has for each patch to draw, row after row, the patches at conditionsFrom, [rows down, columns right] in the grid of patches, and for one outside of the grid the number of all outputs read. With guidance take goes through all 2*R rows. Then draw what stands in the patches, put its values into patches and set their mask to 0.",
    done: "(tokens - next) / tokens",
    meanings: {
      patches: "the patches drawn so far as values, each [channels, patch, patch] end to end; zeros where not drawn",
      mask: "1 for a patch that is not drawn yet, 0 for one that is",
      read: "numbers of the tokens whose outputs are needed; patch n is token before + n",
      take: "which of all outputs read, counted through all rows, are each patch's conditions; their count for none",
    },
    letters: { r: "tokens of each row whose outputs are computed" },
  },
};
