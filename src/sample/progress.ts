/** The fraction of pixels drawn, over the images that are still wanted. */

export interface ProgressCounter {
  /** Records that further pixels of an image have been drawn. */
  add(image: number, pixels: number): void;
  /** Share of the pixels to draw that have been drawn, over all images still wanted; 1 if no image is. */
  share(): number;
}

/** `of` is the number of pixels to draw in each image. An image whose signal is aborted is no longer wanted. */
export function progressCounter(of: readonly number[], signals: readonly AbortSignal[] = []): ProgressCounter {
  const drawn = of.map(() => 0);
  const dropped = new Set<number>();
  let done = 0;
  let total = of.reduce((a, b) => a + b, 0);
  return {
    add(image, pixels) {
      drawn[image] += pixels;
      if (!dropped.has(image)) done += pixels;
    },
    share() {
      signals.forEach(({ aborted }, image) => {
        if (!aborted || dropped.has(image)) return;
        dropped.add(image);
        done -= drawn[image];
        total -= of[image];
      });
      return total === 0 ? 1 : done / total;
    },
  };
}
