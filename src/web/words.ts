/** Describes the progress of a drawing in words. Independent of the page's elements. */

import { outlinesAt, placeOf, type Recording } from "./recording.ts";

/** "Level 1: step 5 of 32, 2 patches of 4×4. Level 2: …" for the image after `taken` steps. */
export function placeInWords(recording: Recording, image: number, taken: number): string {
  if (recording.steps.length === 0) return "";
  if (taken === 0) return "Before the first step.";
  const place = placeOf(recording, taken);
  const outlines = outlinesAt(recording, image, taken);
  return place
    .map(({ step, steps }, level) => {
      const count = outlines[level].squares.length;
      const side = recording.patches[level];
      const what = side === 1 ? plural(count, "pixel") : `${plural(count, "patch", "patches")} of ${side}×${side}`;
      return `Level ${level + 1}: step ${step}${steps > 0 ? ` of ${steps}` : ""}, ${count === 0 ? "nothing in this image" : what}.`;
    })
    .join(" ");
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

export const inSeconds = (seconds: number): string => `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;

/** Turns an error message into a sentence with a capital letter and a full stop. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}
