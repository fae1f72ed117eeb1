/** The recording of a small drawing made by hand: levels with patches of 2 and 1 in images of 4x4. */

import { expect, it } from "vitest";
import type { StepRecord } from "./protocol.ts";
import { addStep, drawnAt, entropyOf, newRecording, outlinesAt, placeOf } from "./recording.ts";
import { flatImage, shownImage } from "./shown.ts";
import { placeInWords } from "./words.ts";

const pixels = (step: number, at: [image: number, x: number, y: number, bytes: number[]][]): StepRecord => ({
  level: 1,
  step,
  steps: 2,
  image: Uint16Array.from(at, ([image]) => image),
  x: Uint16Array.from(at, ([, x]) => x),
  y: Uint16Array.from(at, ([, , y]) => y),
  side: 1,
  bytes: Uint8Array.from(at.flatMap(([, , , bytes]) => bytes)),
  entropy: Uint8Array.from(at.flatMap(() => [32, 16, 16])),
});
const patch = (step: number, at: [image: number, x: number, y: number][]): StepRecord => ({
  level: 0,
  step,
  steps: 3,
  image: Uint16Array.from(at, ([image]) => image),
  x: Uint16Array.from(at, ([, x]) => x),
  y: Uint16Array.from(at, ([, , y]) => y),
  side: 2,
});

function small() {
  const recording = newRecording({ count: 2, size: 4, channels: 3, patches: [2, 1] });
  addStep(recording, pixels(1, [[0, 2, 0, [1, 2, 3]], [1, 0, 0, [4, 5, 6]]])); // prettier-ignore
  addStep(recording, pixels(2, [[0, 3, 1, [7, 8, 9]], [1, 1, 1, [10, 11, 12]]])); // prettier-ignore
  addStep(recording, patch(1, [[0, 2, 0], [1, 0, 0]])); // prettier-ignore
  addStep(recording, pixels(1, [[0, 0, 2, [13, 14, 15]], [1, 3, 3, [16, 17, 18]]])); // prettier-ignore
  return recording;
}

it("can show any moment again", () => {
  const recording = small();
  const at = (taken: number, image = 0) => flatImage(recording, { image, taken, view: "image" });
  expect([...at(0)]).toEqual(Array.from({ length: 48 }, () => 128));
  expect([...at(1).subarray(6, 9)]).toEqual([1, 2, 3]);
  expect([...at(1).subarray((4 + 3) * 3, (4 + 3) * 3 + 3)]).toEqual([128, 128, 128]);
  expect([...at(2).subarray((4 + 3) * 3, (4 + 3) * 3 + 3)]).toEqual([7, 8, 9]);
  expect([...at(4, 1).subarray(15 * 3)]).toEqual([16, 17, 18]);
  const shown = shownImage(recording, { image: 0, taken: 1, view: "image" });
  expect([...shown.subarray(8, 12)]).toEqual([1, 2, 3, 255]);
  expect(shown[3]).toBe(0);
  expect(entropyOf(recording, 2)).toBe(2);
  expect([...shownImage(recording, { image: 0, taken: 1, view: "entropy" }).subarray(8, 11)]).not.toEqual([1, 2, 3]);
});

it("outlines the patches in progress at each level, the outermost first", () => {
  const recording = small();
  expect(outlinesAt(recording, 0, 2)).toEqual([
    { level: 0, side: 2, squares: [{ x: 2, y: 0 }] },
    { level: 1, side: 1, squares: [{ x: 3, y: 1 }] },
  ]);
  expect(outlinesAt(recording, 1, 3)).toEqual([{ level: 0, side: 2, squares: [{ x: 0, y: 0 }] }]);
  expect(outlinesAt(recording, 0, 0)).toEqual([]);
});

it("reports a step's position in the recursion", () => {
  const recording = small();
  expect(placeOf(recording, 1)).toEqual([{ step: 1, steps: 3 }, { step: 1, steps: 2 }]); // prettier-ignore
  expect(placeOf(recording, 3)).toEqual([{ step: 1, steps: 3 }]);
  expect(placeOf(recording, 4)).toEqual([{ step: 2, steps: 3 }, { step: 1, steps: 2 }]); // prettier-ignore
  expect(placeInWords(recording, 0, 4)).toBe("Level 1: step 2 of 3, 1 patch of 2×2. Level 2: step 1 of 2, 1 pixel.");
});

it("keeps given pixels, even if a step draws over them", () => {
  const image = new Uint8Array(48).fill(200);
  const mask = new Uint8Array(16);
  mask[0] = 1;
  const recording = newRecording({ count: 1, size: 4, channels: 3, patches: [2, 1], given: { image, mask } });
  addStep(recording, pixels(1, [[0, 0, 0, [1, 2, 3]], [0, 1, 0, [9, 9, 9]]])); // prettier-ignore
  expect([...recording.images.subarray(0, 6)]).toEqual([1, 2, 3, 200, 200, 200]);
  expect(drawnAt(recording, 0, 0)).toBe(false);
  expect(drawnAt(recording, 1, 0)).toBe(true);
});
