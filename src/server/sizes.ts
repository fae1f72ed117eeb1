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
