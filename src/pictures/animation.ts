/** Encodes frames as an animated WebP or GIF. Knows nothing of what the frames show. */

import sharp from "sharp";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";

export interface FrameOptions {
  width: number;
  height: number;
  /** Milliseconds per frame; GIF rounds to steps of 10. The last frame is held for 1.5 s. */
  delay: number;
}

const lastFrame = 1500;

/**
 * Encodes frames [height, width, 3] of RGB bytes as an endless animation; WebP is lossless, GIF reduces to 256 colours.
 * A frame equal to the previous one extends its duration instead of taking space.
 */
export async function animatedPicture(
  frames: readonly Uint8Array[],
  { width, height, delay, format }: FrameOptions & { format: "webp" | "gif" },
): Promise<Uint8Array> {
  if (frames.length === 0) throw new Error("animation: there are no frames");
  const wrong = frames.findIndex((frame) => frame.length !== width * height * 3);
  if (wrong >= 0)
    throw new Error(`animation: frame ${wrong} has ${frames[wrong].length} bytes, not ${height} x ${width} x 3`);

  const distinct: Uint8Array[] = [];
  const delays: number[] = [];
  for (const [index, frame] of frames.entries()) {
    const shown = index === frames.length - 1 ? lastFrame : delay;
    if (distinct.length && Buffer.compare(distinct[distinct.length - 1], frame) === 0)
      delays[delays.length - 1] += shown;
    else {
      distinct.push(frame);
      delays.push(shown);
    }
  }
  const raw = { width, height: height * distinct.length, channels: 3, pageHeight: height } as const;
  const pages = sharp(Buffer.concat(distinct), { raw, limitInputPixels: false });
  const options = { loop: 0, delay: delays };
  return format === "gif" ? pages.gif(options).toBuffer() : pages.webp({ ...options, lossless: true }).toBuffer();
}

/**
 * Writes `animatedPicture` to `path`, whose extension chooses the format; throws a UserError unless it is .webp or
 * .gif.
 */
export async function animation(
  frames: readonly Uint8Array[],
  { path, ...options }: FrameOptions & { path: string },
): Promise<void> {
  const format = (["webp", "gif"] as const).find((ending) => path.toLowerCase().endsWith(`.${ending}`));
  if (!format) throw new UserError({ subject: path, expected: "a file name that ends in .webp or .gif" });
  await writeFileAtomic(path, await animatedPicture(frames, { ...options, format }));
}
