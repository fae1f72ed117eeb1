/** Teacher-forced passes as index arrays: which squares are shown how much of themselves, and which pixels that predicts. */

import { conditionsRead, type ModelConfig, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import { derive, type Key, permutation, uniform } from "../core/random.ts";
import { directionsRead, neighbour } from "../model/plan.ts";

/**
 * One view of an image's first level. Without `masked` it is seen as an estimate needs it: of every MAR square as many
 * patches are hidden as a draw says, and all of these are predicted. With it, as at one step of generating patch by
 * patch: so many of the first level's patches are still to come, and the next one is predicted, step by step within it.
 */
export interface View {
  image: number;
  /** Gives the orders and counts of this image's squares. */
  key: Key;
  masked?: number;
}

/** What a pass predicts, one entry each: the image, where in it, and how often it stands for others beside itself. */
export interface Predicted {
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
  weight: Float64Array;
}

export interface Pass {
  /** lossGraph's `mask.l`, `take.l` and `inverse.l`. */
  feeds: Record<string, HostTensor>;
  pixels: Predicted;
  /** For each level and pixel: how many patches of the level's square were known when the pixel's was predicted. */
  known: Int32Array[];
  /** Squares of each level, whose guiding pixels are predicted where there are any. */
  squares: Predicted[];
}

interface Square {
  image: number;
  x: number;
  y: number;
  key: Key;
  weight: number;
  /** Its patch of the level above: row and number. */
  row: number;
  place: number;
  /** How many patches of that level's square were known before it. */
  known: number;
  /** Of how many views of it this is which, counted down; nothing where there is one. */
  masked?: number;
}

/** The views that one generation order of an image consists of: one for each patch of a MAR first level, else one. */
export const viewsInOrder = (config: ModelConfig, image: number, key: Key): View[] => {
  const [{ kind, tokens }] = placedLevels(config);
  return kind === "ar"
    ? [{ image, key }]
    : Array.from({ length: tokens }, (_, i) => ({ image, key, masked: tokens - i }));
};

/** A pass over views, all with `masked` or none. Weighted nats add up to an image's over its views. */
export function passOver(config: ModelConfig, views: readonly View[], { inOrder }: { inOrder: boolean }): Pass {
  const levels = placedLevels(config);
  const feeds: Record<string, HostTensor> = {};
  const squares: Predicted[] = [];
  let known: Int32Array[] = [];
  let rows: Square[] = views.map((view) => ({ ...view, x: 0, y: 0, weight: 1, row: 0, place: 0, known: 0 }));
  levels.forEach(({ kind, tokens, grid, patch }, l) => {
    squares.push(predicted(rows, tokens));
    const count = conditionsRead(config, l);
    const mask = new Float32Array(rows.length * tokens);
    const below: Square[] = [];
    rows.forEach((square, row) => {
      const add = (place: number, weight: number, known: number) =>
        below.push({
          ...square,
          x: square.x + (place % grid) * patch,
          y: square.y + Math.floor(place / grid) * patch,
          key: derive(square.key, place),
          weight,
          row,
          place,
          known,
          masked: undefined,
        });
      if (kind === "ar") {
        for (let place = 0; place < tokens; place++) add(place, square.weight, place);
        return;
      }
      const order = permutation(square.key, tokens);
      const masked = square.masked ?? 1 + Math.floor(uniform(square.key, 1_000_000) * tokens);
      for (const place of order.subarray(0, masked)) mask[row * tokens + place] = 1;
      if (inOrder) add(order[masked - 1], square.weight, tokens - masked);
      else
        for (const place of order.subarray(0, masked).toSorted())
          add(place, (square.weight * tokens) / masked, tokens - masked);
    });
    if (kind === "mar") feeds[`mask.${l}`] = float32(mask, [rows.length, tokens]);
    // Read only by gradients.
    feeds[`inverse.${l}`] = int32(new Int32Array(rows.length * tokens * count), [rows.length * tokens, count]);
    const next = levels[l + 1];
    const repeated = inOrder && next?.kind === "mar";
    const taken = repeated
      ? below.flatMap((square) =>
          Array.from({ length: next.tokens }, (_, i) => ({ ...square, masked: next.tokens - i })),
        )
      : below;
    const around = directionsRead(count);
    const take = new Int32Array(taken.length * count);
    taken.forEach(({ row, place }, i) =>
      around.forEach((direction, d) => {
        const other = neighbour(place, grid, direction);
        take[i * count + d] = other < 0 ? rows.length * tokens : row * tokens + other;
      }),
    );
    feeds[`take.${l}`] = int32(take, [taken.length, count]);
    known = [...known.map((of) => intsOf(taken, ({ row }) => of[row])), intsOf(taken, ({ known }) => known)];
    rows = taken;
  });
  return { feeds, squares, pixels: predicted(rows), known };
}

const intsOf = (rows: readonly Square[], of: (square: Square) => number): Int32Array => Int32Array.from(rows, of);

/** Of a square that is seen several times, the view of which all is hidden counts: its guiding pixel is one. */
function predicted(rows: readonly Square[], tokens?: number): Predicted {
  const counts = ({ masked }: Square) => masked === undefined || masked === tokens;
  return {
    image: intsOf(rows, ({ image }) => image),
    x: intsOf(rows, ({ x }) => x),
    y: intsOf(rows, ({ y }) => y),
    weight: Float64Array.from(rows, (square) => (counts(square) ? square.weight : 0)),
  };
}
