/** Teacher-forced passes as index arrays: which squares are shown how much of themselves, and which pixels that predicts. */

import { conditionsRead, type ModelConfig, type PlacedLevel, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import { derive, type Key, permutation, uniform } from "../core/random.ts";
import { directionsRead, marksIn, neighbour } from "../model/plan.ts";

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
  /** Of an order whose first level is AR: which step the squares of the next MAR level are at, all at once. */
  step?: number;
  /** Of an order: the pixels that are predicted, [S, S] of 1 or 0. All others are known before, and so are their patches. */
  drawn?: Uint8Array;
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
  /** The step that the next MAR level's squares are at, where AR levels stand between. */
  step?: number;
  drawn?: Uint8Array;
}

/**
 * The views that one generation order of an image consists of: one for each patch to predict of a MAR first level; of an AR
 * one, whose patches are predicted all at once, one for each step of the MAR level inside.
 */
export const viewsInOrder = (config: ModelConfig, image: number, { key, drawn }: Omit<View, "image">): View[] => {
  const levels = placedLevels(config);
  const [level] = levels;
  if (level.kind === "ar")
    return Array.from({ length: levels[marInside(levels, 0)]?.tokens ?? 1 }, (_, step) => ({
      image,
      key,
      drawn,
      step,
    }));
  const count = toPredict({ x: 0, y: 0, drawn }, level, config).length;
  return Array.from({ length: count }, (_, i) => ({ image, key, drawn, masked: count - i }));
};

/** The next MAR level inside of level l. */
const marInside = (levels: readonly PlacedLevel[], l: number): number =>
  levels.findIndex(({ kind }, inside) => inside > l && kind === "mar");

/** The patches of a square in which anything is predicted. */
function toPredict(
  { x, y, drawn }: Pick<Square, "x" | "y" | "drawn">,
  { tokens, grid, patch }: PlacedLevel,
  { imageSize: size }: ModelConfig,
): number[] {
  const places = Array.from({ length: tokens }, (_, place) => place);
  if (!drawn) return places;
  const corner = (place: number) => (y + Math.floor(place / grid) * patch) * size + x + (place % grid) * patch;
  return places.filter((place) => marksIn(drawn, corner(place), { size, side: patch }));
}

/** A pass over views, all with `masked` or none. Weighted nats add up to an image's over its views. */
export function passOver(config: ModelConfig, views: readonly View[], { inOrder }: { inOrder: boolean }): Pass {
  const levels = placedLevels(config);
  const feeds: Record<string, HostTensor> = {};
  const squares: Predicted[] = [];
  let known: Int32Array[] = [];
  let rows: Square[] = views.map((view) => ({ ...view, x: 0, y: 0, weight: 1, row: 0, place: 0, known: 0 }));
  levels.forEach((level, l) => {
    const { kind, tokens, grid, patch } = level;
    const wanted = rows.map((square) => toPredict(square, level, config));
    squares.push(predicted(rows, (row) => wanted[row].length));
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
          step: kind === "ar" ? square.step : undefined,
        });
      if (kind === "ar") {
        // The graph takes all of them down; known ones stand for nothing.
        for (let place = 0; place < tokens; place++)
          add(place, !square.drawn || wanted[row].includes(place) ? square.weight : 0, place);
        return;
      }
      let order = permutation(square.key, tokens);
      const toCome = wanted[row].length;
      if (toCome > 0 && square.drawn) order = order.filter((place) => wanted[row].includes(place)); // known ones would stand behind
      const { step = -1 } = square;
      const masked =
        square.masked ??
        (step < 0 ? 1 + Math.floor(uniform(square.key, 1_000_000) * tokens) : Math.max(1, toCome - step));
      for (const place of order.subarray(0, masked)) mask[row * tokens + place] = 1;
      // Beside squares that take more steps one that is done stands for nothing.
      if (inOrder) add(order[masked - 1], step < toCome ? square.weight : 0, tokens - masked);
      else
        for (const place of order.subarray(0, masked).toSorted())
          add(place, (square.weight * tokens) / masked, tokens - masked);
    });
    if (kind === "mar") feeds[`mask.${l}`] = float32(mask, [rows.length, tokens]);
    // Read only by gradients.
    feeds[`inverse.${l}`] = int32(new Int32Array(rows.length * tokens * count), [rows.length * tokens, count]);
    const next = marInside(levels, l);
    const repeated = inOrder && kind === "mar" && next > 0;
    const taken = repeated
      ? below.flatMap((square): Square[] => {
          // An AR level takes all its patches at once, so the steps of what stands inside are taken together.
          if (next > l + 1) return Array.from({ length: levels[next].tokens }, (_, step) => ({ ...square, step }));
          const count = toPredict(square, levels[next], config).length;
          return Array.from({ length: count }, (_, i) => ({ ...square, masked: count - i }));
        })
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

/** Of a square that is seen several times, the first view counts, all that is to be predicted hidden: its guiding pixel is one. */
function predicted(rows: readonly Square[], toCome?: (row: number) => number): Predicted {
  const counts = ({ masked }: Square, row: number) => masked === undefined || masked === toCome?.(row);
  return {
    image: intsOf(rows, ({ image }) => image),
    x: intsOf(rows, ({ x }) => x),
    y: intsOf(rows, ({ y }) => y),
    weight: Float64Array.from(rows, (square, row) => (counts(square, row) ? square.weight : 0)),
  };
}
