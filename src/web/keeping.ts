/** Files to save: one image, all images, and an animation of the drawing. */

import { type Bitmap, enlarged } from "../pictures/bitmap.ts";
import { insertPngText } from "../pictures/pngtext.ts";
import { type AnimationFrame, encodeAnimation, encodePng } from "./png.ts";
import type { Recording } from "./recording.ts";
import { flatImage, shownImage, type ViewKind } from "./shown.ts";

/** Limits of an animation: the number of frames, and pixels per side. */
const picturesMost = 90;
const sideMost = 640;
const delay = 80;
const lastDelay = 1500;

/** A moment of a drawing (the number of steps taken) and its view. */
export interface Moment {
  taken: number;
  view: ViewKind;
}

/** One image at its own size, as shown, with `text` in its metadata. Pixels not drawn yet are transparent. */
export const imageFile = (
  recording: Recording,
  { image, text, ...moment }: Moment & { image: number; text: Record<string, string> },
): Uint8Array<ArrayBuffer> => {
  const { size } = recording;
  const data = shownImage(recording, { image, ...moment });
  return insertPngText(
    encodePng({ width: size, height: size, data: withoutAlpha(data) ?? data }),
    text,
  ) as Uint8Array<ArrayBuffer>;
};

/** All images in a grid, as shown and enlarged. */
export const sheetFile = (
  recording: Recording,
  { text, ...moment }: Moment & { text: Record<string, string> },
): Uint8Array<ArrayBuffer> => insertPngText(encodePng(sheet(recording, moment)), text) as Uint8Array<ArrayBuffer>;

/** The same grid as an animation, with frames evenly spaced over the steps. */
export function animationFile(recording: Recording, view: ViewKind): Uint8Array<ArrayBuffer> {
  const { length } = recording.steps;
  const pictures = Math.max(1, Math.min(picturesMost, length));
  const frames = Array.from({ length: pictures }, (_, i): AnimationFrame => {
    const taken = Math.round(((i + 1) * length) / pictures);
    return { ...sheet(recording, { taken, view }), delay: i === pictures - 1 ? lastDelay : delay };
  });
  return encodeAnimation(frames);
}

/** Converts RGBA to RGB, or returns undefined if any pixel is transparent. */
function withoutAlpha(data: Uint8ClampedArray): Uint8Array | undefined {
  const out = new Uint8Array((data.length / 4) * 3);
  for (let i = 0; i < data.length / 4; i++) {
    if (data[i * 4 + 3] < 255) return undefined;
    out.set(data.subarray(i * 4, i * 4 + 3), i * 3);
  }
  return out;
}

/** A grid on white with one pixel between images, enlarged as far as the limit allows. */
function sheet(recording: Recording, moment: Moment): Bitmap {
  const { count, size } = recording;
  const columns = Math.ceil(Math.sqrt(count));
  const rows = Math.ceil(count / columns);
  const [width, height] = [columns * (size + 1) + 1, rows * (size + 1) + 1];
  const data = new Uint8Array(width * height * 3).fill(255);
  for (let image = 0; image < count; image++) {
    const pixels = flatImage(recording, { image, ...moment });
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
