/** The path from the image to one pixel in a recording, with the probability at every level. Independent of the page. */

import { notDrawn, type Recording } from "./recording.ts";

/** A square that a level divides into smaller ones: first the image, then a patch of each level, finally the pixel. */
export interface TreeNode {
  /** The number of levels above it: 0 for the image, 1 for a patch of the first level. */
  depth: number;
  x: number;
  y: number;
  side: number;
  /** -log2 of the probability of everything drawn in it. */
  bits: number;
  /** The number of its pixels drawn by the model, given as input, and in total. */
  drawn: number;
  given: number;
  pixels: number;
  /** The step of the level above that drew it, and the number of steps. Undefined for the image and for squares not drawn yet. */
  step?: number;
  steps?: number;
  /** The squares in it in raster order; empty for the pixel. */
  children: { x: number; y: number; side: number; bits: number; drawn: number; given: number }[];
}

export interface Place {
  image: number;
  x: number;
  y: number;
  /** The number of steps taken. */
  taken: number;
}

/** Returns the path from the image to the pixel at `place`. */
export function pathTo(recording: Recording, place: Place): TreeNode[] {
  const { size, patches } = recording;
  const sides = [size, ...patches.filter((side, l) => side < (patches[l - 1] ?? size))];
  if (sides[sides.length - 1] !== 1) sides.push(1);
  return sides.map((side, depth) => {
    const [x, y] = [place.x - (place.x % side), place.y - (place.y % side)];
    const inner = sides[depth + 1];
    const children: TreeNode["children"] = [];
    if (inner)
      for (let row = y; row < y + side; row += inner)
        for (let column = x; column < x + side; column += inner)
          children.push({
            x: column,
            y: row,
            side: inner,
            ...sumOf(recording, { ...place, x: column, y: row }, inner),
          });
    const level = depth - 1;
    return {
      depth,
      x,
      y,
      side,
      pixels: side * side,
      ...sumOf(recording, { ...place, x, y }, side),
      ...(level >= 0 ? stepOf(recording, { ...place, x, y }, level) : {}),
      children,
    };
  });
}

/** Sums over all pixels of a square. */
function sumOf(recording: Recording, { image, x, y, taken }: Place, side: number) {
  const { size, channels, from, bits } = recording;
  const sum = { bits: 0, drawn: 0, given: 0 };
  for (let row = y; row < y + side; row++)
    for (let column = x; column < x + side; column++) {
      const at = (image * size + row) * size + column;
      if (from[at] === 0) sum.given++;
      else if (from[at] <= taken) {
        sum.drawn++;
        for (let c = 0; c < channels; c++) sum.bits += bits[at * channels + c];
      }
    }
  return sum;
}

/** The step of `level` in which the square at a place was finished: the first one after its first pixel. */
function stepOf({ steps, from, size, patches }: Recording, { image, x, y }: Place, level: number) {
  const side = patches[level];
  let first = notDrawn;
  for (let row = y; row < y + side; row++)
    for (let column = x; column < x + side; column++) {
      const at = from[(image * size + row) * size + column];
      if (at > 0) first = Math.min(first, at);
    }
  if (first === notDrawn) return {};
  for (let at = first - 1; at < steps.length; at++)
    if (steps[at].level === level) return { step: steps[at].step, steps: steps[at].steps };
  return {};
}

/** Formats a probability of 2^-bits for reading: "1 in 8", "1 in 2^5,312". */
export function chanceInWords(bits: number): string {
  if (bits < 0.0145) return "almost certain";
  if (bits < 1) return `${Math.round(100 * 2 ** -bits)} in 100`;
  if (bits < 20) return `1 in ${Math.round(2 ** bits).toLocaleString("en")}`;
  return `1 in 2^${Math.round(bits).toLocaleString("en")}`;
}
