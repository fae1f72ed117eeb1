/** Neighbours in a square grid of patches, numbered in raster order. */

/** Offsets [rows down, columns right] of the conditions, in their order: left, bottom, right, top, middle. */
const directions = [
  [0, -1],
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, 0],
] as const;

/** The last `count` directions, which a level with `count` conditions reads. */
export const directionsRead = (count: number) => directions.slice(directions.length - count);

/** The neighbour of patch `at` in a direction, or -1 outside the grid. */
export function neighbour(at: number, grid: number, [down, right]: readonly [number, number]): number {
  const row = Math.floor(at / grid) + down;
  const column = (at % grid) + right;
  return row < 0 || row >= grid || column < 0 || column >= grid ? -1 : row * grid + column;
}
