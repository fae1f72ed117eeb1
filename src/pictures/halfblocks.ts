/** Renders pixels as lines of coloured text for a terminal with 24-bit colour. Knows nothing of the terminal itself. */

import type { Bitmap } from "./bitmap.ts";

/**
 * Lines of "▀" with the upper pixel as the foreground and the lower one as the background, averaged down to at most
 * `columns` pixels per line (never enlarged). Every line resets the colours at its end; lines have no line break.
 */
export function halfBlocks(pixels: Bitmap, { columns }: { columns: number }): string[] {
  if (!Number.isInteger(columns) || columns < 1)
    throw new Error(`half blocks: columns must be at least 1, not ${columns}`);
  const width = Math.min(columns, pixels.width);
  const height = Math.max(1, Math.round((pixels.height * width) / pixels.width));
  const small = reduced(pixels, width, height);
  const colour = (x: number, y: number) => small.subarray((y * width + x) * 3, (y * width + x) * 3 + 3).join(";");

  const lines: string[] = [];
  for (let y = 0; y < height; y += 2) {
    let line = "";
    let current = "";
    for (let x = 0; x < width; x++) {
      const upper = `38;2;${colour(x, y)}`;
      const next = y + 1 < height ? `${upper};48;2;${colour(x, y + 1)}` : upper;
      line += next === current ? "▀" : `\x1b[${next}m▀`;
      current = next;
    }
    lines.push(`${line}\x1b[0m`);
  }
  return lines;
}

/** Averages the area that each new pixel covers, [height, width, 3]. */
function reduced({ data, width: fromWidth, height: fromHeight }: Bitmap, width: number, height: number): Uint8Array {
  if (width === fromWidth && height === fromHeight) return data;
  const small = new Uint8Array(width * height * 3);
  const sum = [0, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      sum.fill(0);
      const rows = covered(y, fromHeight / height, fromHeight);
      const across = covered(x, fromWidth / width, fromWidth);
      for (const [row, rowWeight] of rows)
        for (const [column, weight] of across)
          for (let channel = 0; channel < 3; channel++)
            sum[channel] += rowWeight * weight * data[(row * fromWidth + column) * 3 + channel];
      for (let channel = 0; channel < 3; channel++) small[(y * width + x) * 3 + channel] = Math.round(sum[channel]);
    }
  return small;
}

/** The old pixels covered by new pixel `index`, which spans `ratio` old pixels, with their shares, which sum to 1. */
function covered(index: number, ratio: number, length: number): [old: number, share: number][] {
  const [start, end] = [index * ratio, (index + 1) * ratio];
  const shares: [number, number][] = [];
  for (let old = Math.floor(start); old < Math.min(end, length); old++)
    shares.push([old, (Math.min(end, old + 1) - Math.max(start, old)) / ratio]);
  return shares;
}
