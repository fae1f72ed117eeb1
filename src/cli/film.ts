/** The animation of images being generated: which frames are kept, and how large they are. */

import { extname } from "node:path";
import { UserError } from "../core/errors.ts";
import { animation } from "../pictures/animation.ts";
import { gridLayout, gridPixels } from "../pictures/grid.ts";
import type { Frame } from "../sample/sampler.ts";

export interface ImageGrid {
  count: number;
  size: number;
  channels: number;
  columns?: number;
}

export interface Film {
  add(frame: Frame): void;
  write(images: Uint8Array): Promise<void>;
}

const filmFrames = 60;
const filmCellMost = 96;
/** All frames are kept until the end: 60 of 4 million pixels take 720 MB. */
const frameMost = 4e6;
/** The longest side that each format supports. */
const sideMost: Record<string, number> = { ".webp": 16383, ".gif": 65535 };

/** Records at most 60 frames, evenly spaced over the generation. Throws a UserError if a frame would be too large. */
export function filming(path: string, picture: ImageGrid): Film {
  const scale = frameScale(path, picture);
  const shot = (images: Uint8Array) => gridPixels(images, { ...picture, scale });
  const frames: Uint8Array[] = [];
  return {
    add({ done, images }) {
      if (done * filmFrames >= frames.length) frames.push(shot(images).data);
    },
    async write(images) {
      const { data, width, height } = shot(images);
      await animation([...frames, data], { path, width, height, delay: 80 });
    },
  };
}

function frameScale(path: string, picture: ImageGrid): number {
  const most = sideMost[extname(path).toLowerCase()];
  for (let scale = Math.max(1, Math.floor(filmCellMost / picture.size)); ; scale--) {
    const { width, height } = gridLayout({ ...picture, scale });
    if (width * height <= frameMost && Math.max(width, height) <= most) return scale;
    if (scale === 1)
      throw new UserError(
        `--animate: frames of ${picture.count} images would have ${width}x${height} pixels; the limits are ${frameMost / 1e6} million pixels and ${most} per side. Generate fewer images (-n)`,
      );
  }
}
