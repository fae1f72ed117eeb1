/** Teacher-forced passes as index arrays: which patches of each square are hidden, and which pixels are predicted. */

import { type ModelConfig, type PlacedLevel, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import { derive, type Key } from "../core/random.ts";
import { directionsRead, neighbour } from "../levels/grid.ts";
import { kindOf } from "../levels/table.ts";
import type { IndexFeeds } from "../model/feeds.ts";
import { marksIn } from "../model/plan.ts";

/** Which patches of a square are hidden and predicted in a view. */
export type Shown =
  /** For an estimate: a random number of patches is hidden, and all of them are predicted. */
  | { kind: "estimate" }
  /** As in generation patch by patch: `toCome` patches are still hidden, and the next one is predicted. */
  | { kind: "patch"; toCome: number }
  /**
   * For an order whose first level hides nothing: the common step of all squares of the next level that hides patches. Levels in
   * between pass it on.
   */
  | { kind: "step"; step: number };

/** One view of an image's first level. The views of the levels below follow from it. */
export interface PassView {
  image: number;
  /** Determines the random orders and counts of this image's squares. */
  key: Key;
  shown: Shown;
  /** For an order: the pixels to predict, [S, S] of 1 or 0. All others are known up front, as are patches without any to predict. */
  drawn?: Uint8Array;
}

/** The predictions of a pass, one entry each: image, position, and weight. */
export interface Predicted {
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
  weight: Float64Array;
}

export interface Pass {
  feeds: IndexFeeds<HostTensor>;
  pixels: Predicted;
  /** For each level and pixel: the number of known patches in the level's square when the pixel's patch is predicted. */
  known: Int32Array[];
  /** The squares of each level. If the level has guiding pixels, theirs are predicted. */
  squares: Predicted[];
}

interface Square {
  image: number;
  x: number;
  y: number;
  key: Key;
  weight: number;
  /** Its patch in the level above: the row of the square and the patch's number. */
  row: number;
  place: number;
  /** Number of patches of that square that were known before it. */
  known: number;
  shown: Shown;
  drawn?: Uint8Array;
}

/**
 * The views of one generation order of an image. If the first level hides patches, there is one view for each patch to predict;
 * otherwise its patches are predicted together, with one view for each step of the next level that hides patches.
 */
export function viewsInOrder(
  config: ModelConfig,
  image: number,
  { key, drawn }: Pick<PassView, "key" | "drawn">,
): PassView[] {
  const levels = placedLevels(config);
  const [level] = levels;
  const shown = hides(level)
    ? patchByPatch(toPredict({ x: 0, y: 0, drawn }, level, config).length)
    : stepByStep(levels[hidingInside(levels, 0)]?.tokens ?? 1);
  return shown.map((one) => ({ image, key, drawn, shown: one }));
}

const patchByPatch = (count: number): Shown[] =>
  Array.from({ length: count }, (_, i) => ({ kind: "patch", toCome: count - i }));

const stepByStep = (count: number): Shown[] => Array.from({ length: count }, (_, step) => ({ kind: "step", step }));

/** How many of a square's `count` patches to predict are still hidden; undefined if that is drawn at random. */
function toComeOf(shown: Shown, count: number): number | undefined {
  if (shown.kind === "estimate") return undefined;
  return shown.kind === "patch" ? shown.toCome : Math.max(1, count - shown.step);
}

const hides = (level: PlacedLevel): boolean => kindOf(level).order.hides;

/** The next level below level l that hides patches, or -1. */
const hidingInside = (levels: readonly PlacedLevel[], l: number): number =>
  levels.findIndex((level, inside) => inside > l && hides(level));

/** The patches of a square with pixels to predict. */
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

/** A pass over views of the same kind. Over an image's views, the weighted nats add up to the image's. */
export function passOver(config: ModelConfig, views: readonly PassView[], { inOrder }: { inOrder: boolean }): Pass {
  const levels = placedLevels(config);
  const feeds: IndexFeeds<HostTensor> = { mask: [], take: [], inverse: [] };
  const squares: Predicted[] = [];
  let known: Int32Array[] = [];
  let rows: Square[] = views.map((view) => ({ ...view, x: 0, y: 0, weight: 1, row: 0, place: 0, known: 0 }));
  levels.forEach((level, l) => {
    const { tokens, conditionsRead } = level;
    const wanted = rows.map((square) => toPredict(square, level, config));
    squares.push(predicted(rows, (row) => wanted[row].length));
    const { mask, below } = viewLevel(rows, level, wanted);
    feeds.mask.push(hides(level) ? float32(mask, [rows.length, tokens]) : undefined);
    // Only gradients read it.
    const all = rows.length * tokens;
    feeds.inverse.push(int32(new Int32Array(all * conditionsRead), [all, conditionsRead]));
    const taken = inOrder && hides(level) ? below.flatMap((square) => inSteps(square, l, { levels, config })) : below;
    feeds.take.push(int32(around(taken, level, rows.length), [taken.length, conditionsRead]));
    known = [...known.map((of) => intsOf(taken, ({ row }) => of[row])), intsOf(taken, (square) => square.known)];
    rows = taken;
  });
  return { feeds, squares, pixels: predicted(rows), known };
}

/** The mask [R, N] of a level's squares, and the patches they predict, as squares of the next level. */
function viewLevel(
  rows: readonly Square[],
  level: PlacedLevel,
  wanted: readonly (readonly number[])[],
): { mask: Float32Array; below: Square[] } {
  const { tokens, grid, patch } = level;
  const { order } = kindOf(level);
  const mask = new Float32Array(rows.length * tokens);
  const below: Square[] = [];
  rows.forEach((square, row) => {
    const { key, drawn, shown } = square;
    const count = wanted[row].length;
    // A square that is done, next to squares with more steps, has no weight.
    const isDone = order.hides && shown.kind === "step" && shown.step >= count;
    const weight = isDone ? 0 : square.weight;
    const view = order.view({ key, tokens, weight, only: drawn && wanted[row], toCome: toComeOf(shown, count) });
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
        shown: shown.kind === "step" && !order.hides ? shown : { kind: "estimate" },
      });
  });
  return { mask, below };
}

