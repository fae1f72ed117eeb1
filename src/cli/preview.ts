/** The terminal preview of the batch being generated, as large as the terminal allows. */

import { gridLayout, gridPixels } from "../pictures/grid.ts";
import { halfBlocks } from "../pictures/halfblocks.ts";
import type { Frame } from "../sample/sampler.ts";
import type { ImageGrid } from "./film.ts";
import type { TerminalSpace } from "./progress.ts";

/** More images would be too small to see and slow to draw. */
const shownMost = 36;

/** Lines of half blocks for the frame, at most `columns` wide and `rows` high. */
export function preview(
  { finished, images }: Frame,
  { count, size, channels }: ImageGrid,
  { batch, columns, rows }: TerminalSpace & { batch: number },
): string[] {
  if (columns < 1 || rows < 1) return [];
  const from = Math.floor(finished.image[0] / batch) * batch;
  const shown = Math.min(shownMost, batch, count - from);
  const bytes = size * size * channels;
  /** The scale at which a grid with `across` columns fits: a line of text shows two rows of pixels. */
  const shrink = (across: number) => {
    const { width, height } = gridLayout({ count: shown, size, columns: across, scale: 1 });
    return { width, ratio: Math.min(1, columns / width, (2 * rows) / height) };
  };
  let best = 1;
  for (let across = 2; across <= shown; across++) if (shrink(across).ratio > shrink(best).ratio) best = across;
  const { width, ratio } = shrink(best);
  const pixels = gridPixels(images.subarray(from * bytes, (from + shown) * bytes), {
    count: shown,
    size,
    channels,
    columns: best,
    scale: 1,
  });
  return halfBlocks(pixels, { columns: Math.max(1, Math.floor(width * ratio)) }).slice(0, rows);
}
