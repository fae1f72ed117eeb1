/** Ends a command that generated images: writes the files and the animation, then reports what was written. */

import { recordedSampling } from "../config/sampling.ts";
import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import { writeDrawn, type Written } from "../runs/drawn-files.ts";
import type { Drawn } from "./drawing.ts";
import type { DrawingFlags } from "./drawing-options.ts";

/** Writes the grid and, if requested, each image and the animation; reports them together with `told`. */
export async function endDrawing(
  flags: DrawingFlags,
  drawn: Drawn,
  written: Written,
  told: object = {},
): Promise<void> {
  const each = await writeDrawn(flags, drawn, written);
  await drawn.film?.write(drawn.images);
  const { names, settings, options, shown, grid } = written;
  const dependedOn = { ...recordedSampling(settings), ...options };
  const cut = shown < (grid?.picture.count ?? flags.count) && { gridImages: shown };
  report(flags, drawn, { each, ...cut, classes: names, seed: flags.seed, ...told, ...dependedOn });
}

/** Prints one line of JSON with `details`, or how long the generation took and which files were written. */
function report({ count, json, out, animate, each }: DrawingFlags, drawn: Drawn, details: object): void {
  const { seconds, device, precision } = drawn;
  if (json) {
    const made = { out, animation: animate, ...details, device, precision };
    console.log(JSON.stringify({ ...made, seconds, imagesPerSecond: count / seconds }));
    return;
  }
  const took = seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
  console.error(`${counted(count, "image")} in ${took} (${rateOf(count / seconds)})`);
  for (const path of [out, animate, each]) if (path !== undefined) console.log(path);
}
