/** Output sizes: the model's own, or an integer multiple of it with every pixel repeated. */

import { UserError } from "../core/errors.ts";

/** The largest output width in pixels, unless the model's own is larger. */
const widest = 1024;

export const sizeName = (pixels: number): string => `${pixels}x${pixels}`;

/** Returns how many times each pixel is repeated. "auto" or no size means the model's own. Throws a `UserError` for other sizes. */
export function scaleFor(size: string | null | undefined, own: number): number {
  if (size === undefined || size === null || size === "auto") return 1;
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(size) ?? [];
  const scale = Number(width) / own;
  if (width === height && Number.isInteger(scale) && scale >= 1 && scale <= mostFor(own)) return scale;
  const all = Array.from({ length: mostFor(own) }, (_, i) => sizeName(own * (i + 1)));
  throw new UserError({
    subject: { setting: "size" },
    expected: `auto or one of ${all.join(", ")}`,
    got: JSON.stringify(size),
  });
}

const mostFor = (own: number): number => Math.max(1, Math.floor(widest / own));

/** Repeats each pixel of an image [side, side, channels] `scale` times in both directions (nearest neighbour). */
export function enlarged(image: Uint8Array, { side, channels, scale }: Enlargement): Uint8Array {
  if (scale === 1) return image;
  const rowBytes = side * scale * channels;
  const out = new Uint8Array(rowBytes * side * scale);
  for (let y = 0; y < side; y++) {
    const start = y * scale * rowBytes;
    for (let x = 0; x < side; x++) {
      const pixel = image.subarray((y * side + x) * channels, (y * side + x + 1) * channels);
      for (let i = 0; i < scale; i++) out.set(pixel, start + (x * scale + i) * channels);
    }
    for (let i = 1; i < scale; i++) out.copyWithin(start + i * rowBytes, start, start + rowBytes);
  }
  return out;
}

interface Enlargement {
  side: number;
  channels: number;
  scale: number;
}
