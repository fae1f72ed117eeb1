/**
 * The AR kind: a causal transformer over the patches of a square in raster order. Generation produces one patch per
 * step and uses a key/value cache. Each patch hands down a single condition: the transformer's output at that patch.
 */

import { z } from "zod";
import { float32, int32 } from "../core/arrays.ts";
import {
  add,
  cast,
  concat,
  constant,
  embedding as rowsOf,
  flatten,
  input,
  less,
  reshape,
  slice,
  where,
} from "../graph/build.ts";
import { times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { dense, norm } from "../layers/layers.ts";
import { declareLlama, llamaBlock, type Past } from "../layers/llama.ts";
import { blocks, declareNorm, type Declare } from "../layers/parameters.ts";
import { rotaryOf } from "../layers/rotary.ts";
import type { Above, LevelKind, Network, Placed, Taught } from "./kind.ts";
import { rasterOrder } from "./order.ts";
import { keptPast, pastOf } from "./past.ts";
import { decodeInRaster } from "./raster.ts";
import { patchSide, qkNorm, transformer, whole } from "./schema.ts";
import { declareEmbedding, placed, prefix } from "./tokens.ts";

const schema = z.strictObject({
  kind: z.literal("ar"),
  patch: patchSide,
  ...transformer,
  qkNorm,
  /** How many of the parent's conditions its first token joins: the last of left, bottom, right, top, middle. */
  conditions: whole(1, 5).optional(),
});

export type ArLevel = z.infer<typeof schema>;

export interface ArStep {
  /** [R', 1, D] */
  conditions: Tensor;
  /** Key and value of this position in each block: [R', H, D/H]. If kept, of all positions so far: [R', H, L + 1, D/H]. */
  key: Tensor[];
  value: Tensor[];
  [name: string]: Tensor | Tensor[];
}

function network(declare: Declare, level: Placed<ArLevel>): Network<ArStep> {
  const { tokens, width, depth, heads, channels, patch, grid } = level;
  const headWidth = width / heads;
  const joined = level.conditions * level.conditionWidth;
  const embedding = declareEmbedding(declare, { ...level, conditionWidth: joined }, tokens + 1);
  const transformer = blocks(declare, depth, (block) => declareLlama(block, level));
  const last = declareNorm(declare, "norm", width);

  /** The first token: all conditions side by side. */
  const first = ({ conditions, colour }: Above): Tensor =>
    prefix(embedding, { conditions: reshape(conditions, [dim(conditions, 0), 1, joined]), colour });

  /** The output at position n depends on the condition and on patches 0 .. n - 1. */
  function teach({ patches, training, between, before }: Omit<Taught, keyof Above> & { before: Tensor }): Tensor {
    const rows = dim(before, 0);
    const shown = reshape(dense(embedding.patches, patches), [rows, tokens, width]);
    const positions = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(i));
    const rotary = rotaryOf(grid, headWidth, constant({ dtype: "int64", shape: [1, tokens], data: positions }));
    let x = flatten(placed(embedding, concat([before, slice(shown, 1, 0, tokens - 1)], 1), 0, tokens));
    transformer.forEach((block, i) => {
      if (between && i > 0) x = between(x, i);
      ({ x } = llamaBlock(block, x, { tokens, rotary, training }));
    });
    return norm(last, x);
  }

  return {
    begin: (above) => placed(embedding, first(above), 0, 1),
    teach: ({ conditions, colour, ...squares }) => teach({ ...squares, before: first({ conditions, colour }) }),
    /**
     * The step for the patch at `position`. Inputs: `prefix`; `patch` [R, C p p], the previous patch (ignored at
     * position 0); `position` [1]; `keys.i` and `values.i` [R', H, L, D/H], buffers with room for L positions of which
     * those before this one are filled; and `seen` [L], 0 for a filled position and -1e30 for an empty one.
     */
    step({ guided, kept = false }) {
      const rows = times(guided ? 2 : 1, "R");
      const before = input("prefix", "float32", [rows, 1, width]);
      const position = input("position", "int32", [1]);
      const previous = input("patch", "float32", ["R", channels * patch ** 2]);
      const positions = reshape(embedding.positions, [tokens + 1, width]);
      const shown = norm(embedding.norm, add(dense(embedding.patches, previous), rowsOf(positions, position)));
      const isFirst = less(cast(position, "float32"), 0.5);
      const rotary = rotaryOf(grid, headWidth, cast(reshape(position, [1, 1]), "int64"));
      const seen = input("seen", "float32", ["L"]);
      let x = where(isFirst, flatten(before), guided ? concat([shown, shown], 0) : shown);
      const [key, value]: Tensor[][] = [[], []];
      transformer.forEach((block, i) => {
        const past: Past = {
          keys: input(`keys.${i}`, "float32", [rows, heads, "L", headWidth]),
          values: input(`values.${i}`, "float32", [rows, heads, "L", headWidth]),
          seen,
        };
        const made = llamaBlock(block, x, { tokens: 1, rotary, past });
        x = made.x;
        const next = (before: Tensor, own: Tensor) =>
          kept ? concat([before, own], 2) : reshape(own, [rows, heads, headWidth]);
        key.push(next(past.keys, made.key));
        value.push(next(past.values, made.value));
      });
      return { conditions: reshape(norm(last, x), [rows, 1, width]), key, value };
    },
    counted: (patches, condition) => ({
      out: teach({
        patches,
        before: first({
          conditions: concat(
            Array.from({ length: level.conditions }, () => condition),
            1,
          ),
        }),
      }),
    }),
  };
}

