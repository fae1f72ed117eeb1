/** Renders a moment of a recording as colours. Independent of the page's elements. */

import { heatColours } from "../pictures/heat.ts";
import { drawnAt, entropyOf, type Recording } from "./recording.ts";

export type ViewKind = "image" | "entropy";

/** A pixel's total entropy in bits at which the colour scale ends. */
const hottest = 15;

/** RGBA bytes [S, S, 4] of one image after `taken` steps. Pixels not drawn yet are transparent. */
export function shownImage(
  recording: Recording,
  { image, taken, view }: { image: number; taken: number; view: ViewKind },
): Uint8ClampedArray<ArrayBuffer> {
  const { size } = recording;
  const out = new Uint8ClampedArray(size * size * 4);
  for (let i = 0; i < size * size; i++) {
    const at = image * size * size + i;
    if (!drawnAt(recording, at, taken)) continue;
    const given = recording.from[at] === 0;
    out.set(
      view === "image" || given ? colourAt(recording, at) : heatColours([entropyOf(recording, at)], hottest),
      i * 4,
    );
    out[i * 4 + 3] = view === "entropy" && given ? 70 : 255;
  }
  return out;
}

/** RGB of pixel `at` of [count, S, S], blended onto white if transparent. */
export function colourAt({ images, channels }: Recording, at: number): number[] {
  const values = images.subarray(at * channels, (at + 1) * channels);
  const colour = channels < 3 ? [values[0], values[0], values[0]] : [...values.subarray(0, 3)];
  const alpha = channels % 2 === 0 ? values[channels - 1] / 255 : 1;
  return colour.map((value) => Math.round(value * alpha + 255 * (1 - alpha)));
}

/** RGB bytes [S, S, 3] of one image as shown. Pixels not drawn yet are grey (128). */
export function flatImage(recording: Recording, shown: { image: number; taken: number; view: ViewKind }): Uint8Array {
  const rgba = shownImage(recording, shown);
  const out = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0; i < rgba.length / 4; i++)
    for (let c = 0; c < 3; c++) {
      const share = rgba[i * 4 + 3] / 255;
      out[i * 3 + c] = Math.round(rgba[i * 4 + c] * share + 128 * (1 - share));
    }
  return out;
}

/** The colour of a level's outlines. */
export const levelColour = (level: number): string => `var(--level-${Math.min(2, level)})`;