/** In an order, a square below level l has one view for each of its patches, or for each step of squares further down. */
function inSteps(
  square: Square,
  l: number,
  { levels, config }: { levels: readonly PlacedLevel[]; config: ModelConfig },
): Square[] {
  const next = hidingInside(levels, l);
  if (next < 0) return [square];
  // Levels in between predict all their patches at once, so the squares below them share their steps.
  const shown =
    next > l + 1 ? stepByStep(levels[next].tokens) : patchByPatch(toPredict(square, levels[next], config).length);
  return shown.map((one) => ({ ...square, shown: one }));
}

/** For each square, its patch and the neighbours whose outputs are its conditions, as indices into a level of `rows` squares. */
function around(squares: readonly Square[], { tokens, grid, conditionsRead: count }: PlacedLevel, rows: number) {
  const directions = directionsRead(count);
  const take = new Int32Array(squares.length * count);
  squares.forEach(({ row, place }, i) =>
    directions.forEach((direction, d) => {
      const other = neighbour(place, grid, direction);
      take[i * count + d] = other < 0 ? rows * tokens : row * tokens + other;
    }),
  );
  return take;
}

const intsOf = (rows: readonly Square[], of: (square: Square) => number): Int32Array => Int32Array.from(rows, of);

/** With `toCome`, a square with several views counts only in the first, which hides everything: it has one guiding pixel. */
function predicted(rows: readonly Square[], toCome?: (row: number) => number): Predicted {
  const counts = ({ shown }: Square, row: number) => shown.kind !== "patch" || shown.toCome === toCome?.(row);
  return {
    image: intsOf(rows, ({ image }) => image),
    x: intsOf(rows, ({ x }) => x),
    y: intsOf(rows, ({ y }) => y),
    weight: Float64Array.from(rows, (square, row) => (counts(square, row) ? square.weight : 0)),
  };
}