export const ar: LevelKind<ArLevel, ArStep> = {
  name: "ar",
  schema,
  fault: ({ width, heads }) =>
    (width / heads) % 4 === 0
      ? undefined
      : `width / heads is ${width / heads}, expected a multiple of 4 (two-dimensional rotary positions)`,
  handsDown: 1,
  order: rasterOrder,
  network,
  async *decode(level, squares) {
    const { tokens, depth, heads, width, channels, patch } = level;
    const { rows, ways, prefix, run, runKept } = squares;
    const sizes = { depth, rows: ways * rows, heads, headWidth: width / heads, tokens };
    const own = (step: number, previous: Float32Array) => ({
      prefix,
      patch: float32(previous, [rows, channels * patch ** 2]),
      position: int32([step], [1]),
    });
    if (runKept) {
      const past = keptPast(sizes);
      try {
        yield* decodeInRaster(level, squares, async (step, previous) => {
          const { conditions, kept } = await runKept({ ...past.feeds(), ...own(step, previous) });
          past.replace(kept);
          return conditions;
        });
      } finally {
        past.dispose();
      }
      return;
    }
    const past = pastOf(sizes);
    yield* decodeInRaster(level, squares, async (step, previous) => {
      const { conditions, ...next } = await run({ ...past.feeds(), ...own(step, previous) });
      past.add(next);
      return conditions;
    });
  },
  memory: ({ depth, tokens, width }, { rows, ways }) => ({
    sizes: { L: tokens },
    kept: 8 * ways * rows * depth * tokens * width,
  }),
  exported: {
    steps:
      "one step per patch, in raster order: step s draws patch s and has position [s]. keys.i and values.i start as zeros with room for L positions, for example L = tokens. Run the step graph; for every row and head, store key.i at position s of keys.i and value.i at position s of values.i; then draw the contents of patch s of every row.",
    done: "(s + 1) / tokens",
    meanings: {
      patch: "values of the previous patch; zeros at the first",
      position: "number of the patch to draw",
      "keys.i": "cached keys of block i, with those of position n at index n",
      "values.i": "cached values of block i, with those of position n at index n",
      seen: "0 for a position before this one, -1e30 for a position that is still empty",
      "key.i": "key of block i at this position, to be stored in keys.i",
      "value.i": "value of block i at this position, to be stored in values.i",
    },
    letters: { L: "positions that the key/value cache has room for; at least the number already drawn" },
  },
};
