/** The way from the image to one pixel through a recording, with the probability of everything on it. Knows no page. */

import { notDrawn, type Recording } from "./recording.ts";

/** A square that some level fills with smaller ones: the image first, then a patch of each level, and the pixel last. */
export interface TreeNode {
  /** How many levels are above it: 0 the image, 1 a patch of the first level. */
  depth: number;
  x: number;
  y: number;
  side: number;
  /** -log2 of the probability of all that was drawn in it. */
  bits: number;
  /** How many of its pixels were drawn by the model, were given, and there are. */
  drawn: number;
  given: number;
  pixels: number;
  /** Which step of the level above drew it, and of how many; undefined for the image and for what is not drawn yet. */
  step?: number;
  steps?: number;
  /** The squares in it in raster order, by their bits; empty for the pixel. */
  children: { x: number; y: number; side: number; bits: number; drawn: number; given: number }[];
}

export interface Place {
  image: number;
  x: number;
  y: number;
  /** After so many steps. */
  taken: number;
}

/** From the image to the pixel at `place`. */
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

/** Of all pixels of a square. */
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

/** "1 in 8", "1 in 2^5312": a probability of so many bits, as people say it. */
export function chanceInWords(bits: number): string {
  if (bits < 0.0145) return "almost certain";
  if (bits < 1) return `${Math.round(100 * 2 ** -bits)} in 100`;
  if (bits < 20) return `1 in ${Math.round(2 ** bits).toLocaleString("en")}`;
  return `1 in 2^${Math.round(bits).toLocaleString("en")}`;
}
