/** Masks [S, S] of the pixels to redraw: 1 is redrawn, 0 is kept. Knows no images. */

import { UserError } from "../core/errors.ts";

/** A rectangle in pixels; x and y are its left and top edges. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The sides of an image, used to name its halves. */
export const sides = ["left", "right", "top", "bottom"] as const;
/** One of `sides`. */
export type Side = (typeof sides)[number];

/** A mask that redraws a rectangle. Throws a UserError if it is not inside the image. */
export function rectangleMask(size: number, { x, y, width, height }: Rectangle): Uint8Array {
  if (!(x >= 0 && y >= 0 && width >= 1 && height >= 1 && x + width <= size && y + height <= size))
    throw new UserError({
      subject: { setting: "mask" },
      expected: `a rectangle inside the image's ${size}x${size} pixels`,
      got: `${width}x${height} pixels at ${x},${y}`,
    });
  const mask = new Uint8Array(size * size);
  for (let row = y; row < y + height; row++) mask.fill(1, row * size + x, row * size + x + width);
  return mask;
}

/** A centred square with sides of `side` pixels. */
export function centre(size: number, side: number): Rectangle {
  const corner = Math.floor((size - side) / 2);
  return { x: corner, y: corner, width: side, height: side };
}

/** A mask that redraws everything outside a rectangle. */
export const allButMask = (size: number, kept: Rectangle): Uint8Array =>
  rectangleMask(size, kept).map((inside) => 1 - inside);

/** A mask that keeps the half at `given` and redraws the other. */
export function halfMask(size: number, given: Side): Uint8Array {
  const half = Math.floor(size / 2);
  const across = given === "left" || given === "right";
  const from = given === "left" || given === "top" ? 0 : size - half;
  return allButMask(size, {
    x: across ? from : 0,
    y: across ? 0 : from,
    width: across ? half : size,
    height: across ? size : half,
  });
}

/** The mask grown to all patches it touches and to `ring` further patches around them; unchanged if `ring` is 0. */
export function grownMask(
  mask: Uint8Array,
  { size, patch, ring }: { size: number; patch: number; ring: number },
): Uint8Array {
  if (ring === 0) return mask;
  // Computed on the grid of patches: pixel by pixel, a wide ring would take seconds.
  const grid = size / patch;
  const marked = new Uint8Array(grid * grid);
  mask.forEach((drawn, at) => {
    if (drawn) marked[Math.floor(at / size / patch) * grid + Math.floor((at % size) / patch)] = 1;
  });
  const grown = new Uint8Array(grid * grid);
  marked.forEach((drawn, at) => {
    if (!drawn) return;
    const [column, row] = [at % grid, Math.floor(at / grid)];
    const [left, right] = [Math.max(0, column - ring), Math.min(grid, column + ring + 1)];
    for (let y = Math.max(0, row - ring); y < Math.min(grid, row + ring + 1); y++)
      grown.fill(1, y * grid + left, y * grid + right);
  });
  return mask.map((_, at) => grown[Math.floor(at / size / patch) * grid + Math.floor((at % size) / patch)]);
}

/** Editing tasks. They redraw a hole, a half, everything around the centre, or a region as another class. */
export const editingTasks = ["inpaint", "outpaint", "uncrop", "class"] as const;
/** One of `editingTasks`. */
export type EditingTask = (typeof editingTasks)[number];

/**
 * The usual mask of a task. A centred square with sides of `extent` pixels (by default half the image) is redrawn
 * (inpaint, class) or kept (uncrop); or the half at `given` is kept (outpaint).
 */
export function taskMask(
  size: number,
  task: EditingTask,
  { extent = Math.floor(size / 2), given = "left" }: { extent?: number; given?: Side } = {},
): Uint8Array {
  if (task === "outpaint") return halfMask(size, given);
  return (task === "uncrop" ? allButMask : rectangleMask)(size, centre(size, extent));
}
