/**
 * The AR kind: a causal transformer over the patches of a square in raster order, which are generated one at a step from
 * kept keys and values. It hands down its output at a patch.
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
import { pastOf } from "./past.ts";
import { decodeInRaster } from "./raster.ts";
import { patchSide, qkNorm, transformer } from "./schema.ts";
import { declareEmbedding, placed, prefix } from "./tokens.ts";

const schema = z.strictObject({ kind: z.literal("ar"), patch: patchSide, ...transformer, qkNorm });

export type ArLevel = z.infer<typeof schema>;

export interface ArStep {
  /** [R', 1, D] */
  conditions: Tensor;
  /** Of this position in each block [R', H, D/H]. */
  key: Tensor[];
  value: Tensor[];
  [name: string]: Tensor | Tensor[];
}

function network(declare: Declare, level: Placed<ArLevel>): Network<ArStep> {
  const { tokens, width, depth, heads, channels, patch, grid } = level;
  const headWidth = width / heads;
  const embedding = declareEmbedding(declare, level, tokens + 1);
  const transformer = blocks(declare, depth, (block) => declareLlama(block, level));
  const last = declareNorm(declare, "norm", width);

  /** Position n has seen the condition and the patches before n. */
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
    begin: (above) => placed(embedding, prefix(embedding, above), 0, 1),
    teach: ({ conditions, colour, ...squares }) =>
      teach({ ...squares, before: prefix(embedding, { conditions, colour }) }),
    /**
     * Of the patch at `position`. Inputs: `prefix`; `patch` [R, C p p], the one before (anything at position 0);
     * `position` [1]; room for L positions, of which those before this one are filled: `keys.i` and `values.i`
     * [R', H, L, D/H], and `seen` [L], 0 where there is a position and -1e30 where there is none yet.
     */
    step({ guided }) {
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
        key.push(reshape(made.key, [rows, heads, headWidth]));
        value.push(reshape(made.value, [rows, heads, headWidth]));
      });
      return { conditions: reshape(norm(last, x), [rows, 1, width]), key, value };
    },
    counted: (patches, condition) => ({
      out: teach({ patches, before: prefix(embedding, { conditions: condition }) }),
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
  decode(level, squares) {
    const { tokens, depth, heads, width, channels, patch } = level;
    const { rows, ways, prefix, run } = squares;
    const past = pastOf({ depth, rows: ways * rows, heads, headWidth: width / heads, tokens });
    return decodeInRaster(level, squares, async (step, previous) => {
      const { conditions, ...next } = await run({
        ...past.feeds(),
        prefix,
        patch: float32(previous, [rows, channels * patch ** 2]),
        position: int32([step], [1]),
      });
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
      "one for each patch in ascending number s, position [s]. keys.i and values.i begin as zeros with room for L positions, such as L = tokens. Run step; put key.i into row s of keys.i and value.i into row s of values.i, for each row and head; and draw what stands in the patch of every row.",
    done: "(s + 1) / tokens",
    meanings: {
      patch: "values of the patch before this one; zeros at the first",
      position: "number of the patch that is to be drawn",
      "keys.i": "keys of block i at the positions before, each in its row",
      "values.i": "values of block i at the positions before, each in its row",
      seen: "0 for a position before this one, -1e30 for room that is still empty",
      "key.i": "what goes into keys.i at this position",
      "value.i": "what goes into values.i at this position",
    },
    letters: { L: "positions that there is room for, at least as many as were drawn before" },
  },
};
