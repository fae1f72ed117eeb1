/** Files of what was drawn: one image, all of them, and how they came about. */

import { insertPngText } from "../pictures/pngtext.ts";
import { type AnimationFrame, encodeAnimation, encodePng, enlarged, type Picture } from "./png.ts";
import type { Recording } from "./recording.ts";
import { flatImage } from "./shown.ts";

/** An animation has at most so many pictures, and so many pixels in each. */
const picturesMost = 90;
const sideMost = 640;
const delay = 80;
const lastDelay = 1500;

/** One image in its own size, with `text` in the file. */
export const imageFile = (
  recording: Recording,
  image: number,
  text: Record<string, string>,
): Uint8Array<ArrayBuffer> => {
  const { size, steps } = recording;
  return insertPngText(
    encodePng({ width: size, height: size, data: flatImage(recording, image, steps.length) }),
    text,
  ) as Uint8Array<ArrayBuffer>;
};

/** All images side by side, each pixel made larger. */
export const sheetFile = (recording: Recording, text: Record<string, string>): Uint8Array<ArrayBuffer> =>
  insertPngText(encodePng(sheet(recording, recording.steps.length)), text) as Uint8Array<ArrayBuffer>;

/** The same as an animation, evenly over the steps. */
export function animationFile(recording: Recording): Uint8Array<ArrayBuffer> {
  const { length } = recording.steps;
  const pictures = Math.max(1, Math.min(picturesMost, length));
  const frames = Array.from({ length: pictures }, (_, i): AnimationFrame => {
    const taken = Math.round(((i + 1) * length) / pictures);
    return { ...sheet(recording, taken), delay: i === pictures - 1 ? lastDelay : delay };
  });
  return encodeAnimation(frames);
}

/** A grid on white with a pixel between images, enlarged as far as fits. */
function sheet(recording: Recording, taken: number): Picture {
  const { count, size } = recording;
  const columns = Math.ceil(Math.sqrt(count));
  const rows = Math.ceil(count / columns);
  const [width, height] = [columns * (size + 1) + 1, rows * (size + 1) + 1];
  const data = new Uint8Array(width * height * 3).fill(255);
  for (let image = 0; image < count; image++) {
    const pixels = flatImage(recording, image, taken);
    const [left, top] = [(image % columns) * (size + 1) + 1, Math.floor(image / columns) * (size + 1) + 1];
    for (let y = 0; y < size; y++)
      data.set(pixels.subarray(y * size * 3, (y + 1) * size * 3), ((top + y) * width + left) * 3);
  }
  const scale = Math.max(1, Math.min(8, Math.floor(sideMost / Math.max(width, height))));
  return enlarged({ width, height, data }, scale);
}

export function download(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
