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
import { decodeInRaster, drawInRaster } from "./raster.ts";
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
  /** Key and value of this position in each block: [R', H, D/H]. */
  key: Tensor[];
  value: Tensor[];
  [name: string]: Tensor | Tensor[];
}

/** The cache with one more position. */
const longer = (past: readonly Past[], made: readonly { key: Tensor; value: Tensor }[]): Past[] => {
  const seen = concat([past[0].seen, constant(float32([0], [1]))], 0);
  return past.map(({ keys, values }, i) => ({
    keys: concat([keys, made[i].key], 2),
    values: concat([values, made[i].value], 2),
    seen,
  }));
};

const keptOf = (past: readonly Past[]): Tensor[] => [
  ...past.map(({ keys }) => keys),
  ...past.map(({ values }) => values),
];

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

  const rowsWith = (guided: boolean) => times(guided ? 2 : 1, "R");

  /** The cache's inputs: `keys.i` and `values.i` [R', H, L, D/H], and `seen` [L]. */
  function pastInputs(guided: boolean): Past[] {
    const seen = input("seen", "float32", ["L"]);
    const each = (name: string) => input(name, "float32", [rowsWith(guided), heads, "L", headWidth]);
    return transformer.map((_, i) => ({ keys: each(`keys.${i}`), values: each(`values.${i}`), seen }));
  }

  /**
   * The output [R', 1, D] for the patch at `position` [1], given the values of the patch before it [R, C p p], and the
   * key and value [R', H, 1, D/H] of this position in each block. `before` [R', 1, D] takes the place of a patch before
   * the first one; without it, the position must not be the first.
   */
  function next(
    past: readonly Past[],
    { position, previous, before, guided }: { position: Tensor; previous: Tensor; before?: Tensor; guided: boolean },
  ): { conditions: Tensor; made: { key: Tensor; value: Tensor }[] } {
    const positions = reshape(embedding.positions, [tokens + 1, width]);
    const shown = norm(embedding.norm, add(dense(embedding.patches, previous), rowsOf(positions, position)));
    const rotary = rotaryOf(grid, headWidth, cast(reshape(position, [1, 1]), "int64"));
    const patches = guided ? concat([shown, shown], 0) : shown;
    let x = before ? where(less(cast(position, "float32"), 0.5), flatten(before), patches) : patches;
    const made = transformer.map((block, i) => {
      const { x: out, ...own } = llamaBlock(block, x, { tokens: 1, rotary, past: past[i] });
      x = out;
      return own;
    });
    return { conditions: reshape(norm(last, x), [rowsWith(guided), 1, width]), made };
  }

  const stepInputs = (guided: boolean) => ({
    before: input("prefix", "float32", [rowsWith(guided), 1, width]),
    position: input("position", "int32", [1]),
    previous: input("patch", "float32", ["R", channels * patch ** 2]),
    guided,
  });

  return {
    begin: (above) => placed(embedding, first(above), 0, 1),
    teach: ({ conditions, colour, ...squares }) => teach({ ...squares, before: first({ conditions, colour }) }),
    /**
     * The step for the patch at `position`. Inputs: `prefix`; `patch` [R, C p p], the previous patch (ignored at
     * position 0); `position` [1]; `keys.i` and `values.i` [R', H, L, D/H], buffers with room for L positions of which
     * those before this one are filled; and `seen` [L], 0 for a filled position and -1e30 for an empty one.
     */
    step({ guided }) {
      const { conditions, made } = next(pastInputs(guided), stepInputs(guided));
      const own = (x: Tensor) => reshape(x, [rowsWith(guided), heads, headWidth]);
      return { conditions, key: made.map(({ key }) => own(key)), value: made.map(({ value }) => own(value)) };
    },
    /** With the keys of all positions so far [R', H, L + 1, D/H], block by block, and then the values. */
    keptStep({ guided }) {
      const past = pastInputs(guided);
      const { conditions, made } = next(past, stepInputs(guided));
      return { conditions, kept: keptOf(longer(past, made)) };
    },
    /** As if by `keptStep`, but `position` is [steps]. */
    drawnSteps({ guided, steps, draw }) {
      const positions = input("position", "int32", [steps]);
      let past = pastInputs(guided);
      let { previous, before }: { previous: Tensor; before?: Tensor } = stepInputs(guided);
      for (let step = 0; step < steps; step++) {
        const position = slice(positions, 0, step, step + 1);
        const { conditions, made } = next(past, { position, previous, before, guided });
        past = longer(past, made);
        before = undefined;
        previous = draw(conditions);
      }
      return keptOf(past);
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
  repeatable: true,
  order: rasterOrder,
  network,
  async *decode(level, squares) {
    const { tokens, depth, heads, width, channels, patch } = level;
    const { rows, ways, prefix, run, runKept, drawing } = squares;
    const sizes = { depth, rows: ways * rows, heads, headWidth: width / heads, tokens };
    const own = (position: number[], previous: Float32Array) => ({
      prefix,
      patch: float32(previous, [rows, channels * patch ** 2]),
      position: int32(position, [position.length]),
    });
    if (!runKept) {
      const past = pastOf(sizes);
      yield* decodeInRaster(level, squares, async (step, previous) => {
        const { conditions, ...next } = await run({ ...past.feeds(), ...own([step], previous) });
        past.add(next);
        return conditions;
      });
      return;
    }
    const past = keptPast(sizes);
    try {
      if (drawing)
        yield* drawInRaster(level, { ...squares, steps: drawing.steps }, async (chosen, previous) => {
          const position = chosen.map(({ place }) => place[0]);
          const { drawn, kept } = await drawing.run(chosen, { ...past.feeds(), ...own(position, previous) });
          past.replace(kept);
          return drawn;
        });
      else
        yield* decodeInRaster(level, squares, async (step, previous) => {
          const { conditions, kept } = await runKept({ ...past.feeds(), ...own([step], previous) });
          past.replace(kept);
          return conditions;
        });
    } finally {
      past.dispose();
    }
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
