/** Teacher-forced passes as index arrays: which squares are shown how much of themselves, and which pixels that predicts. */

import { type ModelConfig, type PlacedLevel, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import { derive, type Key } from "../core/random.ts";
import { directionsRead, neighbour } from "../levels/grid.ts";
import { kindOf } from "../levels/table.ts";
import type { IndexFeeds } from "../model/feeds.ts";
import { marksIn } from "../model/plan.ts";

/**
 * One view of an image's first level. Without `masked` it is seen as an estimate needs it: of every square of a level that hides patches as many
 * are hidden as a draw says, and all of these are predicted. With it, as at one step of generating patch by
 * patch: so many of the first level's patches are still to come, and the next one is predicted, step by step within it.
 */
export interface View {
  image: number;
  /** Gives the orders and counts of this image's squares. */
  key: Key;
  masked?: number;
  /** Of an order whose first level hides nothing: which step the squares of the next level that does are at, all at once. */
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
  feeds: IndexFeeds<HostTensor>;
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
  /** The step that the squares of the next level that hides patches are at, where others stand between. */
  step?: number;
  drawn?: Uint8Array;
}

/**
 * The views that one generation order of an image consists of: one for each patch to predict of a first level that
 * hides patches; of another, whose patches are predicted all at once, one for each step of the next level that does.
 */
export const viewsInOrder = (config: ModelConfig, image: number, { key, drawn }: Omit<View, "image">): View[] => {
  const levels = placedLevels(config);
  const [level] = levels;
  if (!hides(level))
    return Array.from({ length: levels[hidingInside(levels, 0)]?.tokens ?? 1 }, (_, step) => ({
      image,
      key,
      drawn,
      step,
    }));
  const count = toPredict({ x: 0, y: 0, drawn }, level, config).length;
  return Array.from({ length: count }, (_, i) => ({ image, key, drawn, masked: count - i }));
};

const hides = (level: PlacedLevel): boolean => kindOf(level).order.hides;

/** The next level inside of level l that hides patches. */
const hidingInside = (levels: readonly PlacedLevel[], l: number): number =>
  levels.findIndex((level, inside) => inside > l && hides(level));

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
  const feeds: IndexFeeds<HostTensor> = { mask: [], take: [], inverse: [] };
  const squares: Predicted[] = [];
  let known: Int32Array[] = [];
  let rows: Square[] = views.map((view) => ({ ...view, x: 0, y: 0, weight: 1, row: 0, place: 0, known: 0 }));
  levels.forEach((level, l) => {
    const { tokens, grid, patch, conditionsRead: count } = level;
    const { order } = kindOf(level);
    const wanted = rows.map((square) => toPredict(square, level, config));
    squares.push(predicted(rows, (row) => wanted[row].length));
    const mask = new Float32Array(rows.length * tokens);
    const below: Square[] = [];
    rows.forEach((square, row) => {
      const { key, drawn, step = -1 } = square;
      const count = wanted[row].length;
      // Beside squares that take more steps one that is done stands for nothing.
      const weight = order.hides && step >= count ? 0 : square.weight;
      const toCome = square.masked ?? (step < 0 ? undefined : Math.max(1, count - step));
      const view = order.view({ key, tokens, weight, only: drawn && wanted[row], toCome });
      for (const place of view.hidden) mask[row * tokens + place] = 1;
      for (const { place, weight, known } of view.predicted)
        below.push({
          ...square,
          x: square.x + (place % grid) * patch,
          y: square.y + Math.floor(place / grid) * patch,
          key: derive(key, place),
          weight,
          row,
          place,
          known,
          masked: undefined,
          step: order.hides ? undefined : square.step,
        });
    });
    feeds.mask.push(order.hides ? float32(mask, [rows.length, tokens]) : undefined);
    // Read only by gradients.
    feeds.inverse.push(int32(new Int32Array(rows.length * tokens * count), [rows.length * tokens, count]));
    const next = hidingInside(levels, l);
    const taken =
      inOrder && order.hides && next > 0
        ? below.flatMap((square): Square[] => {
            // Levels between take all their patches at once, so the steps of what stands inside are taken together.
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
    feeds.take.push(int32(take, [taken.length, count]));
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
