/** Neighbours in a square grid of patches, which are numbered in raster order. */

/** Rows down and columns right of the conditions in the order in which they stand: left, bottom, right, top, middle. */
const directions = [
  [0, -1],
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, 0],
] as const;

/** The last `count` of the directions: what a level that takes `count` conditions reads. */
export const directionsRead = (count: number) => directions.slice(directions.length - count);

/** The patch beside `at` in a direction, or -1 outside of the grid. */
export function neighbour(at: number, grid: number, [down, right]: readonly [number, number]): number {
  const row = Math.floor(at / grid) + down;
  const column = (at % grid) + right;
  return row < 0 || row >= grid || column < 0 || column >= grid ? -1 : row * grid + column;
}
